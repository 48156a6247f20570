"""DARK decoding: sub-pixel keypoints from heatmaps (the published test-time decoder of TransPose).

Published steps: take the maximum, blur the map with an 11 x 11 Gaussian, rescale it to the old maximum, take the
logarithm and step to the top of the parabola through the neighbours of the maximum. In log space the rescaling is an
additive constant, so only the neighbourhood of the maximum is ever blurred here.

Two cases still need the whole map. A blurred value that the published code clips to 1e-10 loses the constant, so the
blurred maximum is computed after all. And where the Hessian is so small that the published float32 rounding decides
where the offset goes, the published float32 steps are repeated as they are. Maps of pure noise need the latter; none of
1020 maps of a trained network on COCO photos did.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.compiled import compiled
from transpose_sdk.errors import InputError

KERNEL = 11
RADIUS = KERNEL // 2
WINDOW = 16  # what 5 x 5 blurred pixels are made of, 4 + KERNEL, rounded up
# OpenCV's own sigma for this kernel is 0.3 * (RADIUS - 1) + 0.8 = 2.
GAUSSIAN = np.asarray(cv2.getGaussianKernel(KERNEL, 0, cv2.CV_64F), np.float64)[:, 0]
FLOOR = 1e-10

# Float32 rounds each logarithm by about 1e-7. Measured on noise of many kinds, that moves the result by at most 1e-7
# times this gain of the inverse Hessian; a peak of sigma 2 has a gain of 20.
GAIN_LIMIT = 3000.0


def decode_dark(heatmaps: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Keypoints and their scores from raw heatmaps.

    Args:
        heatmaps: Shape (N, K, H, W), float32, finite; N may be 0.

    Returns:
        coords: Shape (N, K, 2), float32, x and y in heatmap px; (0, 0) where a map has no positive value. As in the
            published decoder, a nearly flat map can push the offset far away, even out of the map.
        scores: Shape (N, K), float32, the raw maximum of each map.

    Raises:
        InputError: Not a float32 array with four dimensions and at least one pixel a map.
    """
    if not isinstance(heatmaps, np.ndarray) or heatmaps.dtype != np.float32 or heatmaps.ndim != 4:
        raise InputError(f"the heatmaps are {_describe(heatmaps)}, not a float32 array of (N, K, H, W): convert them")
    count, keypoints, height, width = heatmaps.shape
    if height == 0 or width == 0:
        raise InputError(f"the heatmaps have shape {heatmaps.shape}: each of the (N, K) maps needs a pixel")
    maps = np.ascontiguousarray(heatmaps).reshape(count * keypoints, height, width)
    peaks = maps.reshape(len(maps), height * width).argmax(1)  # twice as fast as the best compiled loop found
    maps.flags.writeable = False  # one compiled signature, whoever owns the memory
    coords = np.empty((len(maps), 2), np.float32)
    scores = np.empty(len(maps), np.float32)
    unsure = np.empty(len(maps), np.bool_)
    if _decode(maps, peaks, coords, scores, unsure):
        for index in np.flatnonzero(unsure):
            coords[index] += _published_offset(maps[index], coords[index])
    return coords.reshape(count, keypoints, 2), scores.reshape(count, keypoints)


def warm_up() -> None:
    """Compile the decoder, or load it from numba's cache, so that the first frame doesn't wait for it."""
    decode_dark(np.zeros((1, 1, 5, 5), np.float32))


def _describe(value: Any) -> str:
    return f"{value.dtype} of {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


@compiled(error_model="numpy")
def _decode(
    maps: NDArray[np.float32],
    peaks: NDArray[np.intp],
    coords: NDArray[np.float32],
    scores: NDArray[np.float32],
    unsure: NDArray[np.bool_],
) -> bool:
    """Decode M maps (M, H, W) with flat argmax `peaks` (M,) into coords (M, 2) and scores (M,).

    Returns True if any map is left to the float32 steps. Such a map is marked in `unsure` (M,), and its coords
    hold the maximum without an offset.
    """
    _, height, width = maps.shape
    window = np.empty((WINDOW, WINDOW))
    rows = np.empty((5, WINDOW))
    b = np.ones((5, 5))  # the blurred neighbourhood, 13 pixels of it used
    any_unsure = False
    for m in range(len(maps)):
        y, x = peaks[m] // width, peaks[m] % width
        peak = maps[m, y, x]
        scores[m] = peak
        unsure[m] = False
        if not peak > 0:
            x, y = 0, 0
        coords[m, 0], coords[m, 1] = x, y
        if not (1 < x < width - 2 and 1 < y < height - 2):
            continue
        lowest = _blur_neighbourhood(maps[m], x, y, window, rows, b)
        if lowest <= FLOOR:  # the rescaling that comes before the clipping never lowers a positive value
            scale = peak / _blurred_maximum(maps[m])
            if not math.isfinite(scale):
                continue
            for i in range(5):
                for j in range(5):
                    b[i, j] = max(b[i, j] * scale, FLOOR)
        # Differences of logarithms as the logarithm of a quotient: 5 instead of 13.
        dx = 0.5 * math.log(b[2, 3] / b[2, 1])
        dy = 0.5 * math.log(b[3, 2] / b[1, 2])
        dxx = 0.25 * math.log(b[2, 4] * b[2, 0] / (b[2, 2] * b[2, 2]))
        dyy = 0.25 * math.log(b[4, 2] * b[0, 2] / (b[2, 2] * b[2, 2]))
        dxy = 0.25 * math.log(b[3, 3] * b[1, 1] / (b[1, 3] * b[3, 1]))
        determinant = dxx * dyy - dxy * dxy
        offset_x = (dxy * dy - dyy * dx) / determinant
        offset_y = (dxy * dx - dxx * dy) / determinant
        # |inverse Hessian| * (1 + |offset|) bounds how far a rounded logarithm moves the result.
        gain = (abs(dxx) + abs(dyy) + 2 * abs(dxy)) / abs(determinant) * (1 + abs(offset_x) + abs(offset_y))
        if gain < GAIN_LIMIT:
            coords[m, 0] += offset_x
            coords[m, 1] += offset_y
        else:
            unsure[m] = any_unsure = True
    return any_unsure


@compiled(fastmath={"contract", "reassoc"})
def _taps(values: NDArray[np.float64], i: int, j: int) -> float:
    """The Gaussian over values[i : i + 11, j], written out so that LLVM vectorises a loop over j."""
    return (
        GAUSSIAN[5] * values[i + 5, j]
        + GAUSSIAN[4] * (values[i + 4, j] + values[i + 6, j])
        + GAUSSIAN[3] * (values[i + 3, j] + values[i + 7, j])
        + GAUSSIAN[2] * (values[i + 2, j] + values[i + 8, j])
        + GAUSSIAN[1] * (values[i + 1, j] + values[i + 9, j])
        + GAUSSIAN[0] * (values[i, j] + values[i + 10, j])
    )


@compiled(fastmath={"contract", "reassoc"})
def _blur_neighbourhood(
    heatmap: NDArray[np.float32],
    x: int,
    y: int,
    window: NDArray[np.float64],
    rows: NDArray[np.float64],
    blurred: NDArray[np.float64],
) -> float:
    """Blur the 13 pixels within 2 steps of (x, y) into `blurred` (5, 5) and return the smallest value.

    `window` (16, 16), zero outside the map, and `rows` (5, 16), blurred along y only, are scratch; 15 columns would do,
    but 16 fill the vector registers.
    """
    height, width = heatmap.shape
    top, left = y - 2 - RADIUS, x - 2 - RADIUS
    if top >= 0 and left >= 0 and top + WINDOW <= height and left + WINDOW <= width:
        for i in range(WINDOW):
            for j in range(WINDOW):
                window[i, j] = heatmap[top + i, left + j]
    else:
        window[:] = 0.0
        for i in range(max(0, -top), min(WINDOW, height - top)):
            for j in range(max(0, -left), min(WINDOW, width - left)):
                window[i, j] = heatmap[top + i, left + j]
    lowest = np.inf
    for i in range(5):
        for j in range(WINDOW):
            rows[i, j] = _taps(window, i, j)
        spread = 2 - abs(i - 2)
        for j in range(2 - spread, 3 + spread):
            blurred[i, j] = _taps(rows.T, j, i)
            lowest = min(lowest, blurred[i, j])
    return lowest


@compiled()
def _blurred_maximum(heatmap: NDArray[np.float32]) -> float:
    """Maximum of the whole blurred map (H, W)."""
    height, width = heatmap.shape
    padded = np.zeros((width + 2 * RADIUS, 1))
    largest = -np.inf
    for y in range(height):
        padded[RADIUS : RADIUS + width] = 0.0
        for row in range(max(0, y - RADIUS), min(height, y + RADIUS + 1)):
            for x in range(width):
                padded[RADIUS + x, 0] += GAUSSIAN[row - y + RADIUS] * heatmap[row, x]
        for x in range(width):
            largest = max(largest, _taps(padded, x, 0))
    return largest


def _published_offset(heatmap: NDArray[np.float32], peak: NDArray[np.float32]) -> NDArray[np.float32]:
    """Offset (2,) of the peak of one map (H, W) by the published steps with their float32 rounding.

    The blur runs in float64 and its result is rounded to float32; everything after it is float32.
    """
    padded = np.pad(heatmap.astype(np.float64), RADIUS)
    blurred = cv2.GaussianBlur(padded, (KERNEL, KERNEL), 0)[RADIUS:-RADIUS, RADIUS:-RADIUS].astype(np.float32)
    blurred *= heatmap.max() / blurred.max()
    x, y = int(peak[0]), int(peak[1])
    logs = np.log(np.maximum(blurred, np.float32(FLOOR)))[y - 2 : y + 3, x - 2 : x + 3]
    half, quarter, two = np.float32(0.5), np.float32(0.25), np.float32(2)
    dx, dy = half * (logs[2, 3] - logs[2, 1]), half * (logs[3, 2] - logs[1, 2])
    dxx = quarter * (logs[2, 4] - two * logs[2, 2] + logs[2, 0])
    dyy = quarter * (logs[4, 2] - two * logs[2, 2] + logs[0, 2])
    dxy = quarter * (logs[3, 3] - logs[1, 3] - logs[3, 1] + logs[1, 1])
    if dxx * dyy - dxy**2 == 0:
        return np.zeros(2, np.float32)
    try:
        return -np.linalg.inv(np.array([[dxx, dxy], [dxy, dyy]])) @ np.array([dx, dy])
    except np.linalg.LinAlgError:  # singular by the rounding of the elimination, though not by the determinant's
        return np.zeros(2, np.float32)
