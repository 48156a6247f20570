"""Fit a bundle's occlusion hint (`transpose_sdk.signals`) on training data and measure it on data it has not seen.

    python examples/benchmarks/fit_occlusion_hint.py --bundle NAME --train data/train.json --train-images data/train \
        --val data/val.json --val-images data/val --write

A joint counts as hidden where a human marked it with visibility 1, as seen with 2; joints without a label don't count.
The report goes to stdout as JSON. With --write the bundle keeps the rule and what it is worth in its bundle.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk import signals
from transpose_sdk.bundles.bundle import DEFAULT_MODEL
from transpose_sdk.bundles.writer import amend_bundle
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.image_file import read_annotated

LEAST_LABELS = 5  # joints of a person; those with fewer are mostly cut off or tiny


def labelled_persons(annotations: Path, limit: int | None) -> list[tuple[str, list[float], NDArray[np.float64]]]:
    """File name, box and keypoints (K, 3) of persons in which humans told hidden joints from seen ones."""
    content = json.loads(annotations.read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    sources = {image["id"]: image.get("source", "coco") for image in content["images"]}
    persons = [
        (names[item["image_id"]], item["bbox"], np.reshape(item["keypoints"], (-1, 3)).astype(np.float64))
        for item in content["annotations"]
        # Only COCO's annotators marked hidden joints throughout.
        if item.get("keypoints") and sources[item["image_id"]].startswith("coco")
    ]
    persons = [person for person in persons if (person[2][:, 2] > 0).sum() >= LEAST_LABELS]
    order = np.random.default_rng(0).permutation(len(persons))[:limit]
    return [persons[index] for index in order]


def collect(
    estimator: PoseEstimator, annotations: Path, images: Path, limit: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Features (n, F) in the order of `signals.FEATURES`, and whether each joint is hidden (n,)."""
    features, hidden = [], []
    for name, box, keypoints in labelled_persons(annotations, limit):
        image = read_annotated(images / name)
        poses = estimator(image, boxes=np.array([box], np.float32))
        found, raw = signals.joint_signals(poses), poses.raw_scores
        values = [(raw if feature == "score" else getattr(found, feature))[0] for feature in signals.FEATURES]
        labelled = keypoints[:, 2] > 0
        features.append(np.stack(values, axis=1)[labelled].astype(np.float64))
        hidden.append(keypoints[labelled, 2] == 1)
    return np.concatenate(features), np.concatenate(hidden)


def fit(features: NDArray[np.float64], hidden: NDArray[np.bool_], ridge: float = 1e-3) -> NDArray[np.float64]:
    """Logistic regression by Newton's method: a constant and one weight a feature, (1 + F,)."""
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-9
    inputs = np.concatenate((np.ones((len(features), 1)), (features - mean) / deviation), axis=1)
    weights = np.zeros(inputs.shape[1])
    for _ in range(30):
        chance = logistic(inputs @ weights)
        curvature = (inputs.T * (chance * (1 - chance))) @ inputs / len(inputs) + ridge * np.eye(len(weights))
        weights -= np.linalg.solve(curvature, inputs.T @ (chance - hidden) / len(inputs) + ridge * weights)
    slopes = weights[1:] / deviation
    return np.concatenate(([weights[0] - slopes @ mean], slopes))


def apply(weights: NDArray[np.float64], features: NDArray[np.float64]) -> NDArray[np.float64]:
    """The hint, (n,)."""
    return logistic(weights[0] + features @ weights[1:])


def logistic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logistic function."""
    return 1 / (1 + np.exp(-values))


def best_threshold(hints: NDArray[np.float64], hidden: NDArray[np.bool_]) -> float:
    """The threshold of the largest F1."""
    return max(np.quantile(hints, np.linspace(0.01, 0.99, 99)).tolist(), key=lambda t: measure(hints, hidden, t)["F1"])


def measure(hints: NDArray[np.float64], hidden: NDArray[np.bool_], threshold: float) -> dict[str, float]:
    """Precision, recall and F1 at a threshold, and average precision over all thresholds."""
    marked = hints >= threshold
    right = int((marked & hidden).sum())
    ranked = hidden[np.argsort(-hints, kind="stable")]
    precisions = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    report = {
        "precision": right / max(int(marked.sum()), 1),
        "recall": right / max(int(hidden.sum()), 1),
        "F1": 2 * right / max(int(marked.sum() + hidden.sum()), 1),
        "average_precision": float(precisions[ranked].mean()) if ranked.any() else 0.0,
    }
    return {name: round(value, 4) for name, value in report.items()}


def main() -> None:
    """Fit, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_MODEL)
    parser.add_argument("--device", default="CPU")
    for name in ("train", "train-images", "val", "val-images"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--persons", type=int, default=1500, help="of the training data (default: 1500)")
    parser.add_argument("--write", action="store_true", help="put the rule into bundle.json")
    args = parser.parse_args()
    with PoseEstimator(args.bundle, args.device, detector="frame", attention=True) as estimator:
        seen, labels = collect(estimator, args.train, args.train_images, args.persons)
        unseen, truth = collect(estimator, args.val, args.val_images)
        bundle = estimator.bundle
    weights = fit(seen, labels)
    threshold = best_threshold(apply(weights, seen), labels)
    result = measure(apply(weights, unseen), truth, threshold)
    scores_alone = fit(seen[:, :1], labels)
    alone_threshold = best_threshold(apply(scores_alone, seen[:, :1]), labels)
    report: dict[str, Any] = {
        "bundle": bundle.name,
        "train": {"joints": len(labels), "hidden": round(float(labels.mean()), 4)},
        "val": {"joints": len(truth), "hidden": round(float(truth.mean()), 4), **result},
        "val_with_the_score_alone": measure(apply(scores_alone, unseen[:, :1]), truth, alone_threshold),
        "weights": dict(zip(("constant", *signals.FEATURES), weights.round(4).tolist(), strict=True)),
        "threshold": round(threshold, 4),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    if args.write:
        rule = signals.OcclusionRule(tuple(report["weights"].values()), report["threshold"])
        amend_bundle(bundle, occlusion={**asdict(rule), "measured": report["val"]})


if __name__ == "__main__":
    main()
