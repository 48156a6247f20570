"""Time the compiled DARK decoder against a plain NumPy + OpenCV version of the published algorithm, side by side.

    python examples/benchmarks/benchmark_decoding.py [--people 6] [--repetitions 100]

Both decode the same heatmaps in alternating repetitions, so that whatever else the machine does hits both.
"""

from __future__ import annotations

import argparse
import sys
import time

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.decoding import decode_dark, warm_up


def plain_decode_dark(heatmaps: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The published decoder as it reads in the paper (DARK, Zhang et al. 2020): every map is blurred as a whole.

    Args:
        heatmaps: Shape (N, K, H, W), float32.

    Returns:
        coords: Shape (N, K, 2), float32, in heatmap px.
        scores: Shape (N, K), float32.
    """
    count, keypoints, _, width = heatmaps.shape
    flat = heatmaps.reshape(count, keypoints, -1)
    peaks, scores = flat.argmax(2), flat.max(2)
    coords = np.stack((peaks % width, peaks // width), axis=-1).astype(np.float32)
    coords[scores <= 0] = 0
    logs = np.log(np.maximum(plain_blur(heatmaps), np.float32(1e-10)))
    for person in range(count):
        for keypoint in range(keypoints):
            coords[person, keypoint] += plain_offset(logs[person, keypoint], coords[person, keypoint])
    return coords, scores


def plain_blur(heatmaps: NDArray[np.float32], kernel: int = 11) -> NDArray[np.float32]:
    """Every map blurred with zeros around it and rescaled to its old maximum."""
    border = kernel // 2
    height, width = heatmaps.shape[2:]
    blurred = np.empty_like(heatmaps)
    flat = blurred.reshape(-1, height, width)
    for index, heatmap in enumerate(heatmaps.reshape(flat.shape)):
        padded = np.zeros((height + 2 * border, width + 2 * border))
        padded[border:-border, border:-border] = heatmap
        flat[index] = cv2.GaussianBlur(padded, (kernel, kernel), 0)[border:-border, border:-border]
        flat[index] *= heatmap.max() / flat[index].max()
    return blurred


def plain_offset(logs: NDArray[np.float32], peak: NDArray[np.float32]) -> NDArray[np.float32]:
    """Offset (2,) from the peak to the top of the parabola; zero near the border and on a plane."""
    height, width = logs.shape
    x, y = int(peak[0]), int(peak[1])
    if not (1 < x < width - 2 and 1 < y < height - 2):
        return np.zeros(2, np.float32)
    dx = 0.5 * (logs[y, x + 1] - logs[y, x - 1])
    dy = 0.5 * (logs[y + 1, x] - logs[y - 1, x])
    dxx = 0.25 * (logs[y, x + 2] - 2 * logs[y, x] + logs[y, x - 2])
    dyy = 0.25 * (logs[y + 2, x] - 2 * logs[y, x] + logs[y - 2, x])
    dxy = 0.25 * (logs[y + 1, x + 1] - logs[y - 1, x + 1] - logs[y + 1, x - 1] + logs[y - 1, x - 1])
    if dxx * dyy - dxy**2 == 0:
        return np.zeros(2, np.float32)
    return -np.linalg.inv(np.array([[dxx, dxy], [dxy, dyy]])) @ np.array([dx, dy])


def sample_heatmaps(people: int, seed: int = 0) -> NDArray[np.float32]:
    """Heatmaps as a trained network gives them, shape (people, 17, 64, 48): a Gaussian of sigma 2 on faint noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :48]
    centers = rng.uniform((3, 3), (44, 60), (people, 17, 2))[..., None, None]
    distances = (x - centers[:, :, 0]) ** 2 + (y - centers[:, :, 1]) ** 2
    heights = rng.uniform(0.3, 1.0, (people, 17, 1, 1))
    return (heights * np.exp(-distances / 8) + 0.01 * rng.standard_normal(distances.shape)).astype(np.float32)


def measure(people: int, repetitions: int) -> tuple[float, float, float]:
    """Median seconds a person of the compiled and of the plain decoder, and their largest difference in heatmap px."""
    heatmaps = sample_heatmaps(people)
    warm_up()
    difference = float(np.abs(decode_dark(heatmaps)[0] - plain_decode_dark(heatmaps)[0]).max())
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repetitions):
        for decode, times in zip((decode_dark, plain_decode_dark), seconds, strict=True):
            start = time.perf_counter()
            decode(heatmaps)
            times.append((time.perf_counter() - start) / people)
    return float(np.median(seconds[0])), float(np.median(seconds[1])), difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=6, help="people a call (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=100, help="timed calls of each (default: %(default)s)")
    options = parser.parse_args()
    compiled, plain, difference = measure(options.people, options.repetitions)
    sys.stdout.write(
        f"compiled: {compiled * 1e6:8.1f} us a person\n"
        f"plain:    {plain * 1e6:8.1f} us a person\n"
        f"ratio:    {plain / compiled:8.1f}, largest difference {difference:.1e} px\n"
    )


if __name__ == "__main__":
    main()
