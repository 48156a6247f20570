"""Person detectors: suppression, letterbox, decoding, the networks on real frames, and what they refuse."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray
from openvino import opset13 as ops

from transpose_sdk.bundles.bundle import ASSETS
from transpose_sdk.detectors import Detector, open_detector
from transpose_sdk.detectors.cells import STRIDES, decode_cells
from transpose_sdk.detectors.letterbox import Letterbox, to_image
from transpose_sdk.detectors.nms import non_maximum_suppression, vote
from transpose_sdk.errors import DetectorError, InputError, TransposeError

NETWORKS = [
    "yolox_nano.onnx",
    "rtmdet_nano.onnx",
    "picodet_s_192_person.xml",
    "picodet_s_320_person.xml",
    "deimv2_atto_320.onnx",
    "blazepose_detection.tflite",
]


@pytest.fixture(scope="module")
def squats(shared: Path) -> NDArray[np.uint8]:
    """A portrait frame with one upright person in the middle."""
    return _frame(shared / "media" / "squats.mp4", 40)


@pytest.fixture(scope="module")
def person() -> Detector:
    """The detector that ships."""
    if not (ASSETS / "person.tpose").is_dir():
        pytest.skip("the detector's bundle is not in the tree (python -m transpose_sdk.trainers.detector export)")
    return open_detector("person", device="CPU")


def _frame(path: Path, index: int) -> NDArray[np.uint8]:
    video = cv2.VideoCapture(str(path))
    video.set(cv2.CAP_PROP_POS_FRAMES, index)
    _, frame = video.read()
    return frame


def _iou(a: NDArray[np.float32], b: tuple[float, float, float, float]) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


@pytest.mark.parametrize(
    ("boxes", "scores", "kept"),
    [
        ([], [], []),
        # the same box twice: the better one stays
        ([[0, 0, 10, 10], [0, 0, 10, 10]], [0.3, 0.9], [1]),
        # apart: both stay, best first
        ([[0, 0, 10, 10], [20, 0, 30, 10]], [0.3, 0.9], [1, 0]),
        # the threshold is 0.5: IoU 0.4 is below, 0.6 above
        ([[0, 0, 10, 10], [0, 0, 10, 4]], [0.9, 0.8], [0, 1]),
        ([[0, 0, 10, 10], [0, 0, 10, 6]], [0.9, 0.8], [0]),
        # the middle one goes because of the first, so it cannot take the third with it
        ([[0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10]], [0.9, 0.8, 0.7], [0, 2]),
    ],
)
def test_suppression(boxes: list[list[float]], scores: list[float], kept: list[int]) -> None:
    result = non_maximum_suppression(np.float32(boxes).reshape(-1, 4), np.float32(scores))
    assert result.tolist() == kept


def test_boxes_that_overlap_well_move_the_one_that_stays() -> None:
    boxes = np.float32([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 4], [30, 0, 40, 10]])
    scores = np.float32([0.9, 0.6, 0.8, 0.5])
    kept = non_maximum_suppression(boxes, scores)
    assert kept.tolist() == [0, 2, 3]
    overlap = 9 / 11
    shift = 0.6 * overlap / (0.9 + 0.6 * overlap)
    expected = [[shift, 0, 10 + shift, 10], [0, 0, 10, 4], [30, 0, 40, 10]]
    np.testing.assert_allclose(vote(boxes, scores, kept, 0.65), expected, rtol=1e-6)
    assert vote(boxes[:0], scores[:0], kept[:0], 0.65).shape == (0, 4)
    flat = np.float32([[5, 5, 5, 9]])
    np.testing.assert_array_equal(vote(flat, scores[:1], kept[:1], 0.65), flat)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("size", [(768, 1024), (1920, 1080), (33, 200), (320, 416), (1, 1)])
def test_letterbox_goes_there_and_back(size: tuple[int, int], centered: bool) -> None:
    letterbox = Letterbox((320, 416), centered)
    letterbox.fit(np.full((77, 500, 3), 255, np.uint8))  # another image before it must leave nothing behind
    scale, offset = letterbox.fit(np.full((*size, 3), 255, np.uint8))
    rows, columns = np.nonzero(letterbox.canvas[0, :, :, 0] == 255)
    seen = np.float32([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
    assert ((letterbox.canvas == 255) | (letterbox.canvas == 114)).all()
    assert (seen[0, 2:] - seen[0, :2]).prod() == len(rows)
    back = to_image(seen, scale, offset, size)
    assert scale[0] == scale[1]
    np.testing.assert_allclose(back, [[0, 0, size[1], size[0]]], atol=0.51 / scale[0])


@pytest.mark.parametrize("size", [(768, 1024), (1920, 1080), (33, 200), (1, 1)])
def test_a_stretched_image_fills_the_input(size: tuple[int, int]) -> None:
    letterbox = Letterbox((320, 416), stretched=True)
    scale, offset = letterbox.fit(np.full((*size, 3), 255, np.uint8))
    assert (letterbox.canvas == 255).all()
    back = to_image(np.float32([[0, 0, 416, 320], [104, 80, 208, 160]]), scale, offset, size)
    height, width = size
    expected = [[0, 0, width, height], [width / 4, height / 4, width / 4, height / 4]]
    np.testing.assert_allclose(back, expected, rtol=1e-5, atol=1e-4)


def test_boxes_are_clipped_to_the_image() -> None:
    boxes = to_image(
        np.float32([[-50, -10, 500, 200], [500, 0, 600, 50]]),
        np.float32([0.5, 0.5]),
        np.zeros(2, np.float32),
        (100, 200),
    )
    np.testing.assert_array_equal(boxes, [[0, 0, 200, 100], [200, 0, 0, 100]])


def test_cells_decode_like_the_plain_formula() -> None:
    rng = np.random.default_rng(0)
    centers = [
        ((column + 0.5) * stride, (row + 0.5) * stride, stride)
        for stride in STRIDES
        for row in range(-(-64 // stride))
        for column in range(-(-96 // stride))
    ]
    scores = rng.random(len(centers), np.float32)
    sides = rng.normal(0, 3, (len(centers), 4, 8)).astype(np.float32)
    shares = np.exp(sides) / np.exp(sides).sum(-1, keepdims=True)
    expected = [
        [x - left * s, y - top * s, x + right * s, y + bottom * s]
        for (x, y, s), score, (left, top, right, bottom) in zip(centers, scores, shares @ np.arange(8), strict=True)
        if score >= 0.5
    ]
    boxes, kept = decode_cells(scores, sides, 64, 96, 0.5)
    np.testing.assert_allclose(boxes, expected, atol=1e-3)
    np.testing.assert_array_equal(kept, scores[scores >= 0.5])


def test_the_whole_frame() -> None:
    detector = open_detector("frame")
    boxes, scores = detector(np.zeros((20, 30, 3), np.uint8))
    assert boxes.tolist() == [[0, 0, 30, 20]]
    assert (boxes.dtype, scores.dtype, scores.tolist()) == (np.float32, np.float32, [1.0])
    assert open_detector(detector) is detector


@pytest.mark.parametrize("name", NETWORKS)
def test_published_networks_find_one_person(name: str, shared: Path, squats: NDArray[np.uint8]) -> None:
    detector = open_detector(shared / "weights" / "detectors" / name, device="CPU")
    _check_one_person(detector, squats)
    detector.close()
    with pytest.raises(DetectorError, match="closed"):
        detector(squats)


def test_the_shipped_detector_finds_one_person(person: Detector, squats: NDArray[np.uint8]) -> None:
    _check_one_person(person, squats)


def _check_one_person(detector: Detector, squats: NDArray[np.uint8]) -> None:
    boxes, scores = detector(squats)
    height, width = squats.shape[:2]
    assert boxes.dtype == scores.dtype == np.float32
    assert (scores[:-1] >= scores[1:]).all()
    assert _iou(boxes[0], (0.29 * width, 0.14 * height, 0.48 * width, 0.66 * height)) > 0.5
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= [width + 1e-3, height + 1e-3]).all()
    if not detector.name.startswith("picodet"):  # as published it sees a person in a black frame, with a score of .7
        nobody, no_scores = detector(np.zeros((300, 200, 3), np.uint8))
        assert (nobody.shape, no_scores.shape) == ((0, 4), (0,))


@pytest.mark.parametrize("level", [0, 20, 114, 255])
@pytest.mark.parametrize("size", [(480, 640), (640, 480)])
def test_the_shipped_detector_finds_nobody_in_a_picture_of_nothing(
    level: int, size: tuple[int, int], person: Detector
) -> None:
    boxes, scores = person(np.full((*size, 3), level, np.uint8))
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))


def test_the_shipped_detector_finds_pedestrians(person: Detector, shared: Path) -> None:
    """RTMDet's boxes of pedestrians in the street scene, at least 50 px tall."""
    frame = _frame(shared / "media" / "vtest.avi", 100)
    reference = open_detector(shared / "weights" / "detectors" / "rtmdet_nano.onnx", "CPU", score_threshold=0.35)
    wanted, _ = reference(frame)
    found, _ = person(frame)
    hits = [any(_iou(box, tuple(other)) > 0.5 for box in found) for other in wanted if other[3] > 50]
    assert len(hits) >= 5
    assert np.mean(hits) >= 0.6


def test_a_graph_is_known_by_its_form(shared: Path, tmp_path: Path, squats: NDArray[np.uint8]) -> None:
    disguised = tmp_path / "rtmdet.onnx"
    shutil.copy(shared / "weights" / "detectors" / "yolox_nano.onnx", disguised)
    _check_one_person(open_detector(disguised, device="CPU"), squats)


def test_a_high_threshold_keeps_nobody(shared: Path, squats: NDArray[np.uint8]) -> None:
    detector = open_detector(shared / "weights" / "detectors" / NETWORKS[0], "CPU", score_threshold=1.0)
    boxes, scores = detector(squats)
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))


@pytest.mark.parametrize(
    ("spec", "options", "sentence"),
    [
        ("nobody", {}, "nobody"),
        ("missing.onnx", {}, "there is no detector"),
        ("garbage.onnx", {}, "cannot read the detector"),
        ("stranger.xml", {}, "no detector that is known"),
        ("stranger.xml", {"score_threshold": 1.5}, "from 0 to 1"),
        (".", {}, "bundle.json"),
        (3, {}, "int is no detector"),
    ],
)
def test_what_cannot_be_opened(spec: str | int, options: dict[str, float], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "garbage.onnx").write_bytes(b"not a network")
    image = ops.parameter([1, 3, 8, 8], np.float32)
    ov.save_model(ov.Model([ops.relu(image)], [image]), tmp_path / "stranger.xml")
    with pytest.raises(TransposeError, match=sentence):
        open_detector(spec if not isinstance(spec, str) or spec == "nobody" else tmp_path / spec, "CPU", **options)


def test_an_unknown_device(shared: Path) -> None:
    with pytest.raises(DetectorError, match=r"'TPU' is not there; use 'AUTO' or one of .*CPU"):
        open_detector(shared / "weights" / "detectors" / NETWORKS[0], device="TPU")


@pytest.mark.parametrize("image", [np.zeros(4, np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_images_of_another_form(image: NDArray[np.generic], shared: Path) -> None:
    with pytest.raises(InputError):
        open_detector("frame")(image)
    with pytest.raises(InputError):
        open_detector(shared / "weights" / "detectors" / NETWORKS[0], device="CPU")(image)
