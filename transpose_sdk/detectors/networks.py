"""The published detection networks that can be given by path: YOLOX, RTMDet, PicoDet, DEIMv2, BlazePose's detector.

Each is known by the form of its inputs and outputs, never by its file's name.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from transpose_sdk.arrays import Float
from transpose_sdk.detectors.cells import cell_count
from transpose_sdk.detectors.detector import Detections
from transpose_sdk.detectors.graph import DetectorFormat, InputFormat, output_shapes
from transpose_sdk.detectors.nms import non_maximum_suppression
from transpose_sdk.errors import DetectorError

_RTMDET_SIZE = (320, 320)  # what RTMDet-nano's person weights were trained at
_IMAGENET_MEAN, _IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_YOLOX_STRIDES = (8, 16, 32)
_BLAZEPOSE_SIZE = (224, 224)
_BLAZEPOSE_ANCHORS = 2254
# Half width of a person's box across the body as a share of the body circle's radius. Mean IoU with RTMDet's boxes on
# 110 LSP training images: .70 at .3, .72 at .4, .69 at .5, .63 at 1 (the hull of the circle).
_BLAZEPOSE_SLIMNESS = 0.4


def recognise(model: ov.Model, path: Path) -> DetectorFormat:
    """The recipe for a network, from the form of its inputs and outputs.

    Raises:
        DetectorError: It is none of the known ones.
    """
    outputs = output_shapes(model)
    entry = model.inputs[0].partial_shape
    axes = [axis.get_length() if axis.is_static else -1 for axis in entry] if entry.rank.is_static else []
    if len(model.inputs) == 1 and len(axes) == 4:
        if len(outputs) == 1 and len(outputs[0]) == 3 and axes[1] == 3 and outputs[0][2] > 5:
            size = (axes[2], axes[3])
            if min(size) > 0 and outputs[0][1] == sum((size[0] // s) * (size[1] // s) for s in _YOLOX_STRIDES):
                return DetectorFormat("yolox", size, InputFormat(), decode_yolox)
        if len(outputs) == 2 and axes[1] == 3 and outputs[0][2:] == (5,) and len(outputs[1]) == 2:
            return DetectorFormat(
                "rtmdet",
                _RTMDET_SIZE if min(axes[2:]) < 0 else (axes[2], axes[3]),
                InputFormat(mean=(103.53, 116.28, 123.675), scale=(57.375, 57.12, 58.395)),
                decode_rtmdet,
            )
        if len(outputs) == 2 and axes[1] == 3 and outputs[0][2:] == (4,) and outputs[1][1:] == (1, outputs[0][1]):
            size = (axes[2], axes[3])
            if outputs[0][1] == cell_count(*size):
                return DetectorFormat(
                    "picodet",
                    size,
                    InputFormat(rgb=True, mean=_IMAGENET_MEAN, scale=_IMAGENET_STD),
                    decode_picodet,
                    stretched=True,
                )
        if [shape[1:] for shape in outputs] == [(_BLAZEPOSE_ANCHORS, 12), (_BLAZEPOSE_ANCHORS, 1)]:
            return DetectorFormat(
                "blazepose",
                _BLAZEPOSE_SIZE,
                InputFormat("NHWC", rgb=True, mean=(127.5,) * 3, scale=(127.5,) * 3),
                decode_blazepose,
                centered=True,
                padding=0,
            )
    if len(model.inputs) == 2 and len(axes) == 4 and [shape[1:] for shape in outputs] == [(300,), (300, 4), (300,)]:
        wants = InputFormat(rgb=True, scale=(255.0,) * 3)
        return DetectorFormat("deimv2", (axes[2], axes[3]), wants, decode_deimv2, stretched=True)
    raise DetectorError(
        f"the network {path} (input {axes}, outputs {[list(shape) for shape in outputs]}) is no detector that is known "
        "here; give a YOLOX with a raw head, an RTMDet with NMS inside, a PicoDet without, a DEIMv2, BlazePose's "
        "detector or a bundle of ours."
    )


@cache
def _yolox_cells(size: tuple[int, int]) -> tuple[Float, Float]:
    """Corners (A, 2) x, y in cells and strides (A, 1) of YOLOX's cells."""
    corners, strides = [], []
    for stride in _YOLOX_STRIDES:
        rows, columns = size[0] // stride, size[1] // stride
        y, x = np.mgrid[:rows, :columns]
        corners.append(np.stack([x, y], -1).reshape(-1, 2))
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decode_yolox(outputs: list[NDArray[Any]], size: tuple[int, int], threshold: float) -> Detections:
    """Raw YOLOX head (1, A, 5 + classes): box, objectness, classes; COCO's class 0 is the person."""
    head = outputs[0][0]
    scores = head[:, 4] * head[:, 5]
    chosen = np.flatnonzero(scores >= threshold)
    corners, strides = _yolox_cells(size)
    center = (head[chosen, :2] + corners[chosen]) * strides[chosen]
    half = np.exp(head[chosen, 2:4]) * strides[chosen] / 2
    boxes, scores = np.concatenate([center - half, center + half], axis=1), scores[chosen]
    keep = non_maximum_suppression(boxes, scores, 0.65)
    return boxes[keep], scores[keep]


def decode_rtmdet(outputs: list[NDArray[Any]], size: tuple[int, int], threshold: float) -> Detections:
    """RTMDet exported with its NMS: (1, n, 5) x1, y1, x2, y2, score and (1, n) labels, 0 = person."""
    rows, labels = outputs[0][0], outputs[1][0]
    rows = rows[(rows[:, 4] >= threshold) & (labels == 0)]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    return rows[:, :4].copy(), rows[:, 4].copy()


def decode_picodet(outputs: list[NDArray[Any]], size: tuple[int, int], threshold: float) -> Detections:
    """PicoDet of one class without its NMS: boxes (1, A, 4) x1, y1, x2, y2 and scores (1, 1, A)."""
    chosen = np.flatnonzero(outputs[1][0, 0] >= threshold)
    boxes, scores = outputs[0][0, chosen], outputs[1][0, 0, chosen]
    keep = non_maximum_suppression(boxes, scores, 0.6)
    return boxes[keep], scores[keep]


def decode_deimv2(outputs: list[NDArray[Any]], size: tuple[int, int], threshold: float) -> Detections:
    """DEIMv2, a DETR, which needs no NMS: labels (1, 300), 0 = person, boxes (1, 300, 4) and scores (1, 300)."""
    labels, boxes, scores = (output[0] for output in outputs)
    chosen = np.flatnonzero((labels == 0) & (scores >= threshold))
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    return boxes[chosen], scores[chosen]


@cache
def _blazepose_anchors() -> Float:
    """Anchor centres (2254, 2) x, y in pixels: two a cell at strides 8 and 16, then six at stride 32."""
    anchors = []
    for stride, repeat in ((8, 2), (16, 2), (32, 6)):
        y, x = np.mgrid[: _BLAZEPOSE_SIZE[0] // stride, : _BLAZEPOSE_SIZE[1] // stride]
        centers = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride
        anchors.append(np.repeat(centers, repeat, axis=0))
    return np.concatenate(anchors).astype(np.float32)


def decode_blazepose(outputs: list[NDArray[Any]], size: tuple[int, int], threshold: float) -> Detections:
    """BlazePose's detector (1, 2254, 12), (1, 2254, 1): a face box and four points, of which two span the body.

    Point 0 is the middle of the hips, point 1 lies on the circle around the whole body, in line with its axis
    (MediaPipe's pose_detection). The person's box is the upright hull of that axis with 0.4 of its length to each side.
    """
    raw, logits = outputs[0][0], outputs[1][0, :, 0]
    scores = 1 / (1 + np.exp(-logits.clip(-60, 60)))  # float32 overflows beyond 88
    chosen = np.flatnonzero(scores >= threshold)
    anchors, scores = _blazepose_anchors()[chosen], scores[chosen].astype(np.float32)
    center, half = raw[chosen, :2] + anchors, raw[chosen, 2:4] / 2
    keep = non_maximum_suppression(np.concatenate([center - half, center + half], axis=1), scores, 0.3)
    hips = raw[chosen[keep], 4:6] + anchors[keep]
    axis = raw[chosen[keep], 6:8] + anchors[keep] - hips
    reach = np.abs(axis) + _BLAZEPOSE_SLIMNESS * np.abs(axis[:, ::-1])
    return np.concatenate([hips - reach, hips + reach], axis=1), scores[keep]
