"""What a run starts from, and how fast each part of the network learns from there."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from transpose_sdk.convert.tiny_pose import read_lite_hrnet
from transpose_sdk.errors import DataError, TransposeError
from transpose_sdk.models import TransPose, load_checkpoint, load_stem
from transpose_sdk.models.create import build_model
from transpose_sdk.models.transpose import TransPoseL

from .recipe import Recipe

logger = logging.getLogger(__name__)

FINAL = "final_layer."


def initialise(model: TransPose, path: Path, new_final: bool = False) -> None:
    """Load weights to start from.

    Args:
        model: Network to fill.
        path: Checkpoint of the same network, or weights of its stem.
        new_final: Leave out the checkpoint's final layer, whose keypoints may be others, and draw a uniform one (paper,
            transfer to MPII). A position table of another input size is rebuilt or interpolated as always.

    Raises:
        CheckpointError: The file does not fit; with `new_final` a stem alone does not either.
    """
    if path.suffix == ".xml" and isinstance(model, TransPoseL):
        stem, report = read_lite_hrnet(path)
        model.lite_hrnet.load_state_dict(stem.state_dict())
        logger.info("%s", report)
        return
    if new_final:
        donor = build_model(replace(model.variant, keypoints=load_checkpoint(path).keypoints))
        load_checkpoint(path, donor)
        state = {name: value for name, value in donor.state_dict().items() if not name.startswith(FINAL)}
        model.load_state_dict(state, strict=False)
        model.final_layer.reset_parameters()  # PyTorch's own start of a convolution is uniform, ours is normal
        return
    try:
        load_checkpoint(path, model)
    except TransposeError:
        load_stem(model, path)


def freeze(model: nn.Module, recipe: Recipe) -> None:
    """Keep what the recipe calls frozen from learning.

    Raises:
        DataError: `frozen` or `slower` names no part of the network.
    """
    parameters = dict(model.named_parameters())
    for what, prefixes in (("frozen", recipe.frozen), ("slower", recipe.slower)):
        for prefix in prefixes:
            if not any(name.startswith(prefix) for name in parameters):
                first = next(iter(parameters))
                raise DataError(f"{what}: no part of {recipe.model} is called {prefix!r}; its first is {first!r}")
    for name, parameter in parameters.items():
        if name.startswith(recipe.frozen):
            parameter.requires_grad_(False)


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The optimizer's groups: weight decay for matrices and kernels alone, a learning rate for the final layer.

    Args:
        model: Of which what is not frozen is trained.
        recipe: Numbers of the run.

    Returns:
        Groups with their first `lr` and with `lr_scale`, by which it differs from the recipe's `lr` all along.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = recipe.lr_final / recipe.lr if recipe.lr_final and name.startswith(FINAL) else 1.0
        for prefix, factor in recipe.slower.items():
            if name.startswith(prefix):
                scale = factor
        decay = recipe.weight_decay if recipe.optimizer == "adamw" and parameter.dim() > 1 else 0.0
        groups.setdefault((scale, decay), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr": recipe.lr * scale, "lr_scale": scale}
        for (scale, decay), parameters in sorted(groups.items(), key=lambda item: (item[0][0], -item[0][1]))
    ]
