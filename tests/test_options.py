"""Options that cannot be meant are refused where they are given, with the range."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transpose_sdk.checks.ranges import ABOVE_0, COUNT, FROM_0, SHARE, Range
from transpose_sdk.dependency import Threshold
from transpose_sdk.detectors import open_detector
from transpose_sdk.drawing.annotator import PoseAnnotator
from transpose_sdk.drawing.overlay import AttentionOverlay
from transpose_sdk.errors import DetectorError, InputError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.stream.detection import DetectionOptions
from transpose_sdk.tracking.smoothing import SmoothingOptions
from transpose_sdk.tracking.tracker import TrackingOptions


def overlay(**options: Any) -> AttentionOverlay:
    return AttentionOverlay("nose", **options)


@pytest.mark.parametrize(
    ("build", "name", "value", "allowed"),
    [
        (TrackingOptions, "timeout", -1, "a number from 0 on"),
        (TrackingOptions, "timeout", math.inf, "a number from 0 on"),
        (TrackingOptions, "confirm", 0, "a whole number from 1 on"),
        (TrackingOptions, "confirm", 1.5, "a whole number from 1 on"),
        (TrackingOptions, "confirm", True, "a whole number from 1 on"),
        (TrackingOptions, "duplicate", 50, "a number from 0 to 1"),
        (TrackingOptions, "similarity", math.nan, "a number from 0 to 1"),
        (TrackingOptions, "position_time", 0, "a number above 0"),  # it is divided by
        (TrackingOptions, "motion_time", -0.5, "a number above 0"),
        (TrackingOptions, "search", "wide", "a number from 0 on"),
        (DetectionOptions, "overlap", 7, "a number from 0 to 1"),
        (DetectionOptions, "longest", 0.1, "a number from 0.2 on"),  # below `shortest`
        (DetectionOptions, "score_drop", -0.1, "a number from 0 to 1"),
        (DetectionOptions, "scene_change", math.nan, "a number from 0 on"),
        (DetectionOptions, "unseen", None, "a number from 0 to 1"),
        (SmoothingOptions, "min_cutoff", 0, "a number above 0"),
        (SmoothingOptions, "d_cutoff", math.inf, "a number above 0"),
        (SmoothingOptions, "beta", -1, "a number from 0 on"),
        (SmoothingOptions, "sides", math.nan, "a number from 0 on"),
        (PoseAnnotator, "scale", 0, "a number above 0"),
        (PoseAnnotator, "min_score", math.nan, "a number from 0 on"),
        (overlay, "opacity", 1.5, "a number from 0 to 1"),
        (overlay, "opacity", math.nan, "a number from 0 to 1"),
        (overlay, "mode", "both", "one of dependency, affected"),
        (overlay, "threshold", 0.01, r"Threshold\(a number from 0 on\)"),
        (overlay, "threshold", Threshold(math.nan), r"Threshold\(a number from 0 on\)"),
    ],
)
def test_options_that_cannot_be_meant(build: Callable[..., object], name: str, value: Any, allowed: str) -> None:
    build()  # the defaults are fine
    with pytest.raises(InputError, match=rf"{name}=.*; give {allowed}"):
        build(**{name: value})


@pytest.mark.parametrize("score", [-0.1, 1.5, math.nan, "high", True])
def test_thresholds_of_detectors(score: Any) -> None:
    with pytest.raises(DetectorError, match=r"the score threshold is .*; give a number from 0 to 1"):
        open_detector("frame", score_threshold=score)


@pytest.mark.parametrize("requests", [0, -1, 1.5])
def test_crops_in_flight_are_a_count(requests: Any) -> None:
    with pytest.raises(InputError, match=r"requests=.*; give a whole number from 1 on"):
        PoseEstimator(device="CPU", requests=requests)


def test_images_of_nothing_to_calibrate_with(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="exporting needs onnx: pip install transpose-sdk[convert]")
    pytest.importorskip("torch", reason="exporting needs torch: pip install transpose-sdk[convert]")
    from transpose_sdk.convert import CalibrationData

    with pytest.raises(InputError, match="give measure too"):
        CalibrationData("people.json", measure_images=tmp_path)
    with pytest.raises(InputError, match="is a folder of images itself"):
        CalibrationData(tmp_path, images=tmp_path)


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (SHARE, (0, 1, 0.5, np.float32(0.5)), (-1e-9, 1.1, math.nan, "0.5", None, False)),
        (ABOVE_0, (1e-9, 3, np.int64(3)), (0, -0.0, math.inf)),
        (FROM_0, (0, 1e300), (math.inf, -1, np.bool_(True))),
        (COUNT, (1, np.int64(7)), (0, 1.0, True, np.float64(2))),
        (Range(2, 3, above=True), (3, 2.5), (2, 3.5)),
    ],
)
def test_ranges(allowed: Range, inside: tuple[Any, ...], outside: tuple[Any, ...]) -> None:
    assert [value for value in inside if value not in allowed] == []
    assert [value for value in outside if value in allowed] == []


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (SHARE, "a number from 0 to 1"),
        (COUNT, "a whole number from 1 on"),
        (ABOVE_0, "a number above 0"),
        (Range(0, 2, above=True), "a number above 0 and up to 2"),
    ],
)
def test_ranges_in_words(allowed: Range, words: str) -> None:
    assert str(allowed) == words
