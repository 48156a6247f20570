"""Where a keypoint was inferred from: dependency and affected areas of an attention layer.

A bundle gives the last layer's queries and keys; the head-averaged map is softmax(Q K^T / sqrt(d_head)). Row i of it is
the dependency area of location i (what the network looked at to decide there), column j is the affected area of
location j (what changes with it): the paper's section 3.3. Only what is asked for is computed, not the whole map.
Other layers than the last need the network itself in PyTorch: `transpose_sdk.layers`.

Locations are cells of a grid of (h, w), flattened row by row. Cell coordinates are (x, y) and whole numbers are cell
centres. A cell covers r x r px of the heatmap (r is 2 on a 1/8 grid, 1 on a 1/4 grid), so that heatmap px (x, y) lies
in cell (x // r, y // r) and cell (x, y) has its centre at heatmap px (r * x + (r - 1) / 2, r * y + (r - 1) / 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transpose_sdk.crops import apply_affine, invert_affines
from transpose_sdk.errors import InputError
from transpose_sdk.poses import Poses

HEATMAP_STRIDE = 4  # of the whole family
COLUMN_BLOCK = 512  # rows of the map in memory at a time; 3072 x 3072 of them at once would be 38 MB a head


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


def dependency_rows(queries: NDArray[np.float32], keys: NDArray[np.float32], indices: ArrayLike) -> NDArray[np.float32]:
    """Rows of the head-averaged attention map of one person.

    Args:
        queries: Shape (heads, L, d_head).
        keys: Shape (heads, L, d_head).
        indices: Shape (n,), flat locations, 0..L - 1.

    Returns:
        Shape (n, L), float32; every row sums to 1.

    Raises:
        InputError: Queries and keys don't match, or an index lies outside 0..L - 1.
    """
    picked = _check(queries, keys, indices)
    logits = _scaled(queries[:, picked]) @ keys.transpose(0, 2, 1)
    logits -= logits.max(-1, keepdims=True)
    weights = np.exp(logits, out=logits)
    # The division by the normaliser and the mean over heads as one product of (n, heads) with (n, heads, L).
    share = 1 / (len(queries) * weights.sum(-1))
    return np.einsum("hn,hnl->nl", share, weights)


def affected_columns(
    queries: NDArray[np.float32], keys: NDArray[np.float32], indices: ArrayLike
) -> NDArray[np.float32]:
    """Columns of the head-averaged attention map of one person.

    A column needs the normaliser of every row, so this costs as much as the whole map (some ms): on demand only.

    Args:
        queries: Shape (heads, L, d_head).
        keys: Shape (heads, L, d_head).
        indices: Shape (n,), flat locations, 0..L - 1.

    Returns:
        Shape (n, L), float32: entry i of a column is the attention that location i pays to it.

    Raises:
        InputError: Queries and keys don't match, or an index lies outside 0..L - 1.
    """
    picked = _check(queries, keys, indices)
    heads, length, _ = queries.shape
    columns = np.zeros((len(picked), length), np.float32)
    for head in range(heads):
        query, key = _scaled(queries[head]), keys[head].T
        for start in range(0, length, COLUMN_BLOCK):
            rows = slice(start, start + COLUMN_BLOCK)
            logits = query[rows] @ key
            logits -= logits.max(-1, keepdims=True)
            weights = np.exp(logits, out=logits)
            columns[:, rows] += (weights[:, picked] / (heads * weights.sum(-1, keepdims=True))).T
    return columns


def dependency_area(
    poses: Poses, person: int, keypoint: str | int, grid: tuple[int, int], input_size: tuple[int, int]
) -> DependencyArea:
    """Where a keypoint of a person was inferred from.

    Args:
        poses: Poses with queries, keys and crop_affines.
        person: Index of the person.
        keypoint: Name or index of the keypoint.
        grid: (height, width) of the attention grid.
        input_size: (height, width) of the network's input.

    Raises:
        InputError: No such person or keypoint, the bundle gave no queries and keys, or the grid doesn't fit them.
    """
    return attention_areas(poses, person, [keypoint], grid, input_size, "dependency")[0]


def affected_area(
    poses: Poses, person: int, keypoint: str | int, grid: tuple[int, int], input_size: tuple[int, int]
) -> DependencyArea:
    """What the location of a keypoint had an effect on; arguments and errors as of `dependency_area`."""
    return attention_areas(poses, person, [keypoint], grid, input_size, "affected")[0]


def attention_areas(
    poses: Poses,
    person: int,
    keypoints: Sequence[str | int],
    grid: tuple[int, int],
    input_size: tuple[int, int],
    mode: str = "dependency",
) -> list[DependencyArea]:
    """The areas of several keypoints at once; affected areas then cost no more than that of one.

    Args:
        poses: Poses with queries, keys and crop_affines.
        person: Index of the person.
        keypoints: Names or indices of the keypoints.
        grid: (height, width) of the attention grid.
        input_size: (height, width) of the network's input.
        mode: "dependency" (what the keypoint looked at) or "affected" (what looked at the keypoint).

    Raises:
        InputError: As of `dependency_area`, or no such mode.
    """
    if mode not in MODES:
        raise InputError(f"no attention mode {mode!r}: use one of {', '.join(MODES)}")
    joints = [poses.skeleton.index(keypoint) for keypoint in keypoints]
    transform, (queries, keys) = cell_transform(poses, person, grid, input_size), _attention(poses, person, grid)
    cells = joint_cells(poses.keypoints[person, joints], transform, grid, input_size)
    values = MODES[mode](queries, keys, cells[:, 1] * grid[1] + cells[:, 0])
    return [
        DependencyArea(row.reshape(grid), transform, poses.skeleton.names[joint], (x, y))
        for row, joint, (x, y) in zip(values, joints, cells.tolist(), strict=True)
    ]


def cell_transform(
    poses: Poses, person: int, grid: tuple[int, int], input_size: tuple[int, int]
) -> NDArray[np.float64]:
    """The way from cell coordinates to image px, shape (2, 3); arguments and errors as of `dependency_area`."""
    if not 0 <= person < len(poses):
        raise InputError(f"no person {person}: the poses hold {len(poses)}, counted from 0")
    if poses.crop_affines is None:
        raise InputError("these poses carry no crop_affines: use poses as a PoseEstimator gives them")
    size, cells = np.array(input_size[::-1]), np.array(grid[::-1])
    heatmap = size // HEATMAP_STRIDE
    ratio, step = heatmap // cells, (size - 1) / (heatmap - 1)
    crop_to_image = poses.crop_affines[person].astype(np.float64)
    linear = crop_to_image[:, :2] * (step * ratio)
    return np.concatenate((linear, apply_affine(step * (ratio - 1) / 2, crop_to_image)[:, None]), axis=1)


def joint_cells(
    points: NDArray[np.floating], transform: NDArray[np.float64], grid: tuple[int, int], input_size: tuple[int, int]
) -> NDArray[np.intp]:
    """Cells of points: each one's nearest heatmap px, divided; clipped to the grid.

    Args:
        points: Shape (n, 2), in image px.
        transform: Shape (2, 3), cell coordinates to image px.
        grid: (height, width) of the attention grid.
        input_size: (height, width) of the network's input.

    Returns:
        Shape (n, 2), x and y.
    """
    cells = np.array(grid[::-1])
    ratio = np.array(input_size[::-1]) // HEATMAP_STRIDE // cells
    pixels = np.rint(ratio * np.nan_to_num(apply_affine(points, invert_affines(transform))) + (ratio - 1) / 2)
    return np.clip(pixels // ratio, 0, cells - 1).astype(np.intp)


Attend = Callable[[NDArray[np.float32], NDArray[np.float32], ArrayLike], NDArray[np.float32]]
MODES: dict[str, Attend] = {"dependency": dependency_rows, "affected": affected_columns}


def _attention(poses: Poses, person: int, grid: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A person's queries and keys, each (heads, L, d_head)."""
    if poses.queries is None or poses.keys is None:
        raise InputError("these poses carry no attention (queries and keys): use a bundle with attention outputs")
    if grid[0] * grid[1] != poses.queries.shape[2]:
        raise InputError(
            f"an attention grid of {grid} has {grid[0] * grid[1]} cells, but the queries have "
            f"{poses.queries.shape[2]}: give the grid of the network that made the poses"
        )
    return poses.queries[person], poses.keys[person]


def _scaled(queries: NDArray[np.float32]) -> NDArray[np.float32]:
    return queries * np.float32(1 / np.sqrt(queries.shape[-1]))


def _check(queries: NDArray[np.float32], keys: NDArray[np.float32], indices: ArrayLike) -> NDArray[np.intp]:
    if queries.ndim != 3 or queries.shape != keys.shape:
        raise InputError(f"queries of {queries.shape} and keys of {keys.shape}: give both as (heads, L, d_head)")
    picked = np.atleast_1d(np.asarray(indices, np.intp))
    if picked.size and not 0 <= picked.min() <= picked.max() < queries.shape[1]:
        raise InputError(
            f"locations {picked.tolist()} are not all within 0..{queries.shape[1] - 1} of the attention grid"
        )
    return picked
