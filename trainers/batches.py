"""Batches of crops and joints; everything random is a function of the seed and the place in the run.

A batch can be made again from (seed, epoch, number) alone: this is what makes a resumed run equal to one that was never
interrupted, whatever the number of workers.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from transpose_sdk.crops import apply_affine, crop_affines
from transpose_sdk.errors import DataError
from transpose_sdk.skeletons import Skeleton

from .augmentation import random_view
from .image_cache import ImageCache, ImageFolder
from .persons import Persons
from .recipe import Recipe


class Batch(NamedTuple):
    """N persons, cut out.

    Attributes:
        crops: (N, H, W, 3) uint8 BGR.
        joints: (N, K, 2) float32 in px of the heatmap, a quarter of the crop.
        weights: (N, K) float32.
    """

    crops: Tensor
    joints: Tensor
    weights: Tensor


class EpochBatches(Dataset[Batch]):
    """The batches of one epoch, from the first that is still to be done.

    Args:
        persons: Whom to draw from.
        images: Their images.
        skeleton: For mirroring and half bodies.
        recipe: Numbers of the run.
        epoch: Counted from 0.
        first: Batches of this epoch that are done already.

    Raises:
        DataError: The persons do not fill a batch, or `source_weights` fits none of them.
    """

    def __init__(
        self,
        persons: Persons,
        images: ImageCache | ImageFolder,
        skeleton: Skeleton,
        recipe: Recipe,
        epoch: int,
        first: int = 0,
    ) -> None:
        self.persons, self.images, self.skeleton, self.recipe = persons, images, skeleton, recipe
        self.epoch, self.first = epoch, first
        self.order = epoch_order(persons, recipe, epoch)
        if len(self.order) < recipe.batch_size:
            raise DataError(
                f"{len(self.order)} persons an epoch do not fill one batch of {recipe.batch_size}: lower batch_size"
            )

    def __len__(self) -> int:
        return max(len(self.order) // self.recipe.batch_size - self.first, 0)

    def __getitem__(self, index: int) -> Batch:
        """Make batch number `first + index` of the epoch."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        size = self.recipe.batch_size
        start = (self.first + index) * size
        height, width = self.recipe.input_size
        crops = np.empty((size, height, width, 3), np.uint8)
        joints = np.empty((size, len(self.skeleton), 2), np.float32)
        weights = np.empty((size, len(self.skeleton)), np.float32)
        for row, person in enumerate(self.order[start : start + size]):
            rng = np.random.default_rng((self.recipe.seed, self.epoch, start + row))
            joints[row], weights[row] = self._cut(int(person), crops[row], rng)
        return Batch(torch.from_numpy(crops), torch.from_numpy(joints), torch.from_numpy(weights))

    def _cut(
        self, person: int, crop: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Write a random view of a person into `crop`; give its joints in heatmap px and their weights."""
        persons, (height, width) = self.persons, self.recipe.input_size
        joints, weights = persons.joints[person], persons.weights[person]
        view = random_view(persons.boxes[person], joints, weights, self.skeleton, self.recipe, rng)
        placed = (view.center[None], view.scale[None])
        affine = crop_affines(*placed, (height, width), view.rotation)[0]
        cv2.warpAffine(self.images[persons.image_index[person]], affine, (width, height), dst=crop)
        joints = apply_affine(joints, crop_affines(*placed, (height // 4, width // 4), view.rotation)[0])
        if view.mirrored:
            crop[:] = crop[:, ::-1].copy()
            joints[:, 0] = width // 4 - 1 - joints[:, 0]
            joints, weights = joints[self.skeleton.mirrored], weights[self.skeleton.mirrored]
        return joints.astype(np.float32), weights


def epoch_order(persons: Persons, recipe: Recipe, epoch: int) -> NDArray[np.int64]:
    """Indices of the persons of an epoch: shuffled, or drawn with replacement by the weights of sets and sources."""
    rng = np.random.default_rng((recipe.seed, epoch))
    if not recipe.source_weights and (persons.shares == persons.shares[0]).all():
        return rng.permutation(len(persons))
    share = persons.shares.copy()
    if recipe.source_weights:
        share *= [recipe.source_weights.get(source, 0.0) for source in persons.sources]
    if not share.sum() > 0:
        raise DataError(
            f"source_weights names {sorted(recipe.source_weights)} and so gives no person a share: "
            f"the data has the sources {sorted(set(persons.sources.tolist()))}"
        )
    return rng.choice(len(persons), recipe.samples_per_epoch, p=share / share.sum())
