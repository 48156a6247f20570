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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from transpose_sdk.errors import DataError, InputError
from transpose_sdk.media.coco import read_json
from transpose_sdk.skeletons import SKELETONS, Skeleton

DEFAULT_SIGMA = 0.072  # the median of COCO's seventeen, the elbow's
LOWER_BODY = ("hip", "pelvis", "leg", "knee", "ankle", "foot", "feet", "toe", "heel")
SIDES = {"left": "right", "Left": "Right", "LEFT": "RIGHT"}
SIDES |= {right: left for left, right in SIDES.items()}
LETTERS = {"l": "r", "r": "l", "L": "R", "R": "L"}


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
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(SKELETONS)
        raise DataError(f"no skeleton {spec!r} ({error.strerror}: {path}): give one of {known} or a file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not YAML: {error}") from None
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
    categories = content.get("categories") if isinstance(content, dict) else None
    for category in categories or ():
        if names := category.get("keypoints"):
            known = next((skeleton for skeleton in SKELETONS.values() if list(skeleton.names) == list(names)), None)
            if known is not None:
                return known
            values = {key: category[key] for key in ("flip_pairs", "sigmas", "upper_body") if key in category}
            edges = [(a - 1, b - 1) for a, b in category.get("skeleton") or ()]
            return _skeleton({"name": name, "names": names, "edges": edges, **values}, f"the category of {name}")
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
    names = [str(name) for name in values["names"]]
    if len(set(names)) < len(names):
        raise DataError(f"{origin}: two joints have the same name in {', '.join(names)}")

    def joint(given: str | int) -> int:
        return names.index(given) if isinstance(given, str) else int(given)

    def pairs(key: str) -> tuple[tuple[int, int], ...]:
        return tuple((joint(a), joint(b)) for a, b in values.get(key) or ())

    try:
        sigmas = values.get("sigmas", DEFAULT_SIGMA)
        upper = values.get("upper_body", [name for name in names if not any(word in name for word in LOWER_BODY)])
        return Skeleton(
            name=str(values["name"]),
            names=tuple(names),
            edges=pairs("edges"),
            flip_pairs=pairs("flip_pairs") if "flip_pairs" in values else _pairs_by_name(names),
            sigmas=tuple(float(s) for s in (sigmas if isinstance(sigmas, Sequence) else [sigmas] * len(names))),
            upper_body=tuple(joint(name) for name in upper),
        )
    except (TypeError, ValueError, InputError) as error:
        raise DataError(
            f"{origin} describes no skeleton ({error}): see trainers/skeleton_file.py for its form"
        ) from None


def _pairs_by_name(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    mirrored = [names.index(other) if (other := mirrored_name(name)) in names else k for k, name in enumerate(names)]
    return tuple((k, other) for k, other in enumerate(mirrored) if k < other)
