"""Persons with keypoints from annotation files, as arrays."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.errors import DataError
from transpose_sdk.media.coco import checked_annotations, read_json, stated_sizes
from transpose_sdk.skeletons import COCO17, Skeleton, joint_places

from .mpii import mpii_from_json, mpii_from_mat
from .skeleton_file import category_skeleton
from .split import held_out_ids

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Persons:
    """N persons to train on.

    Attributes:
        file_names: Images, relative to their folder.
        image_index: (N,) index into `file_names`.
        boxes: (N, 4) x, y, width, height in image px.
        joints: (N, K, 2) in image px.
        weights: (N, K) target weight of each joint, 0 for unknown joints.
        sources: (N,) name of the data set each person comes from.
        shares: (N,) how often each person is drawn, by the weight of the set; 1 each in a single set.
        stated: (height, width) of each image in px as the file states it; None or no entry where it does not.
    """

    file_names: tuple[str, ...]
    image_index: NDArray[np.int64]
    boxes: NDArray[np.float32]
    joints: NDArray[np.float32]
    weights: NDArray[np.float32]
    sources: NDArray[np.str_]
    shares: NDArray[np.float64]
    stated: tuple[tuple[int, int] | None, ...] = ()

    def __len__(self) -> int:
        return len(self.boxes)

    def subset(self, keep: NDArray[np.bool_]) -> Persons:
        """The persons for which `keep`, (N,), is true; the images stay as they are."""
        names = ("image_index", "boxes", "joints", "weights", "sources", "shares")
        return replace(self, **{name: getattr(self, name)[keep] for name in names})


class LeftOut:
    """What cannot be trained on, counted by reason, each with its first case."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, reason: str, example: str, count: int = 1) -> None:
        """Count persons that are left out for the same reason."""
        if count:
            self._counts[reason] += count
            self._examples.setdefault(reason, example)

    def report(self) -> None:
        """Log all of it in one line, if there is anything."""
        if self._counts:
            parts = (f"{n} persons {reason} (first: {self._examples[reason]})" for reason, n in self._counts.items())
            logger.info("left out: %s", ", ".join(parts))


def read_people(path: Path) -> dict[str, Any]:
    """Content of an annotation file in COCO's form.

    Args:
        path: A COCO keypoint file, MPII's released .mat, or MPII's .json of the published code.

    Raises:
        DataError: It cannot be read or has another form.
    """
    if path.suffix == ".mat":
        return mpii_from_mat(path)
    content = read_json(path)
    return mpii_from_json(content, path) if is_mpii_list(content) else checked_annotations(content, path)


def is_mpii_list(content: Any) -> bool:
    """Whether it is a list of MPII's persons and not COCO's images and annotations."""
    return isinstance(content, list) and bool(content)


def load_persons(
    annotations: Path,
    skeleton: Skeleton = COCO17,
    *,
    keypoints: str = "keypoints",
    given: Skeleton | None = None,
    joints: Mapping[str | int, str | int] | None = None,
    excluded: Collection[str] = (),
    teacher_weight: float = 0.0,
    teacher_min_score: float = 0.3,
    min_agreement: Mapping[str, float] | None = None,
    held_out: Mapping[str, float] | None = None,
    left_out: LeftOut | None = None,
) -> Persons:
    """Read the persons that have at least one usable joint.

    A human's joint (v > 0) has weight 1. Where no human labelled a joint and the file holds `teacher_keypoints`, the
    teacher's joint counts `teacher_weight` times its score.

    Args:
        annotations: See `read_people`.
        skeleton: Of the network: K joints.
        keypoints: Field of an annotation with the human's joints.
        given: What these joints are; by default what the file's category tells, else the network's.
        joints: A joint of the network to one of `given`, each by name or index; by default those of equal names.
        excluded: File names of images that are left out.
        teacher_weight: See above; 0 ignores the teacher, whose joints are those of the file's category.
        teacher_min_score: Teacher's joints below it are unknown.
        min_agreement: By source: persons with a lower `teacher_agreement` are left out.
        held_out: By source: share of the images that are left out; see `trainers.data.split`.
        left_out: Counts who is left out; None reports it at once.

    Raises:
        DataError: The file cannot be read, is of another form, or has no usable person.
        InputError: The joints don't fit the network's.
    """
    content = read_people(annotations)
    file_skeleton = category_skeleton(content, annotations.stem) or skeleton
    given = given or file_skeleton
    places = joint_places(skeleton, given, joints)
    teacher_places = places if given == file_skeleton else joint_places(skeleton, file_skeleton)
    counted = left_out or LeftOut()
    images = {image["id"]: image for image in content["images"]}
    sizes = stated_sizes(content)
    held = held_out_ids(images.values(), held_out or {})
    labelled = {item["image_id"] for item in content["annotations"] if _has_joint(item, keypoints)}
    order = {key: number for number, key in enumerate(key for key in images if key in labelled)}
    rows: list[tuple[int, Sequence[float], NDArray[np.float32], NDArray[np.float32], str]] = []
    for number, item in enumerate(content["annotations"]):
        example = f"annotation {item.get('id', number)} of {annotations.name}"
        human = _triples(item, keypoints, given, places, annotations)
        position, weight = human[:, :2], (human[:, 2] > 0).astype(np.float32)
        if teacher_weight > 0:
            teacher = _triples(item, "teacher_keypoints", file_skeleton, teacher_places, annotations)
            taught = (weight == 0) & (teacher[:, 2] >= teacher_min_score)
            position[taught] = teacher[taught, :2]
            weight[taught] = teacher_weight * teacher[taught, 2]
        image = images.get(item["image_id"])
        if image is None:
            counted.add("without an image", example)
        elif image["file_name"] in excluded:
            counted.add("of excluded images", example)
        elif image["id"] in held:
            counted.add("held out", example)
        elif reason := _unusable(item, image, position, weight):
            counted.add(reason, example)
        elif item.get("teacher_agreement", 1.0) < (min_agreement or {}).get(image.get("source", ""), 0.0):
            counted.add("with doubtful labels", example)
        else:
            rows.append((order[image["id"]], item["bbox"], position, weight, image.get("source", "")))
    if left_out is None:
        counted.report()
    if not rows:
        raise DataError(f"{annotations} has no person with a labelled joint: give a COCO keypoint file")
    index, boxes, positions, weights, sources = zip(*rows, strict=True)
    return Persons(
        file_names=tuple(images[key]["file_name"] for key in order),
        image_index=np.asarray(index, np.int64),
        boxes=np.asarray(boxes, np.float32),
        joints=np.stack(positions),
        weights=np.stack(weights),
        sources=np.asarray(sources, np.str_),
        shares=np.ones(len(rows)),
        stated=tuple(sizes.get(images[key]["file_name"]) for key in order),
    )


def _unusable(
    item: Mapping[str, Any], image: Mapping[str, Any], joints: NDArray[np.float32], weights: NDArray[np.float32]
) -> str | None:
    """Why a person cannot be trained on, None where they can."""
    box = np.asarray(item["bbox"], np.float64)
    if item.get("iscrowd"):
        return "in crowds"
    if box.shape != (4,) or not np.isfinite(box).all() or not (box[2:] > 1).all():
        return "without an area"
    size = np.array((image.get("width") or np.inf, image.get("height") or np.inf), np.float64)
    if (box[:2] >= size).any() or (box[:2] + box[2:] <= 0).any():
        return "outside their image"
    if not weights.any():
        return "without a joint"
    if not np.isfinite(joints[weights > 0]).all():
        return "with joints that are no numbers"
    return None


def _has_joint(item: Mapping[str, Any], keypoints: str) -> bool:
    return bool(item.get("teacher_keypoints")) or any((item.get(keypoints) or ())[2::3])


def _triples(
    item: Mapping[str, Any], name: str, given: Skeleton, places: NDArray[np.intp], annotations: Path
) -> NDArray[np.float32]:
    """A person's joints as (K, 3) in the network's order, zeros where the annotation has none.

    Args:
        item: The annotation.
        name: Of its field.
        given: What the joints in the field are.
        places: (K,) from `joint_places`.
        annotations: The file, for the error.
    """
    count = len(given)
    try:
        values = np.asarray(item.get(name) or np.zeros(3 * count), np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{annotations}: {name} of annotation {item.get('id')} holds no numbers ({error})") from None
    if values.shape != (3 * count,):
        raise DataError(
            f"{annotations}: {name} of annotation {item.get('id')} has shape {values.shape}, not ({3 * count},): "
            f"give x, y and visibility of {count} joints ({given.name}) in one row, or name the file's own joints by "
            "--set skeleton=FILE, a YAML file or annotations whose category tells them"
        )
    return np.where((places >= 0)[:, None], values.reshape(count, 3)[places], 0).astype(np.float32)
