"""The ONNX graph that ONNX Runtime and TensorRT start from: the bundle's own, or made from its checkpoint and kept."""

from __future__ import annotations

import atexit
import hashlib
import logging
import shutil
import tempfile
from pathlib import Path

from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.disk.kept_file import is_sound, keep
from transpose_sdk.disk.user_folder import compiled_folder
from transpose_sdk.errors import MissingDependencyError

log = logging.getLogger(__name__)


def onnx_graph(bundle: Bundle, name: str) -> Path:
    """The file of a bundle's ONNX graph.

    Bundles that ship hold a checkpoint and no ONNX graph, which is as large as the rest together.

    Args:
        bundle: A pose bundle.
        name: "onnx" or "onnx_int8".

    Raises:
        BundleError: The bundle has neither the graph nor, for "onnx", a checkpoint; or it is damaged.
        MissingDependencyError: What makes a graph of a checkpoint is not installed.
    """
    if name != "onnx" or name in bundle.graphs or "torch" not in bundle.graphs:
        return bundle.graph(name).path
    checkpoint = bundle.graph("torch")
    # By content: what a bundle calls itself has no say in what is read.
    facts = f"{checkpoint.sha256[checkpoint.path.name]} {bundle.input_size}"
    path = _folder() / f"{hashlib.sha256(facts.encode()).hexdigest()[:32]}.onnx"
    if is_sound(path):
        return path  # without torch, which takes seconds to import
    try:
        import onnxscript  # noqa: F401 - which torch's exporter imports when it runs

        from transpose_sdk.models import load_checkpoint
        from transpose_sdk.models.deployed import export_onnx
    except ImportError as error:
        raise MissingDependencyError(
            f"{bundle.name} has no ONNX graph, and what makes one of its checkpoint is not installed ({error}): "
            "pip install 'transpose-sdk[convert]'"
        ) from error
    log.warning("making an ONNX graph of %s, once", bundle.name)
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        made = Path(temporary) / path.name
        export_onnx(load_checkpoint(checkpoint.path), made)
        keep(path, made)
    return path


def _folder() -> Path:
    """Where graphs are kept; where the user's folder cannot be written, a folder that ends with the process."""
    folder = compiled_folder("onnx")
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="transpose-onnx-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
