"""What a run looks like: crops with their joints, their targets, and what the network makes of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transpose_sdk.crops import apply_affine, crop_affines, warp_crops
from transpose_sdk.decoding import decode_dark
from transpose_sdk.drawing.annotator import PoseAnnotator
from transpose_sdk.media.coco import stated_sizes
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import Skeleton

from .data.augmentation import plain_view
from .data.batches import Batch
from .data.image_cache import decode_image
from .data.warp import Regions
from .evaluation.benchmark import Benchmark
from .run import Run, averaged_weights
from .step import prepare

PERSONS = 6  # columns of a picture
HEIGHT = 112  # px of a crop in a picture of 0.4 MB; a run may have 230 epochs
MIN_SCORE = 0.1  # a young network is unsure of everything


def validation_batch(benchmark: Benchmark, folder: Path, input_size: tuple[int, int]) -> Batch:
    """Some people of the validation set, from all over it, as they are evaluated.

    Args:
        benchmark: The people.
        folder: Their images.
        input_size: (height, width) of a crop.
    """
    height, width = input_size
    everyone = [(key, item) for key, items in benchmark.people.items() for item in items]
    count = min(PERSONS, len(everyone))
    chosen = [everyone[number * len(everyone) // count] for number in range(count)]
    sizes = stated_sizes(benchmark.content)
    crops, joints, weights = [], [], []
    for key, item in chosen:
        view = plain_view(np.array(item["bbox"], np.float32), input_size)
        affines, smaller = (
            crop_affines(view.center[None], view.scale[None], size) for size in (input_size, (height // 4, width // 4))
        )
        rows = np.array(item["keypoints"], np.float32).reshape(-1, 3)
        name = benchmark.file_names[key]
        image = decode_image(folder / name, sizes.get(name))
        # The evaluation tells of images that cannot be read; here they are black.
        crops.append(warp_crops(image if image.size else np.zeros((1, 1, 3), np.uint8), affines, input_size)[0])
        joints.append(apply_affine(rows[:, :2], smaller[0]).astype(np.float32))
        weights.append((rows[:, 2] > 0).astype(np.float32))
    return Batch(*(torch.from_numpy(np.stack(part)) for part in (crops, joints, weights)))


def batch_picture(run: Run, batch: Batch, skeleton: Skeleton, augmented: bool) -> NDArray[np.uint8]:
    """A batch and the averaged weights' answer to it.

    Args:
        run: The run.
        batch: N persons, of which the first few are shown.
        skeleton: Of the network.
        augmented: Whether colours are changed as in training.

    Returns:
        (H, W, 3) uint8 BGR, a person a column. From above: the crop with the joints it is labelled with, the targets,
        the network's heatmaps, and the joints found in them.
    """
    with averaged_weights(run), torch.inference_mode():
        run.model.eval()
        shown = _first(batch)
        inputs = prepare(shown, run, (len(shown.joints), slice(None)) if augmented else None)
        with run.autocast():
            heatmaps = run.model(inputs.images).float()
    pixels = inputs.images * run.preprocessing.std + run.preprocessing.mean
    crops = pixels.flip(1).clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()
    labelled = _joints(inputs.targets * (inputs.weights > 0)[..., None, None])
    rows = (
        _drawn(crops, *labelled, skeleton),
        [_heated(crop, maps) for crop, maps in zip(crops, inputs.targets.cpu().numpy(), strict=True)],
        [_heated(crop, maps) for crop, maps in zip(crops, heatmaps.cpu().numpy(), strict=True)],
        _drawn(crops, *_joints(heatmaps), skeleton),
    )
    return np.vstack([np.hstack(row) for row in rows])


def _first(batch: Batch) -> Batch:
    crops, joints, weights = batch
    if isinstance(crops, Regions):
        crops = Regions(crops.pixels, crops.sizes[:PERSONS], crops.affines[:PERSONS])
    else:
        crops = crops[:PERSONS]
    return Batch(crops, joints[:PERSONS], weights[:PERSONS])


def _joints(heatmaps: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Places (N, K, 2) in px of the heatmaps, and scores (N, K)."""
    return decode_dark(np.ascontiguousarray(heatmaps.cpu().numpy()))


def _enlarged(crop: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    factor = HEIGHT / crop.shape[0]
    return np.asarray(cv2.resize(crop, (round(crop.shape[1] * factor), HEIGHT)), np.uint8), factor


def _drawn(
    crops: NDArray[np.uint8], joints: NDArray[np.float32], scores: NDArray[np.float32], skeleton: Skeleton
) -> list[NDArray[np.uint8]]:
    annotator = PoseAnnotator(boxes=False, labels=False, min_score=MIN_SCORE)
    scenes = []
    for row, crop in enumerate(crops):
        scene, factor = _enlarged(crop)
        poses = Poses(
            keypoints=(joints[row : row + 1] * 4 * factor).astype(np.float32),
            scores=scores[row : row + 1],
            boxes=np.array([[0, 0, scene.shape[1], scene.shape[0]]], np.float32),
            person_scores=np.ones(1, np.float32),
            skeleton=skeleton,
        )
        scenes.append(annotator.annotate(scene, poses))
    return scenes


def _heated(crop: NDArray[np.uint8], heatmaps: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A grey crop with the highest of its heatmaps (K, h, w) in colour."""
    scene, _ = _enlarged(crop)
    grey = cv2.cvtColor(cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    highest = cv2.resize(heatmaps.max(0), (scene.shape[1], scene.shape[0])).clip(0, 1)
    colours = cv2.applyColorMap((255 * highest).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return cv2.addWeighted(grey, 0.4, colours, 0.8, 0).astype(np.uint8)
