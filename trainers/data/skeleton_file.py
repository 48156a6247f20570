"""Skeletons of data sets of one's own, from a small YAML file or from the category of a COCO file.

    name: dancer                                # optional
    names: [head, left_hand, right_hand, left_foot, right_foot]
    edges: [[head, left_hand], [0, 2]]          # joints by name or by index, counted from 0
    flip_pairs: [[left_hand, right_hand]]       # by default the names that differ in left and right
    sigmas: 0.072                               # one for all, or one a joint
    upper_body: [head, left_hand, right_hand]   # by default all that sounds like neither hip nor leg

A COCO category tells `keypoints` and `skeleton`, pairs counted from 1; flip_pairs, sigmas and upper_body may be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transpose_sdk.checks.typed import MismatchError, typed
from transpose_sdk.errors import DataError, InputError
from transpose_sdk.media.coco import Category, read_json
from transpose_sdk.skeletons import SKELETONS, Skeleton

from ..plain_yaml import read_yaml

DEFAULT_SIGMA = 0.072  # the median of COCO's seventeen, the elbow's
LOWER_BODY = ("hip", "pelvis", "leg", "knee", "ankle", "foot", "feet", "toe", "heel")
SIDES = {"left": "right", "Left": "Right", "LEFT": "RIGHT"}
SIDES |= {right: left for left, right in SIDES.items()}
LETTERS = {"l": "r", "r": "l", "L": "R", "R": "L"}


@dataclass(frozen=True)
class _Description:
    """A skeleton as people write it."""

    name: str
    names: tuple[str, ...]
    edges: tuple[tuple[str | int, str | int], ...] = ()
    flip_pairs: tuple[tuple[str | int, str | int], ...] | None = None
    sigmas: float | tuple[float, ...] = DEFAULT_SIGMA
    upper_body: tuple[str | int, ...] | None = None


def load_skeleton(spec: str, folder: Path) -> Skeleton:
    """A skeleton by name, or from a file.

    Args:
        spec: coco17, mpii16 or lsp14; a YAML file; or a COCO file whose category tells.
        folder: To which a file is relative.

    Raises:
        DataError: There is no such skeleton, or the file describes none.
    """
    if spec in SKELETONS:
        return SKELETONS[spec]
    path = folder / spec
    if path.suffix == ".json":
        skeleton = category_skeleton(read_json(path), path.stem)
        if skeleton is None:
            raise DataError(f"{path} has no category with keypoints: give a YAML file with the names of the joints")
        return skeleton
    try:
        values = read_yaml(path)
    except OSError as error:
        known = ", ".join(SKELETONS)
        raise DataError(f"no skeleton {spec!r} ({error.strerror}: {path}): give one of {known} or a file") from None
    if not isinstance(values, dict) or "names" not in values:
        raise DataError(f"{path} describes no skeleton: give the names of its joints, names: [head, ...]")
    return _skeleton({"name": path.stem, **values}, str(path))


def category_skeleton(content: Any, name: str) -> Skeleton | None:
    """The skeleton that the categories of a COCO file describe, None where they don't.

    Args:
        content: Of the file.
        name: Of a skeleton that is none of the known ones.

    Raises:
        DataError: The category contradicts itself.
    """
    try:
        stated = content.get("categories") if isinstance(content, dict) else None
        categories = typed(stated or (), tuple[Category, ...])
    except MismatchError as error:
        raise DataError(f"the categories of {name} are none ({error}): give a COCO keypoint file") from None
    for category in categories:
        if category.keypoints:
            known = next((skeleton for skeleton in SKELETONS.values() if skeleton.names == category.keypoints), None)
            if known is not None:
                return known
            values: dict[str, Any] = {"name": name, "names": category.keypoints}
            values["edges"] = [(a - 1, b - 1) for a, b in category.skeleton or ()]
            for key in ("flip_pairs", "sigmas", "upper_body"):
                if getattr(category, key) is not None:
                    values[key] = getattr(category, key)
            return _skeleton(values, f"the category of {name}")
    return None


def mirrored_name(name: str) -> str:
    """The name of the joint on the other side: left_hand, hand_l, LHand; the same name where it tells no side."""
    if words := [word for word in SIDES if word in name]:
        return name.replace(words[0], SIDES[words[0]], 1)
    return re.sub(r"(?<![A-Za-z])[lrLR](?![a-z])", lambda letter: LETTERS[letter[0]], name, count=1)


def _skeleton(values: Mapping[str, Any], origin: str) -> Skeleton:
    known = ("name", "names", "edges", "flip_pairs", "sigmas", "upper_body")
    if unknown := sorted(set(values) - set(known)):
        raise DataError(f"{origin}: unknown keys {', '.join(unknown)}; a skeleton has {', '.join(known)}")
    try:
        given = typed(values, _Description)
        names = given.names

        def pairs(joints: Iterable[tuple[str | int, str | int]]) -> tuple[tuple[int, int], ...]:
            return tuple((_joint(names, a), _joint(names, b)) for a, b in joints)

        upper = given.upper_body
        if upper is None:
            upper = tuple(name for name in names if not any(word in name for word in LOWER_BODY))
        return Skeleton(
            name=given.name,
            names=names,
            edges=pairs(given.edges),
            flip_pairs=_pairs_by_name(names) if given.flip_pairs is None else pairs(given.flip_pairs),
            sigmas=given.sigmas if isinstance(given.sigmas, tuple) else (given.sigmas,) * len(names),
            upper_body=tuple(_joint(names, name) for name in upper),
        )
    except (MismatchError, InputError) as error:
        raise DataError(
            f"{origin} describes no skeleton ({error}): see trainers/data/skeleton_file.py for its form"
        ) from None


def _joint(names: Sequence[str], given: str | int) -> int:
    """Index of a joint by name or index, which the skeleton itself checks."""
    if isinstance(given, str) and given not in names:
        raise InputError(f"{given!r} is none of its joints {', '.join(names)}")
    return names.index(given) if isinstance(given, str) else given


def _pairs_by_name(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    mirrored = [names.index(other) if (other := mirrored_name(name)) in names else k for k, name in enumerate(names)]
    return tuple((k, other) for k, other in enumerate(mirrored) if k < other)
