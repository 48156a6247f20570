"""Augmentation of detection images: scale over a wide range, crops, mosaics, flips, colour, blur, noise, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from transpose_sdk.arrays import Float, Image

Labelled = tuple[Image, Float, Float, Float]  # image, boxes (n, 4) xywh, weights (n,), ignored (m, 4) xywh

PADDING = 114  # grey where no image is
_MIN_HEIGHT, _MIN_WIDTH = 7.0, 3.0  # smaller people are ignored: less than a cell of the finest level
_MIN_VISIBLE = 0.35  # share of a box that a crop must leave for it to count as a person


@dataclass(frozen=True)
class Sample:
    """One training image: image (H, W, 3) uint8 BGR; boxes (n, 4), weights (n,), ignored (m, 4); x1, y1, x2, y2."""

    image: Image
    boxes: Float
    weights: Float
    ignored: Float


def _moved(boxes: Float, scale: Float, offset: Float, flip_width: float | None) -> Float:
    """x, y, w, h of the source image to x1, y1, x2, y2 of the canvas; `flip_width`: source width when mirrored."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    if flip_width is not None:
        corners[:, [0, 2]] = flip_width - corners[:, [2, 0]]
    return np.asarray(corners * np.tile(scale, 2) + np.tile(offset, 2), np.float32)


def _paste(
    canvas: Image, rect: tuple[int, int, int, int], item: Labelled, zoom: float, rng: np.random.Generator
) -> tuple[Float, Float, Float]:
    """Put an image into a rectangle (x1, y1, x2, y2) of the canvas, `zoom` times the size that just fits.

    Its aspect becomes any between its own and the rectangle's, to which the detector stretches what it is given.

    Returns:
        boxes (n, 4), weights (n,), ignored (m, 4), cut to the rectangle.
    """
    image, boxes, weights, ignored = item
    x1, y1, x2, y2 = rect
    height, width = image.shape[:2]
    filling = np.array([(x2 - x1) / width, (y2 - y1) / height], np.float32)
    stretch = np.float32(rng.random())
    scale = np.float32(zoom) * filling**stretch * filling.min() ** (1 - stretch)
    flip = bool(rng.random() < 0.5)
    if flip:
        image = cv2.flip(image, 1)  # type: ignore[assignment]
    room = np.array([x2 - x1, y2 - y1], np.float32) - scale * np.array([width, height], np.float32)
    offset = np.array([x1, y1], np.float32) + rng.random(2).astype(np.float32) * room
    shift = offset - np.array([x1, y1], np.float32)
    if scale.min() < 0.7:  # bilinear sampling alone would alias
        size = (max(1, round(float(width * scale[0]))), max(1, round(float(height * scale[1]))))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        warp = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    else:
        warp = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    canvas[y1:y2, x1:x2] = cv2.warpAffine(
        image, warp, (x2 - x1, y2 - y1), borderMode=cv2.BORDER_CONSTANT, borderValue=(PADDING,) * 3
    )

    limit = np.array([x1, y1, x2, y2], np.float32)
    moved = _moved(boxes, scale, offset, width if flip else None)
    cut = np.clip(moved, np.tile(limit[:2], 2), np.tile(limit[2:], 2))
    whole = np.prod(moved[:, 2:] - moved[:, :2], axis=1)
    left = np.prod(cut[:, 2:] - cut[:, :2], axis=1)
    seen = left > 0
    good = (
        (left > _MIN_VISIBLE * whole) & (cut[:, 3] - cut[:, 1] >= _MIN_HEIGHT) & (cut[:, 2] - cut[:, 0] >= _MIN_WIDTH)
    )
    regions = np.clip(
        _moved(ignored, scale, offset, width if flip else None), np.tile(limit[:2], 2), np.tile(limit[2:], 2)
    )
    regions = regions[np.prod(regions[:, 2:] - regions[:, :2], axis=1) > 0]
    return cut[good], weights[good], np.concatenate([cut[seen & ~good], regions])


def compose(
    items: list[Labelled], size: tuple[int, int], rng: np.random.Generator, zooms: tuple[float, float]
) -> Sample:
    """One canvas of (height, width) from one labelled image, or a 2x2 mosaic of four around a random cross.

    `zooms` are the smallest and the largest size of an image alone, 1 being the one that just fits.
    """
    height, width = size
    canvas = np.full((height, width, 3), PADDING, np.uint8)
    if len(items) == 1:
        zoom = float(np.exp(rng.uniform(*np.log(zooms))))
        return Sample(canvas, *_paste(canvas, (0, 0, width, height), items[0], zoom, rng))
    cross_x, cross_y = (int(side * rng.uniform(0.3, 0.7)) for side in (width, height))
    rects = [
        (0, 0, cross_x, cross_y),
        (cross_x, 0, width, cross_y),
        (0, cross_y, cross_x, height),
        (cross_x, cross_y, width, height),
    ]
    parts = []
    for item, rect in zip(items, rects, strict=True):
        zoom = float(np.exp(rng.uniform(np.log(0.8), np.log(3.0))))
        parts.append(_paste(canvas, rect, item, zoom, rng))
    boxes, weights, ignored = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Sample(canvas, boxes, weights, ignored)


def augment(sample: Sample, rng: np.random.Generator, strength: float) -> Sample:
    """Change the picture, not the boxes: gain, offset, gamma, hue, saturation; now and then grey, blur, noise, JPEG.

    `strength`, 0..1, is that of the first five.
    """
    image = sample.image
    if rng.random() < 0.7:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        saturation = np.clip(np.arange(256) * (1 + strength * rng.uniform(-0.5, 0.5)), 0, 255).astype(np.uint8)
        hue = ((np.arange(256) + round(strength * rng.integers(-8, 9))) % 180).astype(np.uint8)
        identity = np.arange(256, dtype=np.uint8)
        hsv = cv2.LUT(hsv, np.stack([hue, saturation, identity], axis=1)[None])
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)  # type: ignore[assignment]
    if rng.random() < 0.8:
        level = (np.arange(256) / 255.0) ** rng.uniform(0.7, 1.4) ** strength
        level = (level - 0.5) * (1 + strength * rng.uniform(-0.4, 0.4)) + 0.5 + strength * rng.uniform(-0.2, 0.2)
        image = cv2.LUT(image, np.clip(level * 255, 0, 255).astype(np.uint8))  # type: ignore[assignment]
    if rng.random() < 0.05:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)  # type: ignore[assignment]
    if rng.random() < 0.1:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.5))  # type: ignore[assignment]
    if rng.random() < 0.05:
        noise = rng.normal(0, rng.uniform(2, 8), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.1:
        _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 80))])
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR)  # type: ignore[assignment]
    return Sample(image, sample.boxes, sample.weights, sample.ignored)
