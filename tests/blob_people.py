"""People made of coloured discs, one colour a joint, and a network and a detector that really find them.

The network is an OpenVINO graph of a few operations: a heatmap is how near a pixel's colour is to the joint's.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from transpose_sdk.bundles.writer import write_bundle
from transpose_sdk.skeletons import COCO17, Skeleton

# A standing person in parts of the box; no two joints are near each other.
FIGURE = np.array(
    [
        (0.50, 0.08), (0.68, 0.04), (0.32, 0.04), (0.84, 0.09), (0.16, 0.09), (0.72, 0.24), (0.28, 0.24),
        (0.85, 0.38), (0.15, 0.40), (0.94, 0.53), (0.06, 0.55), (0.64, 0.54), (0.36, 0.54), (0.66, 0.75),
        (0.34, 0.75), (0.68, 0.96), (0.30, 0.96),
    ]
)  # fmt: skip
LEVELS = (95, 175, 255)
COLORS = np.array([(b, g, r) for b in LEVELS for g in LEVELS for r in LEVELS][:17], np.float32)


def joints_of(box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """(17, 2) px of the person in a box x, y, width, height."""
    x, y, width, height = box
    return FIGURE * (width, height) + (x, y)


def picture(boxes: list[tuple[float, float, float, float]], size: tuple[int, int] = (240, 320)) -> NDArray[np.uint8]:
    """A black (height, width) image with a person in each box."""
    image = np.zeros((*size, 3), np.uint8)
    for box in boxes:
        for joint, color in zip(joints_of(box), COLORS.tolist(), strict=True):
            place = tuple(int(value) for value in (joint * 16).round())
            cv2.circle(image, place, round(16 * 0.035 * box[3]), color, -1, cv2.LINE_AA, shift=4)
    return image


class BlobDetector:
    """Boxes around what is not black; counts its calls."""

    name = "blobs"

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.calls = 0

    def __call__(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Detector`."""
        self.calls += 1
        solid = cv2.morphologyEx(image.max(axis=2), cv2.MORPH_CLOSE, np.ones((41, 41), np.uint8))
        stats = cv2.connectedComponentsWithStats((solid > 40).astype(np.uint8))[2][1:]
        boxes = stats[stats[:, cv2.CC_STAT_AREA] > 100, :4].astype(np.float32)
        return boxes, np.full(len(boxes), 0.9, np.float32)

    def close(self) -> None:
        """Nothing to let go of."""


def write_blob_bundle(folder: Path, skeleton: Skeleton = COCO17) -> Path:
    """A pose bundle whose heatmaps (N, K, 64, 48) tell how near each cell is to each joint's colour."""
    crops = ops.parameter([-1, 256, 192, 3], np.uint8, name="crops")
    planes = ops.transpose(ops.convert(crops, "f32"), np.array([0, 3, 1, 2]))
    cells = ops.avg_pool(planes, [4, 4], [0, 0], [0, 0], [4, 4], True)
    away = ops.subtract(ops.unsqueeze(cells, np.array([1])), COLORS[: len(skeleton)].reshape(1, -1, 3, 1, 1))
    distance = ops.reduce_sum(ops.multiply(away, away), np.array([2]))
    heatmaps = ops.exp(ops.multiply(distance, np.float32(-1 / (2 * 35.0**2))))
    heatmaps.output(0).set_names({"heatmaps"})
    description = {
        "kind": "pose",
        "name": folder.stem,
        "skeleton": asdict(skeleton),
        "input_size": [256, 192],
        "attention": {"grid": [16, 12]},
        "graphs": {"fp16": {"path": "model_fp16.xml"}},
    }
    with tempfile.TemporaryDirectory() as temporary:
        ov.save_model(ov.Model([heatmaps], [crops], "blobs"), Path(temporary) / "model_fp16.xml")
        write_bundle(folder, description, Path(temporary))
    return folder
