"""Where a joint was inferred from: dependency and affected areas, laid over the image (the paper's section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transpose_sdk.attention import Attention, affected_columns, dependency_rows, joint_cells
from transpose_sdk.checks.numbers import is_whole
from transpose_sdk.errors import InputError
from transpose_sdk.poses import Poses

AttentionMode = Literal["dependency", "affected"]
Attend = Callable[[NDArray[np.float32], NDArray[np.float32], ArrayLike], NDArray[np.float32]]
MODES: dict[str, Attend] = {"dependency": dependency_rows, "affected": affected_columns}


class Threshold(NamedTuple):
    """The smallest attention that counts.

    Attributes:
        value: Published: 0.01 for TP-R-A4 and 0.00075 for TP-H-A4.
        relative: `value` is in multiples of uniform attention, 1 / (h * w), which compares across grids.
    """

    value: float
    relative: bool = False

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """Read "0.01" as absolute and "2x" as twice uniform attention.

        Raises:
            InputError: It is neither.
        """
        relative = text.endswith("x")
        try:
            value = float(text[:-1] if relative else text)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise InputError(f"no threshold {text!r}: give attention such as 0.01, or 2x for twice uniform attention")
        return cls(value, relative)

    def __str__(self) -> str:
        return f"{self.value:g}x uniform" if self.relative else f"{self.value:g}"


@dataclass(frozen=True, eq=False)
class DependencyArea:
    """The attention of one location of one person, as a small grid that can be laid over the image.

    Attributes:
        grid: Shape (h, w), float32, 0..1: attention that the location pays (dependency area, sums to 1) or gets
            (affected area).
        transform: Shape (2, 3), float64, cell coordinates to image px; whole cell coordinates are cell centres.
        keypoint: Name of the keypoint.
        location: Cell (x, y) where the keypoint sits.
    """

    grid: NDArray[np.float32]
    transform: NDArray[np.float64]
    keypoint: str
    location: tuple[int, int]

    def threshold(self, value: float, relative: bool = False) -> NDArray[np.bool_]:
        """The cells that count, shape (h, w): the thresholded set of the paper's equation 4.

        Args:
            value: Smallest attention that counts. Published: 0.01 for TP-R-A4 and 0.00075 for TP-H-A4.
            relative: `value` is in multiples of uniform attention, 1 / (h * w), which compares across grids.
        """
        return self.grid >= (value / self.grid.size if relative else value)


def dependency_area(poses: Poses, person: int, keypoint: str | int) -> DependencyArea:
    """Where a keypoint of a person was inferred from.

    Args:
        poses: Poses that carry attention.
        person: Index of the person.
        keypoint: Name or index of the keypoint.

    Raises:
        InputError: No such person or keypoint, or the poses carry no attention.
    """
    return attention_areas(poses, person, [keypoint], "dependency")[0]


def affected_area(poses: Poses, person: int, keypoint: str | int) -> DependencyArea:
    """What the location of a keypoint had an effect on; arguments and errors as of `dependency_area`."""
    return attention_areas(poses, person, [keypoint], "affected")[0]


def attention_areas(
    poses: Poses, person: int, keypoints: Sequence[str | int], mode: AttentionMode = "dependency"
) -> list[DependencyArea]:
    """The areas of several keypoints at once; affected areas then cost no more than that of one.

    Args:
        poses: Poses that carry attention.
        person: Index of the person.
        keypoints: Names or indices of the keypoints.
        mode: "dependency" (what the keypoint looked at) or "affected" (what looked at the keypoint).

    Raises:
        InputError: As of `dependency_area`, or no such mode.
    """
    if mode not in MODES:
        raise InputError(f"no attention mode {mode!r}: use one of {', '.join(MODES)}")
    attention = attention_of(poses)
    check_person(poses, person)
    joints = [poses.skeleton.index(keypoint) for keypoint in keypoints]
    transform, grid = attention.cell_transform(person), attention.grid
    cells = joint_cells(poses.keypoints[person, joints], transform, grid, attention.input_size)
    values = MODES[mode](attention.queries[person], attention.keys[person], cells[:, 1] * grid[1] + cells[:, 0])
    return [
        DependencyArea(row.reshape(grid), transform, poses.skeleton.names[joint], (x, y))
        for row, joint, (x, y) in zip(values, joints, cells.tolist(), strict=True)
    ]


def attention_of(poses: Poses) -> Attention:
    """The attention that poses carry.

    Raises:
        InputError: They carry none.
    """
    if poses.attention is None:
        raise InputError(
            "these poses carry no attention (queries and keys): open the PoseEstimator with attention=True, on a "
            "bundle with attention outputs"
        )
    return poses.attention


def check_person(poses: Poses, person: int) -> None:
    """Raise InputError where the poses hold no such person."""
    if not is_whole(person) or not 0 <= person < len(poses):
        raise InputError(f"no person {person!r}: the poses hold {len(poses)}, counted from 0")
