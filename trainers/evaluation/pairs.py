"""True persons beside the poses found for them, and every score that follows from the distances between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from transpose_sdk.media.coco import area_of
from transpose_sdk.oks import joint_similarity, oks
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import Skeleton

from .benchmark import Benchmark

# PCKh as published: what the usual tables call 0.1 reads the threshold 0.11, and the trunk's joints are left out.
PCKH_THRESHOLDS = {"PCKh@0.5": 0.5, "PCKh@0.1": 0.11}
PCKH_LEFT_OUT = ("pelvis", "thorax")
PCK_THRESHOLDS = {"PCK@0.2": 0.2}
OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
# Areas in px^2 between COCO's borders, and heights of the box in px.
AREAS = {"area: small": (0.0, 32.0**2), "area: medium": (32.0**2, 96.0**2), "area: large": (96.0**2, np.inf)}
HEIGHTS = {"height: below 64": (0.0, 64.0), "height: 64 to 128": (64.0, 128.0), "height: 128 to 256": (128.0, 256.0)}
HEIGHTS |= {"height: from 256": (256.0, np.inf)}


class Answer(NamedTuple):
    """What a network found in an image.

    Attributes:
        poses: N poses.
        owners: (N,) index of the true person whose box each pose was asked for; None where a detector gave the boxes.
    """

    poses: Poses
    owners: NDArray[np.intp] | None = None


@dataclass(frozen=True, eq=False)
class Pairs:
    """N true persons, each with the pose that was found for them.

    Attributes:
        file_names: Their N images.
        boxes: (N, 4) x, y, width, height in image px.
        areas: (N,) px^2, of the person and not of the box.
        units: (N,) px, head size or torso; NaN where there is none.
        truth: (N, K, 2) image px.
        labelled: (N, K) bool.
        found: (N, K, 2) image px, NaN for a person who was missed.
        skeleton: Of the K joints.
    """

    file_names: tuple[str, ...]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    units: NDArray[np.float64]
    truth: NDArray[np.float64]
    labelled: NDArray[np.bool_]
    found: NDArray[np.float64]
    skeleton: Skeleton

    def __len__(self) -> int:
        return len(self.boxes)

    @cached_property
    def errors(self) -> NDArray[np.float64]:
        """(N, K) distances in px, infinite where the person was missed."""
        return np.nan_to_num(np.linalg.norm(self.found - self.truth, axis=2), nan=np.inf)

    @cached_property
    def similarities(self) -> NDArray[np.float64]:
        """(N, K), of which the OKS is the mean."""
        return joint_similarity(self.errors**2, self.areas[:, None], np.array(self.skeleton.sigmas))

    @cached_property
    def oks(self) -> NDArray[np.float64]:
        """(N,) object keypoint similarities of the labelled joints."""
        return (self.similarities * self.labelled).sum(1) / self.labelled.sum(1)

    def shares_within(self, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Correct and counted labelled joints, (K,) each: those within `threshold` units of the truth."""
        counted = self.labelled & (self.units > 0)[:, None]
        with np.errstate(invalid="ignore"):
            correct = counted & (self.errors <= threshold * self.units[:, None])
        return correct.sum(0), counted.sum(0)


def pair_up(benchmark: Benchmark, answers: Mapping[int, Answer]) -> Pairs:
    """Every true person with the pose that was asked for their box or, for detected ones, that fits best by OKS.

    Args:
        benchmark: The true persons.
        answers: By image id; persons of an image without an answer are missed.
    """
    names = benchmark.file_names
    people = {key: items for key, items in benchmark.people.items() if key in names}
    every = [item for items in people.values() for item in items]
    skeleton = benchmark.skeleton
    joints = np.array([item["keypoints"] for item in every], np.float64).reshape(-1, len(skeleton), 3)
    truth, labelled = joints[..., :2], joints[..., 2] > 0
    boxes = np.array([item["bbox"] for item in every], np.float64).reshape(-1, 4)
    areas = np.array([area_of(item) for item in every], np.float64)
    found = np.full(truth.shape, np.nan)
    start = 0
    for key, items in people.items():
        rows = np.arange(start, start + len(items))
        start += len(items)
        if key not in answers:
            continue
        poses, owners = answers[key]
        if owners is None:
            fit = oks(truth[rows], poses.keypoints, areas[rows], skeleton, labelled[rows])
            owners, chosen = linear_sum_assignment(fit, maximize=True)
            real = fit[owners, chosen] > 0
            owners, poses = owners[real], poses[chosen[real]]
        found[rows[owners]] = poses.keypoints
    return Pairs(
        file_names=tuple(names[key] for key, items in people.items() for _ in items),
        boxes=boxes,
        areas=areas,
        units=np.array([item.get("unit", np.nan) for item in every], np.float64),
        truth=truth,
        labelled=labelled,
        found=found,
        skeleton=skeleton,
    )


def thresholds(kind: str) -> dict[str, float]:
    """Names and thresholds of the shares of correct joints of a kind of benchmark; none for COCO."""
    return {"mpii": PCKH_THRESHOLDS, "lsp": PCK_THRESHOLDS}.get(kind, {})


def correct_shares(pairs: Pairs, kind: str) -> dict[str, float]:
    """PCKh of MPII or PCK of LSP, 0..1: the share of correct joints among all labelled ones that count."""
    left_out = PCKH_LEFT_OUT if kind == "mpii" else ()
    counts = np.array([name not in left_out for name in pairs.skeleton.names])
    numbers = {}
    for name, threshold in thresholds(kind).items():
        correct, counted = pairs.shares_within(threshold)
        numbers[name] = float(correct[counts].sum() / max(counted[counts].sum(), 1))
    return numbers


def joint_table(pairs: Pairs, kind: str) -> dict[str, dict[str, float]]:
    """By joint: how many are labelled, their mean similarity, their precision and the benchmark's shares.

    `precision` is for one joint what AP is for a person: the share of similarities above .5, .55, ... .95, averaged.
    """
    rows: dict[str, dict[str, float]] = {}
    for joint, name in enumerate(pairs.skeleton.names):
        similar = pairs.similarities[pairs.labelled[:, joint], joint]
        if len(similar):
            precision = (similar[:, None] >= OKS_THRESHOLDS).mean()
            rows[name] = {"labelled": len(similar), "similarity": float(similar.mean()), "precision": float(precision)}
    for metric, threshold in thresholds(kind).items():
        correct, counted = pairs.shares_within(threshold)
        for name, row in rows.items():
            joint = pairs.skeleton.index(name)
            row[metric] = float(correct[joint] / max(counted[joint], 1))
    return rows


def size_table(pairs: Pairs) -> dict[str, dict[str, float]]:
    """By the person's area and by the height of their box in px: persons, mean OKS, shares of OKS above .5 and .75."""
    rows = {}
    for values, bins in ((pairs.areas, AREAS), (pairs.boxes[:, 3], HEIGHTS)):
        for name, (low, high) in bins.items():
            similar = pairs.oks[(values >= low) & (values < high)]
            if len(similar):
                above = {f"OKS>={border}": float((similar >= border).mean()) for border in (0.5, 0.75)}
                rows[name] = {"persons": len(similar), "OKS": float(similar.mean()), **above}
    return rows


def text_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows of numbers as aligned text."""
    if not rows:
        return ""
    columns = list(next(iter(rows.values())))
    width = max(len(name) for name in rows) + 2
    lines = [" " * width + "".join(f"{name:>12}" for name in columns)]
    for name, row in rows.items():
        cells = (f"{row[key]:>12d}" if isinstance(row[key], int) else f"{row[key]:>12.3f}" for key in columns)
        lines.append(f"{name:<{width}}" + "".join(cells))
    return "\n".join(lines)
