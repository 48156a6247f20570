"""Scores: raw, as published, and the monotone maps that make them probabilities, fitted for each bundle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.errors import InputError

SCORE_FLOOR = 0.2  # joints of a raw score at or below don't count in a person's raw score, as published
LIKELY = 0.5  # joints of a score at or above are more likely right than not


def person_scores(scores: NDArray[np.float32], box_scores: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Raw score of each person, as published: box score times the mean of the joint scores above 0.2.

    Args:
        scores: Shape (N, K), of the joints.
        box_scores: Shape (N,), of the detector; 1 where not given.

    Returns:
        Shape (N,), float32; 0 where no joint counts.
    """
    counted = scores > SCORE_FLOOR
    total = np.where(counted, scores, 0).sum(1)
    known = np.float32(1) if box_scores is None else box_scores
    return (known * total / np.maximum(counted.sum(1), 1)).astype(np.float32)


@dataclass(frozen=True)
class ScoreMap:
    """A monotone map from raw scores to probabilities: straight lines between points, level beyond the outermost.

        >>> import numpy as np
        >>> from transpose_sdk.scores import ScoreMap
        >>> probability = ScoreMap(raw=(0.0, 0.5, 1.0), probability=(0.1, 0.75, 1.0))
        >>> probability(np.float32([0.5, 0.75, 2.0])).tolist()
        [0.75, 0.875, 1.0]

    Attributes:
        raw: The points' raw scores, rising.
        probability: The points' probabilities, rising: a map that is level somewhere would give people who differ one
            score, and average precision would be another.
    """

    raw: tuple[float, ...]
    probability: tuple[float, ...]

    def __post_init__(self) -> None:
        raw, probability = np.asarray(self.raw, np.float64), np.asarray(self.probability, np.float64)
        if raw.shape != probability.shape or len(raw) < 2:
            raise InputError(f"{len(raw)} raw scores and {len(probability)} probabilities: give two or more of both")
        for name, values in (("raw scores", raw), ("probabilities", probability)):
            if not (np.isfinite(values).all() and (np.diff(values) > 0).all()):
                raise InputError(f"{name} {values.tolist()} do not rise: give finite numbers, each above the last one")
        if probability[0] < 0 or probability[-1] > 1:
            raise InputError(f"probabilities {probability.tolist()}: give numbers from 0 to 1")

    def __call__(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of raw scores of any shape."""
        return np.interp(scores, self.raw, self.probability).astype(np.float32)


@dataclass(frozen=True)
class ScoreMaps:
    """The maps of a bundle, its `scores`.

    Attributes:
        joints: From a heatmap's maximum to the probability that the joint lies where a human would put it: that its
            term of the OKS is at least .5. One for each joint, for hips are right more often than eyes of the same
            maximum; or one for all.
        given: From the published score of a person to the probability that the pose is right, an OKS of at least .5,
            in a box that holds a person.
        detected: The same in a box that a detector found, which may hold nobody.
        fitted_on: The people whom the maps were fitted on.
    """

    joints: tuple[ScoreMap, ...]
    given: ScoreMap
    detected: ScoreMap
    fitted_on: str = ""

    def of_joints(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of raw scores (N, K)."""
        if len(self.joints) == 1:
            return self.joints[0](scores)
        return np.stack([joint(scores[:, place]) for place, joint in enumerate(self.joints)], axis=1)


_POINTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25)
# For networks that have none of their own: those of an early TP-L 256x192, a guess, but a better one than none:
# on 500 images of COCO val2017 the expected calibration error of TP-M16 192x144's poses is .18 without a map, .10 with
# these and .05 with its own.
DEFAULT_MAPS = ScoreMaps(
    joints=(
        ScoreMap(_POINTS, (0.107, 0.158, 0.223, 0.442, 0.622, 0.749, 0.8, 0.866, 0.916, 0.962, 0.988, 0.996, 0.999)),
    ),
    given=ScoreMap(_POINTS, (0.028, 0.039, 0.055, 0.12, 0.287, 0.569, 0.831, 0.963, 0.99, 0.995, 0.996, 0.997, 0.999)),
    detected=ScoreMap(
        _POINTS, (0.001, 0.005, 0.017, 0.147, 0.562, 0.862, 0.965, 0.989, 0.994, 0.995, 0.996, 0.997, 0.999)
    ),
    fitted_on="another network's answers",
)
