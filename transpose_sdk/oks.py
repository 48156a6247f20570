"""Object keypoint similarity (OKS) between poses, and the greedy suppression of duplicates that uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transpose_sdk.errors import InputError

if TYPE_CHECKING:
    from transpose_sdk.skeletons import Skeleton

NMS_THRESHOLD = 0.9


def oks(
    keypoints: ArrayLike,
    others: ArrayLike,
    areas: ArrayLike,
    sigmas: Skeleton | ArrayLike,
    visible: ArrayLike | None = None,
) -> NDArray[np.float32]:
    """OKS of every pose with every other: mean over joints of exp(-d^2 / (2 * area * (2 * sigma)^2)).

    Args:
        keypoints: Shape (N, K, 2), the reference poses (the ground truth, where there is one), in px.
        others: Shape (M, K, 2), in the same px.
        areas: Shape (N,), px^2, of the reference poses; or (N, M), one a pair.
        sigmas: Shape (K,), or a skeleton that has them.
        visible: Shape (N, K), bool: the reference joints that count; all where None.

    Returns:
        Shape (N, M), float32, 0..1; 0 where no joint counts.

    Raises:
        InputError: The shapes don't fit together.
    """
    reference, candidates = np.asarray(keypoints, np.float64), np.asarray(others, np.float64)
    area = np.asarray(areas, np.float64)
    sigma = np.asarray(getattr(sigmas, "sigmas", sigmas), np.float64)
    if not (reference.ndim == 3 and reference.shape[1:] == candidates.shape[1:] == (len(sigma), 2)):
        raise InputError(
            f"OKS of keypoints {reference.shape} and {candidates.shape}: give (N, {len(sigma)}, 2) and "
            f"(M, {len(sigma)}, 2) for {len(sigma)} sigmas"
        )
    pairs = (len(reference), len(candidates))
    if area.shape not in (pairs[:1], pairs):
        raise InputError(f"OKS got areas of shape {area.shape}: give one a reference pose, {pairs[:1]}, or {pairs}")
    squared = ((reference[:, None] - candidates[None]) ** 2).sum(-1)
    similarity = joint_similarity(squared, (area if area.ndim == 2 else area[:, None])[..., None], sigma)
    weight = np.ones(reference.shape[:2]) if visible is None else np.asarray(visible, np.float64)
    total = np.einsum("nmk,nk->nm", similarity, weight)
    return (total / np.maximum(weight.sum(1), 1)[:, None]).astype(np.float32)


def joint_similarity(
    squared: NDArray[np.float64], areas: NDArray[np.float64], sigmas: NDArray[np.float64]
) -> NDArray[np.float64]:
    """exp(-d^2 / (2 * area * (2 * sigma)^2)), of which the OKS is the mean.

    Args:
        squared: Shape (..., K), px^2, squared distances of joints.
        areas: Shape (..., 1), px^2.
        sigmas: Shape (K,).
    """
    # The published evaluation adds the float epsilon too, so that a pose without area only matches itself.
    spread = 2 * (areas + np.finfo(np.float64).eps) * (2 * sigmas) ** 2
    return np.asarray(np.exp(-squared / spread), np.float64)


def oks_nms(
    keypoints: ArrayLike,
    scores: ArrayLike,
    areas: ArrayLike,
    sigmas: Skeleton | ArrayLike,
    threshold: float = NMS_THRESHOLD,
) -> NDArray[np.intp]:
    """Greedy OKS-NMS as published: the best pose stays, and drops every pose with an OKS above the threshold to it.

    The area of a pair is the mean of the two, as in the published code.

    Args:
        keypoints: Shape (N, K, 2), in px.
        scores: Shape (N,), of the people.
        areas: Shape (N,), px^2; the published figure is the area of the padded box.
        sigmas: Shape (K,), or a skeleton that has them.
        threshold: OKS above which a pose is a duplicate.

    Returns:
        Shape (n,), indices of the poses that stay, best first.
    """
    score, area = np.asarray(scores, np.float64), np.asarray(areas, np.float64)
    duplicate = oks(keypoints, keypoints, (area[:, None] + area[None]) / 2, sigmas) > threshold
    remaining = np.argsort(-score, kind="stable")
    kept = []
    while len(remaining):
        best = remaining[0]
        kept.append(best)
        remaining = remaining[1:]
        remaining = remaining[~duplicate[best, remaining]]
    return np.array(kept, np.intp)
