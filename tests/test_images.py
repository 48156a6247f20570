"""What counts as an image is one rule, for the estimator, the streams, the detectors and the drawing."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from transpose_sdk.checks.images import to_bgr
from transpose_sdk.errors import InputError, SourceError
from transpose_sdk.media.sources import open_source

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
GREY = IMAGE[..., 0]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (GREY, np.repeat(GREY[..., None], 3, axis=2)),
        (GREY[..., None], np.repeat(GREY[..., None], 3, axis=2)),
        (np.dstack((IMAGE, GREY)), IMAGE),  # alpha goes
        (IMAGE[::-1], IMAGE[::-1]),  # views, as of flips and crops
        (IMAGE[..., ::-1], IMAGE[..., ::-1]),
        (IMAGE[:, ::2], IMAGE[:, ::2]),
    ],
)
def test_what_is_converted(image: np.ndarray, expected: np.ndarray) -> None:
    converted = to_bgr(image)
    np.testing.assert_array_equal(converted, expected)
    assert converted.strides[1:] == (3, 1)
    (frame,) = open_source([image])
    np.testing.assert_array_equal(frame.image, expected)


def test_an_image_as_wanted_is_not_copied() -> None:
    assert to_bgr(IMAGE) is IMAGE
    part = IMAGE[1:4, 2:6]  # which OpenCV takes as it is
    assert to_bgr(part) is part


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (None, "check the path"),  # what cv2.imread gives for a missing file
        ("photo.jpg", "cv2.imread"),
        (Path("photo.jpg"), "cv2.imread"),
        (b"\xff\xd8", "imdecode"),
        ([[1, 2], [3, 4]], "np.asarray"),
        (IMAGE / 255, r"\* 255"),
        (IMAGE.astype(np.uint16), ">> 8"),
        (GREY > 9, r"\(image \* 255\).astype"),
        (IMAGE.astype(np.int64), "astype"),
        (IMAGE.transpose(2, 0, 1), r"transpose\(1, 2, 0\)"),
        (IMAGE[None], "PoseEstimator.batch"),
        (IMAGE[:0], "shape"),  # no pixel
        (np.zeros((6, 8, 2), np.uint8), "shape"),
    ],
)
def test_what_is_refused_says_how_to_convert_it(image: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        to_bgr(image)
    with pytest.raises(SourceError, match=said):
        list(open_source([image]))


def test_pil_images_are_told_to_become_bgr(monkeypatch: pytest.MonkeyPatch) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow is optional")
    image = pil.fromarray(IMAGE[..., ::-1])
    with pytest.raises(InputError, match=r"a PIL Image.*np\.asarray\(image\.convert\('RGB'\)\)\[\.\.\., ::-1\]"):
        to_bgr(image)
    with pytest.raises(SourceError, match="PIL"):
        open_source(image)
    np.testing.assert_array_equal(to_bgr(np.asarray(image.convert("RGB"))[..., ::-1]), IMAGE)  # as the error says


@pytest.mark.parametrize("floating", [True, False])
def test_tensors_are_told_to_become_arrays(floating: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is optional")
    image = torch.from_numpy(np.ascontiguousarray(IMAGE[..., ::-1])).permute(2, 0, 1)
    image = image / 255 if floating else image
    with pytest.raises(InputError, match="a torch Tensor") as raised:
        to_bgr(image)
    advice = str(raised.value).partition("give ")[2].partition(", if it is an RGB image")[0]
    assert floating == ("255" in advice)
    np.testing.assert_allclose(to_bgr(eval(advice, {"image": image})), IMAGE, atol=1)  # the advice is code that works
    with pytest.raises(SourceError, match="a torch Tensor"):
        list(open_source([image]))


def test_no_library_is_imported_to_tell_what_was_given() -> None:
    before = set(sys.modules)
    stranger = types.new_class("Tensor", exec_body=lambda space: space.update(__module__="elsewhere.arrays"))()
    with pytest.raises(InputError, match="a elsewhere Tensor"):
        to_bgr(stranger)
    assert set(sys.modules) == before
