"""Person detectors: ours, the published ones by path, and the whole frame, behind one protocol."""

from __future__ import annotations

from pathlib import Path

from transpose_sdk.bundles.bundle import named_bundle, open_bundle
from transpose_sdk.checks.ranges import SHARE
from transpose_sdk.detectors.detector import Detections, Detector
from transpose_sdk.detectors.graph import GraphDetector, compile_graph, read_graph, take_images
from transpose_sdk.detectors.networks import recognise
from transpose_sdk.detectors.person import PersonDetector
from transpose_sdk.detectors.whole_frame import WholeFrame
from transpose_sdk.errors import DetectorError

__all__ = ["Detections", "Detector", "GraphDetector", "PersonDetector", "WholeFrame", "open_detector"]

_THRESHOLDS = {"person": 0.4, "yolox": 0.3, "rtmdet": 0.3, "picodet": 0.4, "deimv2": 0.4, "blazepose": 0.5}


def open_detector(spec: str | Path | Detector, device: str = "AUTO", score_threshold: float | None = None) -> Detector:
    """Open a person detector.

    Args:
        spec: "person" for the one that ships, "frame" for the whole frame, an imported detector's name, the path of a
            detector bundle or of an OpenVINO, ONNX or TensorFlow Lite network (YOLOX, RTMDet, PicoDet, DEIMv2,
            BlazePose), or a detector, given back as it is. A bare word is a name first.
        device: OpenVINO's name of the device, such as "CPU", "GPU" or "NPU"; "AUTO" lets OpenVINO choose.
        score_threshold: Lowest score of a person, 0..1; None takes the detector's own.

    Raises:
        DetectorError: There is no such detector, it cannot be read, or the device cannot run it.
        BundleError: The bundle is not there, damaged, or of another kind.
    """
    if score_threshold is not None and score_threshold not in SHARE:
        raise DetectorError(f"the score threshold is {score_threshold!r}; give {SHARE}.")
    if not isinstance(spec, str | Path):
        if isinstance(spec, Detector):
            return spec
        raise DetectorError(
            f"{type(spec).__name__} is no detector; give a name, a path or an object with Detector's methods."
        )
    if spec == "frame":
        return WholeFrame()
    path = Path(spec)
    if named_bundle(spec) is not None or path.is_dir() or not path.suffix:
        return _open_bundle(spec, device, score_threshold)
    model = read_graph(path)
    recipe = recognise(model, path)
    threshold = _THRESHOLDS[recipe.kind] if score_threshold is None else score_threshold
    return GraphDetector(path.stem, compile_graph(take_images(model, recipe), device, path), recipe, threshold)


def _open_bundle(spec: str | Path, device: str, score_threshold: float | None) -> PersonDetector:
    bundle = open_bundle(spec, "detector")
    own = bundle.score_threshold if bundle.score_threshold is not None else _THRESHOLDS["person"]
    threshold = own if score_threshold is None else score_threshold
    return PersonDetector(
        bundle.name,
        bundle.graph("fp16").path,
        input_size=bundle.input_size,
        device=device,
        score_threshold=threshold,
    )
