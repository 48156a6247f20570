"""What an attention layer was made of, and the maps that follow from it.

A bundle gives the last layer's queries and keys; the head-averaged map is softmax(Q K^T / sqrt(d_head)). Row i of it is
the dependency area of location i (what the network looked at to decide there), column j is the affected area of
location j (what changes with it): the paper's section 3.3. Only what is asked for is computed, not the whole map.
Other layers than the last need the network itself in PyTorch: `transpose_sdk.models.layer_attention`.

Locations are cells of a grid of (h, w), flattened row by row. Cell coordinates are (x, y) and whole numbers are cell
centres. A cell covers r x r px of the heatmap (r is 2 on a 1/8 grid, 1 on a 1/4 grid), so that heatmap px (x, y) lies
in cell (x // r, y // r) and cell (x, y) has its centre at heatmap px (r * x + (r - 1) / 2, r * y + (r - 1) / 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transpose_sdk.checks.numbers import as_numbers
from transpose_sdk.crops import apply_affine, invert_affines
from transpose_sdk.errors import InputError

HEATMAP_STRIDE = 4  # of the whole family
ARRAYS = ("queries", "keys", "crop_affines")  # of an `Attention`, one row a person
COLUMN_BLOCK = 512  # rows of the map in memory at a time; 3072 x 3072 of them at once would be 38 MB a head


@dataclass(frozen=True, eq=False)
class Attention:
    """The last attention layer of N people, and where its cells lie in the image.

    Attributes:
        queries: Shape (N, heads, L, d_head), float32.
        keys: Of the same shape.
        crop_affines: Shape (N, 2, 3), float32, px of the network's input to image px.
        grid: (height, width) of the grid of cells; L is their number.
        input_size: (height, width) of the network's input in px.
    """

    queries: NDArray[np.float32]
    keys: NDArray[np.float32]
    crop_affines: NDArray[np.float32]
    grid: tuple[int, int]
    input_size: tuple[int, int]

    def __post_init__(self) -> None:
        for name in ARRAYS:
            object.__setattr__(self, name, as_numbers(getattr(self, name), np.float32, f"Attention.{name}"))
        shape = self.queries.shape
        if self.keys.shape != shape or len(shape) != 4 or shape[2] != self.grid[0] * self.grid[1]:
            raise InputError(
                f"queries of {shape} and keys of {self.keys.shape}: give both as (N, heads, L, d_head) with the "
                f"L = {self.grid[0] * self.grid[1]} cells of the attention grid {self.grid}"
            )
        if self.crop_affines.shape != (shape[0], 2, 3):
            raise InputError(f"crop_affines of {self.crop_affines.shape}: give ({shape[0]}, 2, 3), one a person")

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, index: Any) -> Attention:
        """The attention of the people chosen by a mask, a slice or an index array."""
        return Attention(self.queries[index], self.keys[index], self.crop_affines[index], self.grid, self.input_size)

    @classmethod
    def concatenate(cls, parts: Sequence[Attention]) -> Attention:
        """The attention of the people of several, one at least, in the order given.

        Raises:
            InputError: They come from networks of several forms.
        """
        forms = {(part.grid, part.input_size, part.queries.shape[1:]) for part in parts}
        if len(forms) > 1:
            raise InputError("cannot concatenate attention of several grids or input sizes: give that of one network")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
        return cls(**arrays, grid=parts[0].grid, input_size=parts[0].input_size)

    def cell_transform(self, person: int) -> NDArray[np.float64]:
        """The way from cell coordinates to image px, shape (2, 3); see `cell_transform`."""
        return cell_transform(self.crop_affines[person], self.grid, self.input_size)


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


def cell_transform(
    crop_affine: NDArray[np.floating], grid: tuple[int, int], input_size: tuple[int, int]
) -> NDArray[np.float64]:
    """The way from cell coordinates of a grid over a crop to image px, shape (2, 3).

    Args:
        crop_affine: Shape (2, 3), px of the network's input to image px.
        grid: (height, width) of the grid: that of the attention, or of the heatmap.
        input_size: (height, width) of the network's input.
    """
    size, cells = np.array(input_size[::-1]), np.array(grid[::-1])
    heatmap = size // HEATMAP_STRIDE
    ratio, step = heatmap // cells, (size - 1) / (heatmap - 1)
    crop_to_image = crop_affine.astype(np.float64)
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
