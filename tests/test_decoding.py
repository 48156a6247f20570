"""DARK decoding against the published decoder's fixtures and against a plain version of it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from transpose_sdk.crops import heatmap_to_image
from transpose_sdk.decoding import decode_dark, warm_up
from transpose_sdk.errors import InputError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "benchmarks"))
from benchmark_decoding import measure, plain_decode_dark, sample_heatmaps


def noise(offset: float, amplitude: float, shape: tuple[int, ...] = (4, 17, 64, 48)) -> np.ndarray:
    return (offset + amplitude * np.random.default_rng(7).standard_normal(shape)).astype(np.float32)


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "reference" / "dark_decode.npz") as data:
        return dict(data)


def test_decode_equals_published(published: dict[str, np.ndarray]) -> None:
    coords, scores = decode_dark(published["heatmaps"])
    np.testing.assert_allclose(coords, published["coords_heatmap"], rtol=0, atol=1e-3)
    np.testing.assert_array_equal(scores, published["maxvals"][..., 0])
    image = heatmap_to_image(coords, published["center"], published["scale"], (64, 48))
    np.testing.assert_allclose(image, published["coords_image"], rtol=0, atol=1e-3)


def test_plain_version_equals_published(published: dict[str, np.ndarray]) -> None:
    coords, scores = plain_decode_dark(published["heatmaps"])
    np.testing.assert_allclose(coords, published["coords_heatmap"], rtol=0, atol=1e-3)
    np.testing.assert_array_equal(scores, published["maxvals"][..., 0])


@pytest.mark.parametrize(
    "heatmaps",
    [
        pytest.param(sample_heatmaps(4), id="peaks on faint noise"),
        pytest.param(noise(0, 1), id="pure noise, negative values around the maximum are clipped"),
        pytest.param(noise(0.3, 0.1), id="noise on a plateau, small Hessians"),
        pytest.param(noise(1, 1e-3), id="nearly flat"),
        pytest.param(noise(1, 1e-6), id="flat but for float32 rounding: offsets explode"),
        pytest.param(noise(-10, 1), id="no positive value"),
        pytest.param(noise(1e-11, 1e-12), id="everything below the clipping floor"),
        pytest.param(np.ones((1, 2, 64, 48), np.float32), id="constant"),
        pytest.param(sample_heatmaps(1)[..., :40, :33].copy(), id="another size"),
        pytest.param(noise(0, 1, (3, 5, 4, 4)), id="too small for an offset"),
        pytest.param(noise(0, 1, (6, 5, 6, 5)), id="smaller than the blur's kernel"),
        pytest.param(sample_heatmaps(2)[:, ::2], id="not contiguous"),
    ],
)
def test_decode_equals_plain_version(heatmaps: np.ndarray) -> None:
    coords, scores = decode_dark(heatmaps)
    plain_coords, plain_scores = plain_decode_dark(heatmaps)
    np.testing.assert_allclose(coords, plain_coords, rtol=1e-6, atol=1e-3)
    np.testing.assert_array_equal(scores, plain_scores)


def test_plateau_around_the_maximum_has_no_offset() -> None:
    heatmaps = np.zeros((1, 1, 64, 48), np.float32)
    heatmaps[..., 10:50, 8:40] = 0.7
    heatmaps[..., 30, 20] = np.nextafter(np.float32(0.7), np.float32(1))
    coords, _ = decode_dark(heatmaps)
    np.testing.assert_allclose(coords, plain_decode_dark(heatmaps)[0], atol=1e-3)


def test_decode_finds_a_gaussian_between_pixels() -> None:
    y, x = np.mgrid[:64, :48]
    heatmap = np.exp(-((x - 20.3) ** 2 + (y - 30.8) ** 2) / 8).astype(np.float32)
    coords, scores = decode_dark(heatmap[None, None])
    np.testing.assert_allclose(coords[0, 0], (20.3, 30.8), atol=0.01)
    assert scores[0, 0] == heatmap.max()


def test_decode_leaves_its_input_alone() -> None:
    heatmaps = sample_heatmaps(1)
    before = heatmaps.copy()
    decode_dark(heatmaps)
    np.testing.assert_array_equal(heatmaps, before)
    assert heatmaps.flags.writeable
    heatmaps.flags.writeable = False
    np.testing.assert_array_equal(decode_dark(heatmaps)[0], decode_dark(before)[0])


def test_no_people() -> None:
    coords, scores = decode_dark(np.zeros((0, 17, 64, 48), np.float32))
    assert (coords.shape, scores.shape) == ((0, 17, 2), (0, 17))
    assert coords.dtype == scores.dtype == np.float32


@pytest.mark.parametrize(
    ("heatmaps", "message"),
    [
        (np.zeros((17, 64, 48), np.float32), r"float32 of \(17, 64, 48\)"),
        (np.zeros((1, 17, 64, 48)), r"float64 of"),
        ([[1.0]], "a list"),
        (np.zeros((1, 17, 0, 48), np.float32), "needs a pixel"),
    ],
)
def test_wrong_heatmaps_are_refused(heatmaps: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_dark(heatmaps)  # type: ignore[arg-type]


def test_compiled_decoder_is_much_faster_than_the_plain_one() -> None:
    """The claim is 30; half of it is asked here, because a busy machine hits the short times hardest."""
    warm_up()
    compiled, plain, difference = measure(people=1, repetitions=30)
    assert plain / compiled > 15
    assert difference < 1e-3
