"""Annotated people to measure a network by, in the order of the network's joints."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.errors import DataError
from transpose_sdk.media.coco import has_area, has_joints, is_labelled
from transpose_sdk.skeletons import LSP14, Skeleton, joint_places

from ..data.mpii import DESCRIPTION, HEADS_FILE
from ..data.persons import read_people
from ..data.skeleton_file import category_skeleton

logger = logging.getLogger(__name__)

MAIN_NUMBERS = {"coco": "AP", "mpii": "PCKh@0.5", "lsp": "PCK@0.2"}
TORSO = ("left_shoulder", "right_hip")  # whose distance is the unit of LSP's PCK


@dataclass(frozen=True)
class Benchmark:
    """Annotated people.

    Attributes:
        content: In COCO's form; `keypoints` has the network's joints in its order, v = 0 for what nobody labelled, and
            `unit` is the length in px by which errors are divided (head size or torso; NaN where it is unknown).
        skeleton: Of the network.
        kind: How answers are scored: "coco" (average precision), "mpii" (PCKh) or "lsp" (PCK).
    """

    content: dict[str, Any]
    skeleton: Skeleton
    kind: str = "coco"

    @property
    def main(self) -> str:
        """Name of the number that tells a better network from a worse one."""
        return MAIN_NUMBERS[self.kind]

    @cached_property
    def file_names(self) -> dict[int, str]:
        """Of the images, by id."""
        return {image["id"]: image["file_name"] for image in self.content["images"]}

    @cached_property
    def people(self) -> dict[int, list[dict[str, Any]]]:
        """The annotations with a labelled joint by image id: those that count, as the paper evaluates."""
        people: dict[int, list[dict[str, Any]]] = {}
        for item in self.content["annotations"]:
            if is_labelled(item):
                people.setdefault(item["image_id"], []).append(item)
        return people


def read_benchmark(path: Path, skeleton: Skeleton, kind: str | None = None) -> Benchmark:
    """Read annotated people for a network.

    Args:
        path: COCO keypoint file, or MPII's list (see `trainers.data.mpii`), beside which gt_valid.mat tells the heads.
        skeleton: Of the network. MPII and LSP are scored on the joints that bear the same names as the network's.
        kind: "coco", "mpii" or "lsp"; None takes "mpii" for MPII's files and "coco" for all others.

    Raises:
        DataError: The file cannot be read, its joints are not the network's, or what the score needs is not there.
    """
    content = read_people(path)
    given = category_skeleton(content, path.stem)
    if kind is None:
        info = content.get("info")
        kind = "mpii" if isinstance(info, dict) and info.get("description") == DESCRIPTION else "coco"
    if kind == "lsp":
        return _checked(Benchmark(_lsp(content, given, skeleton, path), skeleton, kind), path)
    if kind == "mpii":
        if not any("head_size" in item for item in content["annotations"]):
            raise DataError(f"{path} tells no head sizes, which PCKh needs: put MPII's {HEADS_FILE} beside valid.json")
        units = [item.get("head_size", np.nan) for item in content["annotations"]]
        return _checked(
            Benchmark(_in_order(content, "keypoints", given or skeleton, skeleton, units), skeleton, kind), path
        )
    return _checked(Benchmark(_coco(content, given, skeleton, path), skeleton, kind), path)


def _checked(benchmark: Benchmark, path: Path) -> Benchmark:
    """The benchmark; DataError where nobody could be evaluated on, or somebody who counts could not be found."""
    homeless = 0
    for number, item in enumerate(benchmark.content["annotations"]):
        if not has_joints(item):
            continue
        who = f"{path}: annotations[{number}] (id {item.get('id')})"
        if not np.isfinite(item["keypoints"]).all():
            raise DataError(f"{who} has labelled joints that are no finite numbers: correct or remove them")
        if not has_area(item) and benchmark.kind != "mpii":  # of which some have no place, as released
            raise DataError(
                f"{who} has labelled joints and the box {item['bbox']}, which has no area: give x, y, width, height in "
                "pixels"
            )
        homeless += item["image_id"] not in benchmark.file_names
    if homeless:
        logger.warning("%s lists no image for %d persons, who are left out", path, homeless)
    if not benchmark.people.keys() & benchmark.file_names.keys():
        raise DataError(f"{path} has no person with a labelled joint to evaluate on: give a COCO keypoint file")
    return benchmark


def _coco(content: dict[str, Any], given: Skeleton | None, skeleton: Skeleton, path: Path) -> dict[str, Any]:
    labelled = {len(item["keypoints"]) // 3 for item in content["annotations"] if item.get("keypoints")}
    if given is not None and set(given.names) == set(skeleton.names) and labelled == {len(given)}:
        return _in_order(content, "keypoints", given, skeleton)
    if labelled != {len(skeleton)}:
        raise DataError(
            f"{path} has persons of {sorted(labelled)} keypoints, the network gives {len(skeleton)}: evaluate it on "
            f"annotations of {skeleton.name}; to train for these joints, name them by --set skeleton=FILE"
        )
    if given is not None:
        logger.warning("%s calls its joints otherwise; they are taken to be in the order of %s", path, skeleton.name)
    return content


def _lsp(content: dict[str, Any], given: Skeleton | None, skeleton: Skeleton, path: Path) -> dict[str, Any]:
    name = "lsp_joints" if any("lsp_joints" in item for item in content["annotations"]) else "keypoints"
    known = LSP14 if name == "lsp_joints" else given or skeleton
    if not set(TORSO) <= set(known.names):
        raise DataError(f"{path} has no {' and '.join(TORSO)}, between which PCK measures the torso: give LSP's joints")
    ends = [known.index(joint) for joint in TORSO]
    units = [_length(item.get(name), ends, known, path) for item in content["annotations"]]
    return _in_order(content, name, known, skeleton, units)


def _length(joints: list[float] | None, ends: list[int], known: Skeleton, path: Path) -> float:
    """Distance of two joints, NaN where one is unknown."""
    if not joints:
        return np.nan
    first, second = (_rows(joints, known, path)[end] for end in ends)
    return float(np.hypot(*(first - second)[:2])) if min(first[2], second[2]) > 0 else np.nan


def _in_order(
    content: Mapping[str, Any], name: str, given: Skeleton, skeleton: Skeleton, units: list[float] | None = None
) -> dict[str, Any]:
    """The content with the joints of field `name` as `keypoints` in the network's order."""
    places = joint_places(skeleton, given)
    annotations = []
    for number, item in enumerate(content["annotations"]):
        changed = dict(item)
        if item.get(name):
            joints = np.where((places >= 0)[:, None], _rows(item[name], given, Path(str(item.get("id"))))[places], 0)
            changed["keypoints"] = joints.ravel().tolist()
            changed["num_keypoints"] = int((joints[:, 2] > 0).sum())
        if units is not None:
            changed["unit"] = units[number]
        annotations.append(changed)
    return {**content, "annotations": annotations}


def _rows(joints: list[float], known: Skeleton, path: Path) -> NDArray[np.float64]:
    values = np.asarray(joints, np.float64)
    if values.shape != (3 * len(known),):
        raise DataError(
            f"{path}: a person has joints of shape {values.shape}, not ({3 * len(known)},): give x, y and visibility "
            f"of {len(known)} joints ({known.name}) in one row"
        )
    return values.reshape(-1, 3)
