"""Answers beside the truth, right or wrong: what their scores are measured and fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.arrays import Bool, Float
from transpose_sdk.boxes import box_iou
from transpose_sdk.media.coco import area_of
from transpose_sdk.oks import joint_similarity, oks
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import Skeleton

from .benchmark import Benchmark
from .pairs import Answer

RIGHT = 0.5  # lowest OKS of a right pose, and lowest term of it of a right joint
SAME = 0.5  # IoU from which two boxes are of one person
COVERED = 0.5  # share of a box within an unlabelled person from which on nobody can say whether its pose is right


@dataclass(frozen=True, eq=False)
class Outcomes:
    """N poses and J joints, each with its scores and whether it is right.

    Attributes:
        skeleton: Of the joints.
        images: (N,) ids of the poses' images.
        people: (N,) scores of the poses.
        raw_people: (N,) raw scores.
        people_right: (N,) bool, an OKS of at least `RIGHT` with a person whom no better pose has.
        joint_images: (J,) ids of the joints' images.
        kinds: (J,) index of each joint in the skeleton.
        joints: (J,) scores of the joints that a human labelled, of poses in the boxes of true persons.
        raw_joints: (J,) raw scores.
        joints_right: (J,) bool, a term of the OKS of at least `RIGHT`.
    """

    skeleton: Skeleton
    images: NDArray[np.int64]
    people: Float
    raw_people: Float
    people_right: Bool
    joint_images: NDArray[np.int64]
    kinds: NDArray[np.intp]
    joints: Float
    raw_joints: Float
    joints_right: Bool


def outcomes(benchmark: Benchmark, answers: Mapping[int, Answer]) -> Outcomes:
    """Tell right answers from wrong ones.

    Detected poses are given to people as COCO's evaluation does it, the best first. One that fits nobody is wrong,
    unless its box lies on a person whose joints nobody labelled (an ignore region, or one of the image's
    `person_boxes`): it is left out.

    Args:
        benchmark: The true persons.
        answers: By image id.
    """
    rows: list[tuple[NDArray[Any], ...]] = []
    joints: list[tuple[NDArray[Any], ...]] = []
    everybody = _by_image(benchmark)
    for key, (poses, asked) in answers.items():
        if not len(poses):
            continue
        people = benchmark.people.get(key, [])
        truth = np.array([item["keypoints"] for item in people], np.float64).reshape(len(people), -1, 3)
        truth = truth if len(people) else np.zeros((0, len(poses.skeleton), 3))
        areas = np.array([area_of(item) for item in people], np.float64)
        labelled = truth[..., 2] > 0
        fit = oks(truth[..., :2], poses.keypoints, areas, poses.skeleton, labelled)
        if asked is None:
            right, owners = _matched(fit, poses)
            boxes = np.array([item["bbox"] for item in people], np.float32).reshape(-1, 4)
            overlap = box_iou(poses.boxes, boxes)
            there = overlap.max(1, initial=0) >= SAME
            known = right | there | (_covered(poses.boxes, _unlabelled(everybody.get(key, []), boxes)) < COVERED)
            in_place = right | (there & (overlap.argmax(1) == owners)) if len(people) else right
        else:
            owners, right = asked, fit[asked, np.arange(len(poses))] >= RIGHT
            known = in_place = np.ones(len(poses), bool)
        rows.append(
            (np.full(known.sum(), key), poses.person_scores[known], poses.raw_person_scores[known], right[known])
        )
        if in_place.any():
            own = owners[in_place]
            squared = ((poses.keypoints[in_place] - truth[own, :, :2]) ** 2).sum(2)
            near = joint_similarity(squared, areas[own, None], np.array(poses.skeleton.sigmas)) >= RIGHT
            counted = labelled[own]
            scores, raw = poses.scores[in_place][counted], poses.raw_scores[in_place][counted]
            joints.append((np.full(counted.sum(), key), np.nonzero(counted)[1], scores, raw, near[counted]))
    nothing = np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, bool)
    every_joint = _joined(joints or [(nothing[0], *nothing)])
    return Outcomes(benchmark.skeleton, *_joined(rows or [nothing]), *every_joint)


def _by_image(benchmark: Benchmark) -> dict[int, list[dict[str, Any]]]:
    """All boxes of each image in which there may be people, labelled or not, as annotations."""
    boxes: dict[int, list[dict[str, Any]]] = {}
    for item in benchmark.content["annotations"]:
        boxes.setdefault(item["image_id"], []).append(item)
    for image in benchmark.content["images"]:
        boxes.setdefault(image["id"], []).extend({"bbox": box[:4]} for box in image.get("person_boxes", ()))
    return boxes


def _unlabelled(everybody: list[dict[str, Any]], labelled: Float) -> Float:
    """(U, 4): the boxes of people that are none of the labelled ones'."""
    boxes = np.array([item["bbox"] for item in everybody], np.float32).reshape(-1, 4)
    return boxes[box_iou(boxes, labelled).max(1, initial=0) < SAME]


def _covered(boxes: Float, others: Float) -> Float:
    """(N,): the largest share of each box (N, 4) that lies within one of the others (U, 4)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum((boxes[:, :2] + boxes[:, 2:])[:, None], (others[:, :2] + others[:, 2:])[None])
    shares = np.maximum(high - low, 0).prod(2) / np.maximum(boxes[:, 2:].prod(1), 1e-9)[:, None]
    return np.asarray(shares.max(1, initial=0), np.float32)


def _matched(fit: NDArray[np.float32], poses: Poses) -> tuple[Bool, NDArray[np.intp]]:
    """Which poses are right, and whom each fits best among the people free for it; `fit` is (people, poses)."""
    right, owners = np.zeros(len(poses), bool), np.zeros(len(poses), np.intp)
    free = np.ones(len(fit), bool)
    for pose in np.argsort(-poses.raw_person_scores, kind="stable"):
        if free.any():
            owners[pose] = np.where(free, fit[:, pose], -1).argmax()
            right[pose] = fit[owners[pose], pose] >= RIGHT
            free[owners[pose]] &= not right[pose]
    return right, owners


def _joined(rows: list[tuple[NDArray[Any], ...]]) -> tuple[NDArray[Any], ...]:
    """Columns of all rows."""
    return tuple(np.concatenate(column) for column in zip(*rows, strict=True))
