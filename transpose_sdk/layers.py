"""The attention of every layer, not of the last alone, through the network in PyTorch: the paper's figure 7."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.crops import boxes_to_centers_scales, crop_affines, heatmap_to_image, invert_affines, warp_crops
from transpose_sdk.decoding import decode_dark
from transpose_sdk.poses import Poses, person_scores
from transpose_sdk.skeletons import Skeleton

if TYPE_CHECKING:
    from transpose_sdk.models import TransPose


def layer_poses(
    model: TransPose,
    image: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    box_scores: NDArray[np.float32],
    skeleton: Skeleton,
) -> list[Poses]:
    """The poses of a network in PyTorch, once for each layer with its queries and keys: the paper's figure 7.

    Args:
        model: The network, in eval mode, on the CPU.
        image: (H, W, 3) uint8 BGR.
        boxes: (N, 4) x, y, width, height in image px, each with an area; N at least 1.
        box_scores: (N,).
        skeleton: What its keypoints are.

    Returns:
        One `Poses` a layer, first layer first, which differ in nothing but the queries and keys.
    """
    import torch

    from transpose_sdk.models.preprocessing import Preprocessing

    layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(_: torch.nn.Module, __: Any, output: tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]) -> None:
        layers.extend(output[1])

    centers, scales = boxes_to_centers_scales(boxes, model.input_size)
    affines = crop_affines(centers, scales, model.input_size)
    hook = model.global_encoder.register_forward_hook(keep)
    try:
        with torch.inference_mode():
            crops = torch.from_numpy(warp_crops(image, affines, model.input_size))
            heatmaps = model(Preprocessing()(crops)).numpy()
    finally:
        hook.remove()
    coords, scores = decode_dark(heatmaps)
    poses = Poses(
        keypoints=heatmap_to_image(coords, centers, scales, heatmaps.shape[2:]),
        scores=scores,
        boxes=boxes,
        person_scores=person_scores(scores, box_scores),
        skeleton=skeleton,
        crop_affines=invert_affines(affines).astype(np.float32),
    )
    return [replace(poses, queries=queries.numpy(), keys=keys.numpy()) for queries, keys in layers]
