"""A checkpoint becomes a bundle: export, compare with the network it came from, quantize, write at once."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openvino as ov

from transpose_sdk.bundles.bundle import SUFFIX
from transpose_sdk.bundles.probe import Probe
from transpose_sdk.bundles.writer import check_name, write_bundle
from transpose_sdk.checks.folders import require_writable
from transpose_sdk.convert.parity import compare
from transpose_sdk.convert.people import People, annotated_people, detected_people
from transpose_sdk.convert.runners import run_network
from transpose_sdk.convert.self_check import ask, make_probe
from transpose_sdk.detectors import Detector, open_detector
from transpose_sdk.errors import BundleError, DataError, InputError, MissingDependencyError
from transpose_sdk.models import TransPose, checkpoint_skeleton, load_checkpoint, save_checkpoint
from transpose_sdk.models.deployed import OUTPUT_NAMES, export_onnx
from transpose_sdk.skeletons import Skeleton

logger = logging.getLogger(__name__)

# "tensorrt" keeps the ONNX graphs, from which an engine is built on the device; "torch" keeps the weights.
TARGETS = ("openvino", "onnx", "tensorrt", "torch")
PRECISIONS = ("fp16", "int8")
CALIBRATION_PEOPLE = 300  # NNCF's own default
HELD_OUT_PEOPLE = 200


@dataclass(frozen=True)
class CalibrationData:
    """Where the people come from that a quantized graph is calibrated with and judged by.

    Attributes:
        calibration: COCO keypoint file, or a folder of images in which `detector` finds the people.
        images: Folder of the images of a COCO file; None for the file's own folder.
        measure: COCO keypoint file of the people to judge by; None holds back some of `calibration`.
        measure_images: Folder of their images; None for the file's own folder.
        detector: For a folder of images: "person", "frame", a detector's file, or a `Detector`.
    """

    calibration: str | Path
    images: str | Path | None = None
    measure: str | Path | None = None
    measure_images: str | Path | None = None
    detector: str | Path | Detector = "person"

    def __post_init__(self) -> None:
        if self.measure_images is not None and self.measure is None:
            raise InputError(f"measure_images={self.measure_images}: give measure too, the COCO file of these images")
        if self.images is not None and Path(self.calibration).is_dir():
            raise InputError(f"images={self.images}: {self.calibration} is a folder of images itself; give one of both")

    def load(self, input_size: tuple[int, int], keypoints: int) -> tuple[People, People]:
        """People to calibrate with, and others to judge by.

        Raises:
            BundleError: There is nobody to calibrate with, or the files cannot be read.
            DetectorError: The detector cannot be opened.
        """
        wanted = CALIBRATION_PEOPLE + (HELD_OUT_PEOPLE if self.measure is None else 0)
        path = Path(self.calibration)
        try:
            if path.is_dir():
                detector = open_detector(self.detector, "CPU")
                try:
                    people = detected_people(path, detector, input_size, wanted)
                finally:
                    if detector is not self.detector:
                        detector.close()
            else:
                folder = path.parent if self.images is None else Path(self.images)
                people = annotated_people(path, folder, input_size, wanted, keypoints)
            if self.measure is None:
                return people.split(len(people) * CALIBRATION_PEOPLE // wanted)
            measure = Path(self.measure)
            folder = measure.parent if self.measure_images is None else Path(self.measure_images)
            return people, annotated_people(measure, folder, input_size, 1 << 30, keypoints)
        except DataError as error:
            raise BundleError(f"cannot calibrate INT8: {error}") from error


def export_bundle(
    checkpoint: str | Path | TransPose,
    out: str | Path,
    *,
    targets: Sequence[str] = ("openvino",),
    precisions: Sequence[str] = ("fp16",),
    calibration: CalibrationData | str | Path | None = None,
    name: str | None = None,
    skeleton: Skeleton | None = None,
    facts: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Export a network to a bundle.

    Graphs in the bundle: "fp16" and "int8" for OpenVINO; "onnx" (FP32) and "onnx_int8" (QDQ) for ONNX Runtime and
    TensorRT; "torch", the weights. An INT8 graph that is too far from FP32 is left out, with a warning, and the reason
    is in bundle.json.

    Args:
        checkpoint: A checkpoint's file, or a network; one on a GPU is exported from a copy on the CPU.
        out: The bundle's folder, NAME.tpose; a bundle that is there is replaced once the new one is complete.
        targets: Of `TARGETS`.
        precisions: Of `PRECISIONS`. ONNX and TensorRT get the FP32 graph in any case.
        calibration: What INT8 needs: a COCO keypoint file beside its images, a folder of images, or where all is.
        name: The bundle's name; by default that of the folder.
        skeleton: What the keypoints are; by default what `checkpoint_skeleton` says.
        facts: More entries for bundle.json: licence, training, accuracy.
        half: Whether the checkpoint of the target "torch" holds its kernels in float16, as the FP16 graph does.

    Returns:
        The bundle's folder.

    Raises:
        CheckpointError: The checkpoint does not load.
        InputError: An option is unknown, `out` is no bundle, or no skeleton is known for the number of keypoints.
        BundleError: The exported graph does not give the network's answers, nobody is there to calibrate with, or no
            wanted graph is good enough.
        MissingDependencyError: INT8 needs a package that is not installed.
    """
    folder = Path(out)
    check_folder(folder, *([] if isinstance(checkpoint, TransPose) else [checkpoint]))
    check_name(name or folder.stem)
    _check_options(targets, precisions, calibration)
    model = checkpoint if isinstance(checkpoint, TransPose) else load_checkpoint(checkpoint)
    if next(model.parameters()).device.type != "cpu":
        model = deepcopy(model).cpu()
    skeleton = skeleton or checkpoint_skeleton(
        None if isinstance(checkpoint, TransPose) else checkpoint, model.keypoints
    )
    people = None
    if calibration is not None and "int8" in precisions:
        data = calibration if isinstance(calibration, CalibrationData) else CalibrationData(calibration)
        people = data.load(model.input_size, model.keypoints)
    with tempfile.TemporaryDirectory() as temporary:
        files = Path(temporary)
        probe = make_probe(model)
        probe.save(files / "probe.npz")
        graphs, parity = _make_graphs(model, files, targets, precisions, people, skeleton, probe, half)
        if "fp16" not in precisions and not {"int8", "onnx_int8"} & set(graphs):
            reasons = "; ".join(f"{graph} is {one['reason']}" for graph, one in parity.items() if "reason" in one)
            raise BundleError(f"{folder} is not written: {reasons}; ask for the precision fp16 too")
        description = {
            "kind": "pose",
            "name": name or folder.stem,
            "network": model.variant.to_dict(),
            "skeleton": asdict(skeleton),
            "input_size": list(model.input_size),
            "input": {"layout": "NHWC", "type": "uint8", "channels": "BGR"},
            "outputs": list(OUTPUT_NAMES),
            "attention": {"grid": list(model.grid)},
            "graphs": {graph: {"path": path} for graph, path in graphs.items()},
            "parity": parity,
            "probe": {"path": "probe.npz"},
            **(facts or {}),
        }
        write_bundle(folder, description, files)
    return folder


def _make_graphs(
    model: TransPose,
    files: Path,
    targets: Sequence[str],
    precisions: Sequence[str],
    people: tuple[People, People] | None,
    skeleton: Skeleton,
    probe: Probe,
    half: bool,
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Write the graphs into `files`; their file names, and what bundle.json says about each, also the refused ones."""
    infer = run_network(model)
    graphs: dict[str, str] = {}
    parity: dict[str, dict[str, Any]] = {}
    source = files / "model.onnx"
    export_onnx(model, source)
    converted = ov.convert_model(source)
    if "openvino" in targets and "fp16" in precisions:
        graphs["fp16"] = "model_fp16.xml"
        ov.save_model(converted, files / graphs["fp16"], compress_to_fp16=True)
    if "onnx" in targets or "tensorrt" in targets:
        graphs["onnx"] = source.name
    for graph, path in graphs.items():
        relative = compare(infer, model.input_size, files / path)
        parity[graph] = {"accepted": True, "relative": relative, "probe": ask(files / path, probe, graph).to_dict()}
    if people is not None:
        from transpose_sdk.convert.quantize import Judge, quantize_graphs

        judge = Judge(infer, model.grid, people, skeleton)
        for graph, path in graphs.items():
            parity[graph] |= judge.measure(files / path).to_dict()
        openvino = converted if "openvino" in targets else None
        onnx = source if "onnx" in graphs else None
        quantized, reports = quantize_graphs(files, openvino, onnx, judge, probe)
        graphs |= quantized
        parity |= reports
    if "torch" in targets:
        graphs["torch"] = "checkpoint.safetensors"
        save_checkpoint(model, files / graphs["torch"], half=half)
    return graphs, parity


def check_folder(folder: Path, *read: str | Path) -> None:
    """Check the folder that a bundle is going to be written to, before the work.

    Args:
        folder: The folder.
        *read: Files that the bundle is made of.

    Raises:
        InputError: It is no name for a bundle, is there and none, cannot be written, or holds what is read.
    """
    if folder.suffix != SUFFIX:
        raise InputError(f"a bundle's folder ends in {SUFFIX}, got {folder.name!r}: give for example tp_m{SUFFIX}")
    if folder.exists() and not (folder / "bundle.json").is_file():
        raise InputError(f"{folder} is there and no bundle: give another name, or remove it")
    for path in read:
        if folder.resolve() in Path(path).resolve().parents:
            raise InputError(f"{folder} would be replaced, but {path} is read from it: give another folder")
    require_writable(folder.parent, "the bundle")


def _check_options(
    targets: Sequence[str], precisions: Sequence[str], calibration: CalibrationData | str | Path | None
) -> None:
    for what, given, known in (("target", targets, TARGETS), ("precision", precisions, PRECISIONS)):
        if isinstance(given, str) or not given or not set(given) <= set(known):
            raise InputError(f"no such {what}: {given!r}; give some of {', '.join(known)}")
    if "int8" not in precisions:
        return
    if calibration is None:
        raise InputError("int8 needs people to calibrate with: give calibration, a COCO file or a folder of images")
    try:
        import transpose_sdk.convert.quantize  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"int8 needs {error.name}, which is not installed: pip install 'transpose-sdk[convert]'"
        ) from error
