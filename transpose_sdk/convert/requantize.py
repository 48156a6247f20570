"""A bundle's INT8 graphs made anew, from the graphs it holds: its checkpoint may be gone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.bundles.bundle import Bundle, open_bundle
from transpose_sdk.bundles.probe import Probe
from transpose_sdk.bundles.writer import check_name, write_bundle
from transpose_sdk.convert.export import CalibrationData, check_folder
from transpose_sdk.convert.quantize import Judge, quantize_graphs
from transpose_sdk.convert.runners import run_graph
from transpose_sdk.errors import BundleError


def requantize_bundle(
    bundle: str | Path,
    out: str | Path,
    calibration: CalibrationData | str | Path,
    *,
    name: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Make a bundle with new INT8 graphs of another one; the other graphs and the probe are taken over as they are.

    "int8" is made of the graph "fp16", "onnx_int8" of "onnx". What they are compared with is "onnx" where it is there,
    else "fp16" calculated in FP32, and with the probe, which holds the answers of the network itself.

    Args:
        bundle: A pose bundle's folder, or the name of one that is shipped or imported.
        out: The new bundle's folder, NAME.tpose; may be the same one, which is replaced once all is done.
        calibration: A COCO keypoint file beside its images, a folder of images, or where all is.
        name: The new bundle's name; None keeps it.
        facts: Entries of bundle.json that change: measured accuracy, licence.

    Returns:
        The bundle's folder.

    Raises:
        InputError: `out` is no name for a bundle.
        BundleError: The bundle is damaged, has no graph to begin with, nobody is there to calibrate with, or no INT8
            graph is good enough.
    """
    folder = Path(out)
    check_folder(folder)
    if name is not None:
        check_name(name)
    old = open_bundle(bundle, "pose")
    sources = {graph: old.graph(graph).path for graph in ("fp16", "onnx") if graph in old.graphs}
    if not sources or old.attention_grid is None:
        raise BundleError(f"{old.folder} has no graph fp16 or onnx with attention to begin with: export its checkpoint")
    probe = Probe.load(old)
    data = calibration if isinstance(calibration, CalibrationData) else CalibrationData(calibration)
    people = data.load(old.input_size, len(old.skeleton.names))
    reference = "onnx" if "onnx" in sources else "fp16"
    judge = Judge(run_graph(sources[reference]), old.attention_grid, people, old.skeleton)
    kept = {graph: value for graph, value in old.description["graphs"].items() if "int8" not in graph}
    parity = {graph: value for graph, value in _known_parity(old).items() if "int8" not in graph}
    with tempfile.TemporaryDirectory() as temporary:
        files = Path(temporary)
        for graph in kept:
            for file in old.graph(graph).sha256:
                shutil.copyfile(old.folder / file, files / file)
        attachment = old.probe_file()
        shutil.copyfile(attachment, files / attachment.name)
        openvino = CORE.read_model(files / sources["fp16"].name) if "fp16" in sources else None
        graphs, reports = quantize_graphs(files, openvino, sources.get("onnx"), judge, probe)
        if not graphs:
            raise BundleError(f"{folder} is not written: {'; '.join(one['reason'] for one in reports.values())}")
        description = {
            **old.description,
            "name": name or old.name,
            "graphs": {**kept, **{graph: {"path": path} for graph, path in graphs.items()}},
            "parity": parity | {graph: {**one, "compared_with": reference} for graph, one in reports.items()},
            **(facts or {}),
        }
        write_bundle(folder, description, files)
    return folder


def _known_parity(bundle: Bundle) -> dict[str, Any]:
    """What bundle.json says of its graphs, if it does."""
    parity = bundle.description.get("parity")
    return parity if isinstance(parity, dict) else {}
