"""A bundle's maps from scores to probabilities, fitted on annotated people, and how well they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.arrays import Bool, Float
from transpose_sdk.checks.ranges import SHARE
from transpose_sdk.errors import DataError
from transpose_sdk.scores import ScoreMap, ScoreMaps

from ..data.split import is_held_out
from .benchmark import Benchmark
from .evaluate import evaluate_estimator
from .outcomes import Outcomes, outcomes
from .reliability import calibration_error, fit_map, reliability

if TYPE_CHECKING:
    from transpose_sdk.estimator import PoseEstimator

LEAST = 50  # right answers, and as many wrong ones, below which a map would be a guess


def chosen_images(benchmark: Benchmark, share: float = 1.0, sources: Sequence[str] | None = None) -> Benchmark:
    """The people of a part of the images.

    Args:
        benchmark: The people.
        share: Of the images, those that a recipe with this `held_out` leaves out; see `trainers.data.split`.
        sources: Of which images, by their `source`; None for all.

    Raises:
        DataError: The share is none, or no labelled person is left.
    """
    if share not in SHARE:
        raise DataError(f"share {share}: give one from 0 to 1")
    images = [
        image
        for image in benchmark.content["images"]
        if is_held_out(image["file_name"], share) and (sources is None or image.get("source", "") in sources)
    ]
    kept = {image["id"] for image in images}
    people = [item for item in benchmark.content["annotations"] if item["image_id"] in kept]
    part = replace(benchmark, content={**benchmark.content, "images": images, "annotations": people})
    if not part.people:
        known = sorted({image.get("source", "") for image in benchmark.content["images"]})
        raise DataError(
            f"no labelled person is in a share of {share:g} of the images of {sources or 'all sources'}: give a larger "
            f"share, or other sources of {known}"
        )
    return part


def fit_scores(
    estimator: PoseEstimator, benchmark: Benchmark, images: Path, name_of_data: str, seen: bool = False
) -> tuple[dict[str, Any], ScoreMaps]:
    """Fit a bundle's maps: those of joints and of given boxes in annotated boxes, the other in the detector's.

    Args:
        estimator: Of the bundle, with the detector, which should report doubtful boxes too.
        benchmark: The people.
        images: Folder of the images.
        name_of_data: Of the people, for the bundle.
        seen: Whether the network was trained on them.

    Returns:
        A report, and the maps. The report's errors are those of maps fitted on the other half of the images.

    Raises:
        DataError: No image can be read, or there are too few people.
    """
    given = outcomes(benchmark, evaluate_estimator(estimator, benchmark, images, "gt"))
    detected = outcomes(benchmark, evaluate_estimator(estimator, benchmark, images, "det"))
    of_joints, crossed = _fit_joints(given, np.ones(len(given.joints), bool)), np.empty_like(given.raw_joints)
    for own in _halves(given.joint_images):
        for joint, of_joint in enumerate(_fit_joints(given, ~own)):
            rows = own & (given.kinds == joint)
            crossed[rows] = of_joint(given.raw_joints[rows])
    report: dict[str, Any] = {"images": len(benchmark.content["images"])}
    report["joints"] = _row(given.raw_joints, crossed, given.joints_right)
    of_people: dict[str, ScoreMap] = {}
    for name, found in (("given", given), ("detected", detected)):
        raw, right = found.raw_people, found.people_right
        of_people[name], crossed = _fit(raw, right, name), np.empty_like(raw)
        for own in _halves(found.images):
            crossed[own] = fit_map(raw[~own], right[~own])(raw[own])
        report[name] = _row(raw, crossed, right)
    state = "trained on them" if seen else "not trained on them"
    fitted_on = f"{len(given.people)} people of {name_of_data}, {state}; detector {estimator.detector.name}"
    result = ScoreMaps(of_joints, **of_people, fitted_on=fitted_on)
    return {**report, "scores": asdict(result)}, result


def _fit(raw: Float, right: Bool, what: str) -> ScoreMap:
    """A map, where there are enough answers."""
    if not _enough(right):
        raise DataError(
            f"{what}: {int(right.sum())} of {len(right)} answers are right, and {LEAST} right ones and as many wrong "
            "ones are needed: give more people"
        )
    return fit_map(raw, right)


def _enough(right: Bool) -> bool:
    return bool(min(right.sum(), (~right).sum()) >= LEAST)


def _fit_joints(found: Outcomes, rows: Bool) -> tuple[ScoreMap, ...]:
    """A map for each joint: one for a left and a right one, that of all where too few are labelled."""
    raw, right, kinds = found.raw_joints[rows], found.joints_right[rows], found.kinds[rows]
    of_all = _fit(raw, right, "joints")
    maps: list[ScoreMap] = []
    for joint, mirrored in enumerate(found.skeleton.mirrored):
        own = (kinds == joint) | (kinds == mirrored)
        if mirrored < joint:
            maps.append(maps[mirrored])
        else:
            maps.append(fit_map(raw[own], right[own]) if _enough(right[own]) else of_all)
    return tuple(maps)


def _halves(images: NDArray[np.int64]) -> tuple[Bool, Bool]:
    """The answers of one half of the images, and of the other."""
    ids = np.unique(images)
    half = np.isin(images, np.random.default_rng(0).permutation(ids)[: len(ids) // 2])
    return half, ~half


def _row(raw: Float, crossed: Float, right: Bool) -> dict[str, Any]:
    return {
        "answers": len(right),
        "right": round(float(right.mean()), 4),
        "raw_error": round(calibration_error(raw, right), 4),
        "error": round(calibration_error(crossed, right), 4),
    }


def score_report(found: Outcomes) -> dict[str, Any]:
    """How far scores are from probabilities, as values for JSON: of people and joints, of scores and raw scores.

    `bins` are rows of answers, mean score and share of right ones; see `reliability`.
    """
    tables = {
        "people": (found.people, found.raw_people, found.people_right),
        "joints": (found.joints, found.raw_joints, found.joints_right),
    }
    return {
        name: {
            "answers": len(right),
            "error": round(calibration_error(scores, right), 4),
            "raw_error": round(calibration_error(raw, right), 4),
            "bins": _rows(scores, right),
            "raw_bins": _rows(raw, right),
        }
        for name, (scores, raw, right) in tables.items()
    }


def _rows(scores: Float, right: Bool) -> list[list[float]]:
    return [[part.answers, round(part.score, 4), round(part.right, 4)] for part in reliability(scores, right)]
