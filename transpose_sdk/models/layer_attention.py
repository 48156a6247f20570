"""The attention of every layer, not of the last alone, through the network in PyTorch: the paper's figure 7."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transpose_sdk.backend import Outputs
from transpose_sdk.models.preprocessing import Preprocessing
from transpose_sdk.models.transpose import TransPose
from transpose_sdk.poses import Poses
from transpose_sdk.scores import DEFAULT_MAPS, ScoreMaps
from transpose_sdk.skeletons import Skeleton
from transpose_sdk.topdown import place


def layer_poses(
    model: TransPose,
    image: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    box_scores: NDArray[np.float32],
    skeleton: Skeleton,
    maps: ScoreMaps = DEFAULT_MAPS,
) -> list[Poses]:
    """The poses of a network in PyTorch, once for each layer with its queries and keys: the paper's figure 7.

    Args:
        model: The network, in eval mode, on the CPU.
        image: (H, W, 3) uint8 BGR.
        boxes: (N, 4) x, y, width, height in image px, each with an area; N at least 1.
        box_scores: (N,).
        skeleton: What its keypoints are.
        maps: From scores to probabilities.

    Returns:
        One `Poses` a layer, first layer first, which differ in nothing but the queries and keys.
    """
    layers: list[tuple[Tensor, Tensor]] = []

    def keep(_: nn.Module, __: Any, output: tuple[Tensor, list[tuple[Tensor, Tensor]]]) -> None:
        layers.extend(output[1])

    people = place(boxes, box_scores, model.input_size)
    hook = model.global_encoder.register_forward_hook(keep)
    try:
        with torch.inference_mode():
            heatmaps = model(Preprocessing()(torch.from_numpy(people.cut(image)))).numpy()
    finally:
        hook.remove()
    return [
        people.poses(Outputs(heatmaps, queries.numpy(), keys.numpy()), skeleton, model.grid, maps)
        for queries, keys in layers
    ]
