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

from ..recipe import Recipe
from .augmentation import random_view
from .image_cache import ImageCache, ImageFolder
from .persons import Persons
from .warp import Regions, cut_region


class Batch(NamedTuple):
    """N persons, cut out.

    Attributes:
        crops: (N, H, W, 3) uint8 BGR, or the regions that the device makes them of.
        joints: (N, K, 2) float32 in px of the heatmap, a quarter of the crop.
        weights: (N, K) float32.
    """

    crops: Tensor | Regions
    joints: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        crops = self.crops
        if isinstance(crops, Regions):
            moved: Tensor | Regions = Regions(*(part.to(device, non_blocking=True) for part in crops))
        else:
            moved = crops.to(device, non_blocking=True)
        joints, weights = (part.to(device, non_blocking=True) for part in (self.joints, self.weights))
        return Batch(moved, joints, weights)


class _Placed(NamedTuple):
    """A person in an epoch: the image, its transform to the crop before the mirror, and what the crop shows."""

    image: int
    affine: NDArray[np.float64]
    mirrored: bool
    joints: NDArray[np.float32]
    weights: NDArray[np.float32]


class EpochBatches(Dataset[Batch]):
    """The batches of one epoch, from the first that is still to be done.

    Args:
        persons: Whom to draw from.
        images: Their images.
        skeleton: For mirroring and half bodies.
        recipe: Numbers of the run.
        epoch: Counted from 0.
        first: Batches of this epoch that are done already.
        rows: Which rows of a batch to make; by default all.

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
        rows: slice = slice(None),
    ) -> None:
        self.persons, self.images, self.skeleton, self.recipe = persons, images, skeleton, recipe
        self.epoch, self.first = epoch, first
        self.rows = range(recipe.batch_size)[rows]
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
        start = (self.first + index) * self.recipe.batch_size
        places = [start + row for row in self.rows]
        views = [self._view(place) for place in places]
        joints = torch.from_numpy(np.stack([view.joints for view in views]))
        weights = torch.from_numpy(np.stack([view.weights for view in views]))
        make = self._regions if self.recipe.device_augmentation else self._crops
        return Batch(make(views), joints, weights)

    def _view(self, place: int) -> _Placed:
        """The random view of the person at a place of the epoch."""
        person, rng = int(self.order[place]), np.random.default_rng((self.recipe.seed, self.epoch, place))
        persons, (height, width) = self.persons, self.recipe.input_size
        joints, weights = persons.joints[person], persons.weights[person]
        view = random_view(persons.boxes[person], joints, weights, self.skeleton, self.recipe, rng)
        placed = (view.center[None], view.scale[None])
        affine = crop_affines(*placed, (height, width), view.rotation)[0]
        joints = apply_affine(joints, crop_affines(*placed, (height // 4, width // 4), view.rotation)[0])
        if view.mirrored:
            joints[:, 0] = width // 4 - 1 - joints[:, 0]
            joints, weights = joints[self.skeleton.mirrored], weights[self.skeleton.mirrored]
        return _Placed(int(persons.image_index[person]), affine, view.mirrored, joints.astype(np.float32), weights)

    def _crops(self, views: list[_Placed]) -> Tensor:
        height, width = self.recipe.input_size
        crops = np.empty((len(views), height, width, 3), np.uint8)
        for crop, view in zip(crops, views, strict=True):
            cv2.warpAffine(self.images[view.image], view.affine, (width, height), dst=crop)
            if view.mirrored:
                crop[:] = crop[:, ::-1].copy()
        return torch.from_numpy(crops)

    def _regions(self, views: list[_Placed]) -> Regions:
        height, width = self.recipe.input_size
        parts = []
        for view in views:
            affine = view.affine.copy()
            if view.mirrored:
                affine[0] = -affine[0]
                affine[0, 2] += width - 1
            parts.append(cut_region(self.images[view.image], affine, (height, width)))
        pixels = np.concatenate([region.reshape(-1, 3) for region, _ in parts])
        sizes = np.array([region.shape[:2] for region, _ in parts])
        affines = np.stack([affine for _, affine in parts]).astype(np.float32)
        return Regions(torch.from_numpy(pixels), torch.from_numpy(sizes), torch.from_numpy(affines))


def epoch_order(persons: Persons, recipe: Recipe, epoch: int) -> NDArray[np.int64]:
    """Indices of the persons of an epoch: shuffled, or drawn with replacement by the weights of sets and sources."""
    rng = np.random.default_rng((recipe.seed, epoch))
    if not recipe.source_weights and (persons.shares == persons.shares[0]).all():
        return rng.permutation(len(persons))
    return rng.choice(len(persons), recipe.samples_per_epoch, p=drawn_shares(persons, recipe))


def drawn_shares(persons: Persons, recipe: Recipe) -> NDArray[np.float64]:
    """(N,): the part of an epoch that each person makes up, on average; 1 in all.

    Raises:
        DataError: `source_weights` fits no person.
    """
    share = persons.shares.copy()
    if recipe.source_weights:
        share *= [recipe.source_weights.get(source, 0.0) for source in persons.sources]
    if not share.sum() > 0:
        raise DataError(
            f"source_weights names {sorted(recipe.source_weights)} and so gives no person a share: "
            f"the data has the sources {sorted(set(persons.sources.tolist()))}"
        )
    return np.asarray(share / share.sum())
