"""MPII Human Pose (Andriluka et al., 2014) in COCO's form: the released .mat, or the .json of the published code.

As published: the centre moves down by 15 px times the scale, and centre and joints are counted from 1. The scale says
how many times 200 px a person is high; a square of that side, padded by 1.25 like every box, is the published crop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.io import loadmat

from transpose_sdk.checks.typed import MismatchError, typed
from transpose_sdk.errors import DataError
from transpose_sdk.skeletons import MPII16

DESCRIPTION = "MPII Human Pose"
HEAD_SIZE = 0.6  # of the diagonal of the head's box: the unit of PCKh
HEADS_FILE = "gt_valid.mat"  # the published truth of the validation split, with the heads' boxes
BODY_AREA = 0.53  # of the box around the joints: what COCO's segments cover of their boxes, so that OKS means the same


@dataclass(frozen=True)
class _Item:
    """A person in the list of the published code."""

    image: str
    joints: tuple[tuple[float, float], ...]
    joints_vis: tuple[float, ...]
    center: tuple[float, float]
    scale: float


def mpii_from_json(items: Iterable[Any], path: Path) -> dict[str, Any]:
    """MPII's persons from the list of the published code: image, joints, joints_vis, center, scale.

    Args:
        items: Content of the file.
        path: Of the file. Beside a validation list, gt_valid.mat tells the joints and the heads as they are scored.

    Raises:
        DataError: An item lacks something, or gt_valid.mat belongs to another list.
    """
    persons = []
    for number, values in enumerate(items):
        try:
            item = typed(values, _Item)
            visibility = np.where(np.array(item.joints_vis) > 0, 2.0, 0.0)
            person = _person(item.image, np.array(item.joints), visibility, item.center, item.scale)
        except (MismatchError, ValueError) as error:
            raise DataError(
                f"{path}: item {number} has no image, joints, joints_vis, center and scale of MPII ({error}): give "
                "train.json or valid.json of the published code, or a COCO keypoint file"
            ) from None
        persons.append(person)
    heads = path.with_name(HEADS_FILE)
    if "valid" in path.stem and heads.is_file():
        _add_heads(persons, heads)
    return _content(persons)


def mpii_from_mat(path: Path) -> dict[str, Any]:
    """MPII's labelled persons from the released file, mpii_human_pose_v1_u12_1.mat.

    Raises:
        DataError: It cannot be read or is another file.
    """
    release = _load(path, squeeze=True).get("RELEASE")
    if release is None or not hasattr(release, "annolist"):
        raise DataError(f"{path} has no RELEASE.annolist: give MPII's mpii_human_pose_v1_u12_1.mat")
    try:
        persons = [
            person
            for image in np.atleast_1d(release.annolist)
            for rect in np.atleast_1d(getattr(image, "annorect", ()))
            if (person := _from_rect(str(image.image.name), rect)) is not None
        ]
    except (AttributeError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path} is not in the form that MPII released ({error}): get it again") from None
    return _content(persons)


def _load(path: Path, squeeze: bool = False) -> dict[str, Any]:
    try:
        return loadmat(path, struct_as_record=False, squeeze_me=squeeze)
    except OSError as error:
        raise DataError(f"cannot read {path} ({error}): give MPII's .mat file") from None
    except Exception as error:  # whatever scipy meets in a damaged file
        raise DataError(f"{path} is no MATLAB file that can be read ({error}): get it again") from error


def _from_rect(image: str, rect: Any) -> dict[str, Any] | None:
    """A person of the released file, None for one that nobody labelled (the test images have only scale and place)."""
    points = list(_points(getattr(rect, "annopoints", None)))
    place: Any = getattr(rect, "objpos", None)
    scale: Any = getattr(rect, "scale", ())
    if not points or not hasattr(place, "x") or np.size(scale) != 1:
        return None
    joints, visibility = np.zeros((16, 2)), np.zeros(16)
    for point in points:
        joints[int(point.id)] = point.x, point.y
        seen = getattr(point, "is_visible", 1)  # a number, its text, or empty, as for all heads
        visibility[int(point.id)] = 1 if np.size(seen) == 1 and float(seen) == 0 else 2
    person = _person(image, joints, visibility, (place.x, place.y), scale)
    corners: list[Any] = [getattr(rect, name, ()) for name in ("x1", "y1", "x2", "y2")]
    if all(np.size(value) == 1 for value in corners):
        x1, y1, x2, y2 = map(float, corners)
        person["head_size"] = HEAD_SIZE * float(np.hypot(x2 - x1, y2 - y1))
    return person


def _points(annopoints: Any) -> Iterator[Any]:
    for point in np.atleast_1d(getattr(annopoints, "point", ())):
        if hasattr(point, "id"):
            yield point


def _person(
    image: str, joints: NDArray[np.float64], visibility: NDArray[np.float64], center: ArrayLike, scale: Any
) -> dict[str, Any]:
    """A COCO annotation of a person whose numbers are MPII's; a centre of -1 means that there is none."""
    (x, y), scale = np.asarray(center, np.float64), float(scale)
    if joints.shape != (16, 2) or visibility.shape != (16,):
        raise ValueError(f"joints of shape {joints.shape} and visibility of {visibility.shape}")
    side = 200 * scale if x != -1 else 0.0
    # A box's centre is its first pixel's plus (side - 1) / 2; the last 1 counts from 0.
    left, top = x - 1 - (side - 1) / 2, y + 15 * scale - 1 - (side - 1) / 2
    annotation = {"file_name": image, "iscrowd": 0, "bbox": [float(left), float(top), side, side]}
    return {**annotation, **_joints(joints - 1, visibility)}


def _joints(joints: NDArray[np.float64], visibility: NDArray[np.float64]) -> dict[str, Any]:
    """The joints' part of a COCO annotation."""
    labelled = visibility > 0
    extent = np.ptp(joints[labelled], axis=0) if labelled.any() else np.zeros(2)
    rows = np.concatenate((np.where(labelled[:, None], joints, 0), visibility[:, None]), axis=1)
    return {
        "keypoints": rows.ravel().tolist(),
        "num_keypoints": int(labelled.sum()),
        "area": BODY_AREA * float(extent.prod()),
    }


def _add_heads(persons: list[dict[str, Any]], path: Path) -> None:
    """Take the joints and head sizes from gt_valid.mat, which is what the published evaluation reads."""
    truth = _load(path)
    try:
        joints = truth["pos_gt_src"].transpose(2, 0, 1)
        present = 1.0 - truth["jnt_missing"].T
        sizes = HEAD_SIZE * np.linalg.norm(truth["headboxes_src"][1] - truth["headboxes_src"][0], axis=0)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"{path} is not MPII's {HEADS_FILE} ({error!r}): get it with valid.json") from None
    if not len(joints) == len(present) == len(sizes) == len(persons):
        raise DataError(f"{path} has {len(joints)} persons, the list beside it {len(persons)}: they belong together")
    for person, places, visible, size in zip(persons, joints, present, sizes, strict=True):
        person.update(_joints(places.astype(np.float64) - 1, 2.0 * (visible > 0)), head_size=float(size))


def _content(persons: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(item["file_name"] for item in persons), 1)}
    return {
        "info": {"description": DESCRIPTION},
        "images": [{"id": number, "file_name": name} for name, number in numbers.items()],
        "annotations": [
            {"id": number, "image_id": numbers[item.pop("file_name")], "category_id": 1, **item}
            for number, item in enumerate(persons, 1)
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(MPII16.names)}],
    }
