"""What a recipe trains on: the persons of its data sets in one, and their images."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from transpose_sdk.boxes import touching
from transpose_sdk.errors import DataError, InputError
from transpose_sdk.skeletons import Skeleton

from ..datasets import DataSet
from ..recipe import Recipe
from .image_cache import ImageCache, ImageFolder, open_images
from .persons import LeftOut, Persons, load_persons, read_people
from .skeleton_file import load_skeleton

logger = logging.getLogger(__name__)


def load_training_set(
    recipe: Recipe, data: Path, skeleton: Skeleton, cache: Path | None = None
) -> tuple[Persons, ImageCache | ImageFolder]:
    """Read a recipe's persons and open their images; whoever cannot be trained on is counted in one log line.

    Args:
        recipe: Numbers of the run.
        data: Folder to which the recipe's paths are relative.
        skeleton: Of the network.
        cache: Where decoded images are kept; by default `data / "cache"`.

    Raises:
        DataError: A file cannot be used, a joint mapping does not fit, or nobody is left.
    """
    left_out = LeftOut()
    persons, folder = read_training_set(recipe, data, skeleton, left_out)
    images = open_images(folder, persons.file_names, cache or data / "cache", persons.stated)
    persons = persons.subset(_on_their_images(persons, images, left_out))
    left_out.report()
    if not len(persons):
        raise DataError(f"no person is left to train on in {folder}: see what was left out")
    return persons, images


def read_training_set(
    recipe: Recipe, data: Path, skeleton: Skeleton, left_out: LeftOut | None = None
) -> tuple[Persons, Path]:
    """A recipe's persons and the folder to which their images' names are relative; reads no image.

    Args:
        recipe: Numbers of the run.
        data: Folder to which the recipe's paths are relative.
        skeleton: Of the network.
        left_out: Counts who is left out.

    Raises:
        DataError: A file cannot be used, or a joint mapping does not fit.
    """
    counted = left_out or LeftOut()
    if recipe.datasets:
        parts = [_prefixed(_load(item, recipe, data, skeleton, counted), item) for item in recipe.datasets]
        persons, folder = _together(parts), data
    else:
        only = DataSet(recipe.train_annotations, recipe.train_images)
        persons, folder = _load(only, recipe, data, skeleton, counted), data / recipe.train_images
    if left_out is None:
        counted.report()
    return persons, folder


def _load(item: DataSet, recipe: Recipe, data: Path, skeleton: Skeleton, left_out: LeftOut) -> Persons:
    excluded = {image["file_name"] for image in read_people(data / item.exclude)["images"]} if item.exclude else ()
    given = load_skeleton(item.skeleton, data) if item.skeleton else None
    try:
        persons = load_persons(
            data / item.annotations,
            skeleton,
            keypoints=item.keypoints,
            given=given,
            joints=item.joints,
            excluded=excluded,
            teacher_weight=recipe.teacher_weight,
            teacher_min_score=recipe.teacher_min_score,
            min_agreement=recipe.min_agreement,
            held_out=recipe.held_out,
            left_out=left_out,
        )
    except InputError as error:
        raise DataError(
            f"{item.annotations}: {error}. Name the network's joints by "
            "skeleton (--set skeleton=FILE, the annotations where their category tells), or pair them by joints in "
            "datasets"
        ) from None
    if len(unknown := np.flatnonzero(~(persons.weights > 0).any(axis=0))):
        logger.info("%s labels no %s", item.annotations, ", ".join(skeleton.names[joint] for joint in unknown))
    return persons


def _prefixed(persons: Persons, item: DataSet) -> Persons:
    """A set's persons with images relative to the data folder, drawn by the set's weight."""
    names = tuple(str(Path(item.images) / name) for name in persons.file_names)
    return replace(persons, file_names=names, shares=item.weight * persons.shares)


def _together(parts: list[Persons]) -> Persons:
    first = np.cumsum([0, *(len(part.file_names) for part in parts)])
    index = [part.image_index + start for part, start in zip(parts, first[:-1], strict=True)]
    rows = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("boxes", "joints", "weights", "sources", "shares")
    }
    return Persons(
        file_names=tuple(name for part in parts for name in part.file_names),
        image_index=np.concatenate(index),
        stated=tuple(size for part in parts for size in part.stated),
        **rows,
    )


def _on_their_images(persons: Persons, images: ImageCache | ImageFolder, left_out: LeftOut) -> np.ndarray:
    """(N,) bool: whose image can be read and holds some of their box."""
    readable = images.readable[persons.image_index]
    inside = touching(persons.boxes, images.sizes[persons.image_index][:, ::-1])
    for reason, out in (("whose image cannot be read", ~readable), ("outside their image", readable & ~inside)):
        if out.any():
            example = persons.file_names[persons.image_index[int(np.argmax(out))]]
            left_out.add(reason, example, int(out.sum()))
    return readable & inside
