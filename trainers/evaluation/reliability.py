"""Whether scores are probabilities: their expected calibration error, and monotone maps that make them so."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from transpose_sdk.arrays import Bool
from transpose_sdk.scores import ScoreMap

BINS = 10
# Raw scores where a map may bend: a heatmap is taught to peak at 1, and few peaks pass it.
POINTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25)
# Least rise of the probability over a raw score of 1, so that no two people change places in float32 and average
# precision stays as it is. It costs a clear person's probability half of that.
RISE = 0.01
SMOOTHNESS = 3.0  # in answers: weight of the squared bends of the log odds beside the log likelihood


class Bin(NamedTuple):
    """The answers whose scores lie between two borders.

    Attributes:
        answers: How many.
        score: Their mean score.
        right: Share of them that is right.
    """

    answers: int
    score: float
    right: float


def reliability(scores: NDArray[np.floating], right: Bool, bins: int = BINS) -> list[Bin]:
    """The answers in bins of equal width; bins without an answer are left out.

    Args:
        scores: Shape (n,); those below 0 and above 1 are in the first and the last bin.
        right: Shape (n,), whether each answer is right.
        bins: How many between 0 and 1.
    """
    place = np.clip((np.asarray(scores, np.float64) * bins).astype(int), 0, bins - 1)
    rows = [(scores[place == number], right[place == number]) for number in range(bins)]
    return [Bin(len(own), float(own.mean()), float(hits.mean())) for own, hits in rows if len(own)]


def calibration_error(scores: NDArray[np.floating], right: Bool, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 3): the mean distance of scores from shares of right answers.

    Of bins of equal width, weighted by their answers; 0 where there is none.
    """
    parts = reliability(scores, right, bins)
    return sum(part.answers * abs(part.score - part.right) for part in parts) / max(len(scores), 1)


def fit_map(scores: NDArray[np.floating], right: Bool) -> ScoreMap:
    """The monotone map from scores to the probability of being right, of the largest likelihood and smooth.

    Args:
        scores: Shape (n,), raw scores.
        right: Shape (n,), whether each answer is right.
    """
    points = np.array(POINTS)
    shares = np.stack([np.interp(scores, points, unit) for unit in np.eye(len(points))], axis=1)  # (n, points)
    outcome = np.asarray(right, np.float64)
    bends = _bends(points)
    share, rise = 1 - RISE * (points[-1] - points[0]), RISE * (points - points[0])

    def loss(steps: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = np.cumsum(steps)
        at_points = 1 / (1 + np.exp(-odds))
        chance = np.clip(shares @ (share * at_points + rise), 1e-9, 1 - 1e-9)
        bent = bends @ odds
        value = -(outcome * np.log(chance) + (1 - outcome) * np.log1p(-chance)).sum() + SMOOTHNESS * (bent**2).sum()
        slope = shares.T @ ((chance - outcome) / (chance * (1 - chance))) * share * at_points * (1 - at_points)
        slope += 2 * SMOOTHNESS * bends.T @ bent
        return float(value), np.cumsum(slope[::-1])[::-1]  # of each step, which moves all points from its own on

    start = np.concatenate(([-2.0], np.full(len(points) - 1, 4 / len(points))))
    bounds = [(-7.0, 7.0)] + [(0.0, None)] * (len(points) - 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000})
    probability = share / (1 + np.exp(-np.cumsum(found.x))) + rise
    return ScoreMap(POINTS, tuple(probability.round(6).tolist()))


def _bends(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(points - 2, points): second differences of values at uneven points, in units of a tenth."""
    rows = np.zeros((len(points) - 2, len(points)))
    for row, (left, middle, after) in enumerate(zip(points, points[1:], points[2:], strict=False)):
        rows[row, row : row + 3] = (
            0.1 / (middle - left),
            -0.1 / (middle - left) - 0.1 / (after - middle),
            0.1 / (after - middle),
        )
    return rows
