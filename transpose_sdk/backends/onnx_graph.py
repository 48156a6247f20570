"""The ONNX graph that ONNX Runtime and TensorRT start from: the bundle's own, or made from its checkpoint and kept."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.errors import MissingDependencyError
from transpose_sdk.user_folder import compiled_folder
from transpose_sdk.whole_file import whole_file

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
    folder = compiled_folder("onnx") or Path(tempfile.mkdtemp(prefix="transpose-onnx-"))
    path = folder / f"{bundle.name}-{checkpoint.sha256[checkpoint.path.name][:16]}.onnx"
    if path.is_file():
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
    with whole_file(path) as unfinished:
        export_onnx(load_checkpoint(checkpoint.path), unfinished)
    return path
