"""Left and right joints that a network exchanges for a moment, as it does on people seen from the side."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.arrays import Float
from transpose_sdk.skeletons import Skeleton

# In body sizes: how far the two joints of a pair have to be apart for their sides to matter, and how far a group has to
# be from where it was before it can have changed places. Legs that pass each other are near to both places and stay as
# the network names them.
_WIDE = 0.06
_FAR = 0.1
_NEARER = 0.5  # share of that distance that may be left once the group has changed back


def exchanged(
    keypoints: Float, expected: Float, known: NDArray[np.bool_], sizes: Float, skeleton: Skeleton
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which pairs of a left and a right joint lie where the other one of the pair was expected.

    Pairs that hang together are judged together, or the skeleton would be twisted: those joined by an edge, as far as
    their two joints are apart. Seen from the front or from behind that is the whole body; seen from the side the hips
    lie on each other, and the legs are a group of their own.

    Args:
        keypoints: (N, K, 2) px.
        expected: (N, K, 2) px, where the same people's joints should be.
        known: (N, K), joints of which both are known.
        sizes: (N,) px, of the bodies.
        skeleton: Has P flip pairs.

    Returns:
        (N, P), the exchanged pairs; and (N, P, P), which pairs are in one group, if any pair is exchanged.
    """
    (one, other), joined = _pairs(skeleton)

    def distance(joints: NDArray[np.intp], places: NDArray[np.intp]) -> Float:
        return np.asarray(np.linalg.norm(keypoints[:, joints] - expected[:, places], axis=2), np.float32)

    size = sizes[:, None]
    wide = np.linalg.norm(keypoints[:, one] - keypoints[:, other], axis=2) > _WIDE * size
    counted = known[:, one] & known[:, other] & wide
    apart, across = distance(one, one) + distance(other, other), distance(one, other) + distance(other, one)
    if not (counted & (across < _NEARER * apart)).any():  # of an exchanged group at least one pair is so near
        return np.zeros_like(counted), np.zeros((*counted.shape, len(one)), bool)
    groups = joined & counted[:, :, None] & counted[:, None]
    for _ in range(max(len(one) - 1, 1).bit_length()):  # from neighbours to all that can be reached
        groups = groups @ groups
    kept = np.einsum("npq,nq->np", groups, apart)
    changed = np.einsum("npq,nq->np", groups, across)
    return counted & (kept > _FAR * size) & (changed < _NEARER * kept), groups


@cache
def _pairs(skeleton: Skeleton) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The joints of P pairs, (2, P), and (P, P), whether pairs are the same or joined by an edge."""
    pairs = np.array(skeleton.flip_pairs, np.intp).reshape(-1, 2)
    of = {int(joint): place for place, pair in enumerate(pairs) for joint in pair}
    joined = np.eye(len(pairs), dtype=bool)
    for a, b in skeleton.edges:
        if a in of and b in of:
            joined[of[a], of[b]] = joined[of[b], of[a]] = True
    return pairs.T, joined


def exchange(values: NDArray[Any], chosen: NDArray[np.bool_], skeleton: Skeleton) -> NDArray[Any]:
    """Values (N, K, ...) in which the joints of the chosen pairs (N, P) have changed places: a copy, if any has."""
    if not chosen.any():
        return values
    people, pairs = np.nonzero(chosen)
    one, other = _pairs(skeleton)[0][:, pairs]
    result = values.copy()
    result[people, one], result[people, other] = values[people, other], values[people, one]
    return result
