"""Left and right joints that a network exchanges for a moment, as it does on people seen from the side."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.skeletons import Skeleton

Float = NDArray[np.float32]

# How far a pair has to be from where it was, in body sizes, before it can have changed places; and how much nearer it
# has to come by changing back. Legs that pass each other are near to both and stay as the network names them.
_APART = 0.1
_NEARER = 0.5


def exchanged(
    keypoints: Float, expected: Float, known: NDArray[np.bool_], sizes: Float, skeleton: Skeleton
) -> NDArray[np.bool_]:
    """Which pairs of a left and a right joint lie where the other one of the pair was expected.

    A pair is judged together with the pairs next to it along the limbs, since a knee goes where its ankle goes.

    Args:
        keypoints: (N, K, 2) px.
        expected: (N, K, 2) px, where the same people's joints should be.
        known: (N, K), joints of which both are known.
        sizes: (N,) px, of the bodies.
        skeleton: Has P flip pairs.

    Returns:
        (N, P).
    """
    (one, other), together = _pairs(skeleton)
    known = known[:, one] & known[:, other]

    def distance(joints: NDArray[np.intp], places: NDArray[np.intp]) -> Float:
        return np.asarray(np.linalg.norm(keypoints[:, joints] - expected[:, places], axis=2), np.float32)

    kept = np.where(known, distance(one, one) + distance(other, other), 0) @ together
    changed = np.where(known, distance(one, other) + distance(other, one), 0) @ together
    return np.asarray(known & (kept > _APART * sizes[:, None]) & (changed < _NEARER * kept))


@cache
def _pairs(skeleton: Skeleton) -> tuple[NDArray[np.intp], Float]:
    """The joints of P pairs, (2, P), and (P, P), 1 for a pair itself and for those an edge away."""
    pairs = np.array(skeleton.flip_pairs, np.intp).reshape(-1, 2)
    of = {int(joint): place for place, pair in enumerate(pairs) for joint in pair}
    together = np.eye(len(pairs), dtype=np.float32)
    for a, b in skeleton.edges:
        if a in of and b in of:
            together[of[a], of[b]] = together[of[b], of[a]] = 1
    return pairs.T, together


def exchange(arrays: Iterable[NDArray[Any]], chosen: NDArray[np.bool_], skeleton: Skeleton) -> None:
    """Let the joints of chosen pairs (N, P) change places in arrays (N, K, ...), which are written."""
    people, pairs = np.nonzero(chosen)
    if not len(people):
        return
    one, other = _pairs(skeleton)[0][:, pairs]
    for values in arrays:
        values[people, one], values[people, other] = values[people, other], values[people, one]
