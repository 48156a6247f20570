"""Drawn people for a bundle's probe: nobody's photo, yet enough of a person for a trained network to be sure of."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

# Lengths in parts of the body's height.
HEAD, NECK, TRUNK, UPPER_ARM, FOREARM, THIGH, SHIN = 0.07, 0.06, 0.29, 0.17, 0.15, 0.23, 0.23
SHOULDER, HIP = 0.1, 0.07  # half widths
SKINS = ((150, 180, 225), (110, 145, 195), (70, 95, 140), (45, 60, 95))  # BGR
OVERSAMPLING = 4

Point = NDArray[np.float64]


def drawn_people(count: int, input_size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Crops (count, H, W, 3) uint8 BGR, each with one person who stands facing us; the same ones every time.

    Args:
        count: People.
        input_size: (height, width) of a crop.
        seed: Of poses and colours.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_draw_person(rng, input_size) for _ in range(count)])


@dataclass(frozen=True, eq=False)
class _Brush:
    """Draws on a canvas (H, W, 3), in units of a body's height."""

    canvas: NDArray[np.uint8]
    unit: float

    def limb(self, first: Point, second: Point, color: ArrayLike, thickness: float) -> None:
        """A stroke with one edge darker, which makes it round."""
        for offset, shade in ((0.0, 0.75), (0.18, 1.0)):
            shift = (self.unit * thickness * offset, 0.0)
            width = max(int(self.unit * thickness * (1 - offset)), 1)
            paint = _color(np.asarray(color) * shade)
            cv2.line(self.canvas, _pixel(first - shift), _pixel(second - shift), paint, width, cv2.LINE_AA)

    def ellipse(self, center: Point, half_width: float, half_height: float, color: ArrayLike) -> None:
        """A filled ellipse."""
        axes = _pixel(self.unit * np.array((half_width, half_height)))
        cv2.ellipse(self.canvas, _pixel(center), axes, 0, 0, 360, _color(color), -1, cv2.LINE_AA)

    def at(self, origin: Point, x: float, y: float) -> Point:
        """A point beside another one."""
        return origin + self.unit * np.array((x, y))

    def joints(self, start: Point, lengths: tuple[float, float], angles: tuple[float, float]) -> list[Point]:
        """Ends of two bones that hang from a point, the angles counted from straight down."""
        middle = start + self.unit * lengths[0] * np.array((np.sin(angles[0]), np.cos(angles[0])))
        return [start, middle, middle + self.unit * lengths[1] * np.array((np.sin(angles[1]), np.cos(angles[1])))]


def _draw_person(rng: np.random.Generator, input_size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = (OVERSAMPLING * side for side in input_size)
    brush = _Brush(_background(rng, height, width), height * rng.uniform(0.72, 0.8))  # a box's padding stays free
    skin = np.array(SKINS[rng.integers(len(SKINS))]) + rng.integers(-12, 12)
    shirt = rng.integers(20, 235, 3)
    neck = np.array((width * rng.uniform(0.45, 0.55), height * 0.5 - brush.unit * 0.35))
    tilt = rng.normal(0, 0.06)
    hips = brush.at(neck, TRUNK * np.sin(tilt), TRUNK * np.cos(tilt))
    _draw_legs(brush, rng, hips)
    trunk = [brush.at(neck, -SHOULDER, 0.03), brush.at(neck, SHOULDER, 0.03)]
    trunk += [brush.at(hips, 1.3 * HIP, 0.03), brush.at(hips, -1.3 * HIP, 0.03)]
    cv2.fillPoly(brush.canvas, [np.asarray(trunk, np.int32)], _color(shirt), cv2.LINE_AA)
    brush.limb(trunk[0], trunk[1], shirt, 0.075)
    for side in (1, -1):
        raised = rng.uniform(0.1, 0.9) * side
        arm = brush.joints(
            brush.at(neck, SHOULDER * side, 0.03),
            (UPPER_ARM, FOREARM),
            (raised, raised - rng.uniform(-0.2, 1.2) * side),
        )
        brush.limb(arm[0], arm[1], shirt, 0.06)
        brush.limb(arm[1], arm[2], skin, 0.045)
        brush.ellipse(arm[2], 0.027, 0.027, skin)
    _draw_head(brush, rng, neck, skin)
    small = cv2.resize(brush.canvas, (input_size[1], input_size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _draw_legs(brush: _Brush, rng: np.random.Generator, hips: Point) -> None:
    trousers, shoes = rng.integers(20, 235, (2, 3))
    for side in (1, -1):
        spread, bend = rng.uniform(-0.05, 0.3) * side, rng.uniform(-0.15, 0.2) * side
        hip, knee, ankle = brush.joints(brush.at(hips, 0.8 * HIP * side, 0), (THIGH, SHIN), (spread, spread - bend))
        brush.limb(hip, knee, trousers, 0.095)
        brush.limb(knee, ankle, trousers, 0.07)
        brush.limb(ankle, brush.at(ankle, 0.04 * side, 0.025), shoes, 0.05)


def _draw_head(brush: _Brush, rng: np.random.Generator, neck: Point, skin: ArrayLike) -> None:
    dark = 0.6 * np.asarray(skin)
    center = brush.at(neck, 0, -NECK - HEAD)
    brush.limb(brush.at(neck, 0, 0.02), center, dark, 0.055)
    brush.ellipse(brush.at(center, 0, -0.012), 0.78 * HEAD, HEAD, rng.integers(10, 90, 3))  # hair
    for side in (1, -1):
        brush.ellipse(brush.at(center, 0.052 * side, 0.005), 0.012, 0.018, dark)  # ear
    brush.ellipse(brush.at(center, 0, 0.014), 0.68 * HEAD, 0.82 * HEAD, skin)
    for side in (1, -1):
        brush.ellipse(brush.at(center, 0.02 * side, 0), 0.01, 0.006, (30, 30, 30))  # eye
    brush.limb(center, brush.at(center, 0, 0.024), dark, 0.008)  # nose
    brush.ellipse(brush.at(center, 0, 0.042), 0.018, 0.005, (70, 70, 150))  # mouth


def _background(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """A wall that turns darker to one side, over a floor."""
    ramp = np.linspace(-25, 25, width)[None, :, None] * rng.choice((-1, 1))
    wall, floor = rng.integers(110, 215, 3), rng.integers(60, 170, 3)
    rows = np.where(np.arange(height)[:, None, None] < height * rng.uniform(0.65, 0.85), wall, floor)
    return (rows + ramp).clip(0, 255).astype(np.uint8)


def _pixel(point: Point) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _color(values: ArrayLike) -> tuple[float, ...]:
    return tuple(float(value) for value in np.clip(values, 0, 255))
