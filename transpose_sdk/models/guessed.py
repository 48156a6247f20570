"""What a foreign checkpoint does not say of its network, guessed from the names and shapes of its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transpose_sdk.errors import CheckpointError, InputError
from transpose_sdk.models.create import VARIANTS
from transpose_sdk.models.encoder import sine_table
from transpose_sdk.models.variant import Variant

# A weight that no family before it in this order has.
_TELLING = {
    "h": "stage2.0.branches.0.0.conv1.weight",
    "l": "lite_hrnet.entry.conv.weight",
    "m16": "features.13.conv.0.weight",
    "m": "features.0.0.weight",
}


def guess_variant(path: Path, tensors: Mapping[str, Tensor]) -> Variant:
    """Tell a network from its names and shapes."""
    d_model = _length(path, tensors, "reduce.weight", 4)
    ffn = _length(path, tensors, "global_encoder.layers.0.linear1.weight", 2)
    keypoints = _length(path, tensors, "final_layer.weight", 4)
    layers = len({name.split(".")[2] for name in tensors if name.startswith("global_encoder.layers.")})
    family = next((family for family, name in _TELLING.items() if name in tensors), "r")
    numbers: dict[str, Any] = {"layers": layers, "d_model": d_model, "ffn": ffn, "keypoints": keypoints}
    if family == "h":
        numbers["stem_width"] = _length(path, tensors, "stage2.0.branches.0.0.conv1.weight", 4)
    elif "deconv_layers.0.weight" in tensors:
        _length(path, tensors, "deconv_layers.0.weight", 4)
        kernels = [value for name, value in tensors.items() if name.startswith("deconv_layers.") and value.dim() == 4]
        numbers["head_channels"] = kernels[-1].shape[1]
    else:
        numbers["upsampling"] = "bilinear"
    named = [variant for variant in VARIANTS.values() if variant.family == family]
    # The named network with the most numbers in common lends its name, heads and the rest.
    nearest = max(named, key=lambda variant: sum(getattr(variant, key) == value for key, value in numbers.items()))
    if numbers.get("head_channels") == d_model:
        numbers["head_channels"] = None
    numbers |= _guess_position(path, tensors, nearest)
    try:
        return Variant.from_dict(nearest.to_dict() | numbers)
    except InputError as error:
        raise CheckpointError(f"{path} does not tell its network ({error}); give the model to fill") from error


def _length(path: Path, tensors: Mapping[str, Tensor], name: str, axes: int) -> int:
    """Length of the first axis of a weight that every network of its kind has."""
    if name not in tensors:
        raise CheckpointError(f"{path} has no {name!r}, so it is no TransPose; give a TransPose checkpoint")
    if tensors[name].dim() != axes:
        shape = list(tensors[name].shape)
        raise CheckpointError(f"{path}: {name} has the shape {shape}, not {axes} axes; give a TransPose checkpoint")
    return tensors[name].shape[0]


def _guess_position(path: Path, tensors: Mapping[str, Tensor], variant: Variant) -> dict[str, Any]:
    """Tell the position embedding and the input size from the position table."""
    if "pos_embedding" not in tensors:
        return {"position": "none"}
    _length(path, tensors, "pos_embedding", 3)
    table = tensors["pos_embedding"]
    grid = guess_grid(table.shape[0])
    if grid is None:
        raise CheckpointError(f"{path} was made for an unusual input size; create the model and give it too")
    position = "sine" if is_sine(table, grid) else "learnable"
    return {"position": position, "input_size": (grid[0] * variant.stride, grid[1] * variant.stride)}


def guess_grid(cells: int) -> tuple[int, int] | None:
    """Attention grid (h, w) of a number of cells: the usual 4:3, else a square."""
    unit = math.isqrt(cells // 12)
    if 12 * unit * unit == cells:
        return 4 * unit, 3 * unit
    side = math.isqrt(cells)
    return (side, side) if side * side == cells else None


def is_sine(table: Tensor, grid: tuple[int, int]) -> bool:
    """Whether a position table is the sine table of a grid."""
    return table.shape[2] % 4 == 0 and torch.allclose(table.float(), sine_table(*grid, table.shape[2]), atol=1e-4)
