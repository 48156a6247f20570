"""Where a keypoint was inferred from: dependency and affected areas of the last attention layer.

A bundle gives the last layer's queries and keys; the head-averaged map is softmax(Q K^T / sqrt(d_head)). Row i of it is
the dependency area of location i (what the network looked at to decide there), column j is the affected area of
location j (what changes with it): the paper's section 3.3. Only what is asked for is computed, not the whole map.

Locations are cells of a grid of (h, w), flattened row by row. Cell coordinates are (x, y) and whole numbers are cell
centres. A cell covers r x r px of the heatmap (r is 2 on a 1/8 grid, 1 on a 1/4 grid), so that heatmap px (x, y) lies
in cell (x // r, y // r) and cell (x, y) has its centre at heatmap px (r * x + (r - 1) / 2, r * y + (r - 1) / 2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transpose_sdk.crops import apply_affine, invert_affines
from transpose_sdk.errors import InputError
from transpose_sdk.poses import Poses

HEATMAP_STRIDE = 4  # of the whole family
COLUMN_BLOCK = 512  # rows of the map in memory at a time; 3072 x 3072 of them at once would be 38 MB a head


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
    return _area(dependency_rows, poses, person, keypoint, grid=grid, input_size=input_size)


def affected_area(
    poses: Poses, person: int, keypoint: str | int, grid: tuple[int, int], input_size: tuple[int, int]
) -> DependencyArea:
    """What the location of a keypoint had an effect on; arguments and errors as of `dependency_area`."""
    return _area(affected_columns, poses, person, keypoint, grid=grid, input_size=input_size)


def _area(
    attend: Callable[[NDArray[np.float32], NDArray[np.float32], ArrayLike], NDArray[np.float32]],
    poses: Poses,
    person: int,
    keypoint: str | int,
    *,
    grid: tuple[int, int],
    input_size: tuple[int, int],
) -> DependencyArea:
    joint = poses.skeleton.index(keypoint)
    if not 0 <= person < len(poses):
        raise InputError(f"no person {person}: the poses hold {len(poses)}, counted from 0")
    if poses.queries is None or poses.keys is None or poses.crop_affines is None:
        raise InputError(
            "these poses carry no attention (queries, keys and crop_affines): use a bundle with attention outputs"
        )
    if grid[0] * grid[1] != poses.queries.shape[2]:
        raise InputError(
            f"an attention grid of {grid} has {grid[0] * grid[1]} cells, but the queries have "
            f"{poses.queries.shape[2]}: give the grid of the network that made the poses"
        )
    cells_to_crop = _cells_to_crop(grid, input_size)
    crop_to_image = poses.crop_affines[person].astype(np.float64)
    x, y = _cell(apply_affine(poses.keypoints[person, joint], invert_affines(crop_to_image)), grid, input_size)
    transform = np.concatenate(
        (crop_to_image[:, :2] * cells_to_crop[0], apply_affine(cells_to_crop[1], crop_to_image)[:, None]), axis=1
    )
    values = attend(poses.queries[person], poses.keys[person], [y * grid[1] + x])
    return DependencyArea(values.reshape(grid), transform, poses.skeleton.names[joint], (x, y))


def _cell(point: NDArray[np.float64], grid: tuple[int, int], input_size: tuple[int, int]) -> tuple[int, int]:
    """Cell (x, y) of a point of the network's input: its nearest heatmap px, divided; clipped to the grid."""
    cells = np.array(grid[::-1])
    size = np.array(input_size[::-1])
    heatmap = size // HEATMAP_STRIDE
    pixel = np.rint(np.nan_to_num(point) * (heatmap - 1) / (size - 1))
    x, y = np.clip(pixel // (heatmap // cells), 0, cells - 1).astype(int).tolist()
    return x, y


def _cells_to_crop(
    grid: tuple[int, int], input_size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale (2,) and offset (2,), x and y, from cell coordinates to px of the network's input."""
    size = np.array(input_size[::-1])
    heatmap = size // HEATMAP_STRIDE
    ratio = heatmap // np.array(grid[::-1])
    step = (size - 1) / (heatmap - 1)
    return step * ratio, step * (ratio - 1) / 2


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
