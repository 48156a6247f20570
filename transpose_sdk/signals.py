"""What the attention of a joint says about it: how spread it is, where it lies, and whether the joint may be hidden.

The regions are those of the decoded skeleton on the attention grid, and every cell belongs to the first that it fits:
the joint itself, its own limbs (the edges that end in the joint), the mirrored joint with its limbs, elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.crops import apply_affine, invert_affines
from transpose_sdk.dependency import attention_areas, attention_of
from transpose_sdk.errors import InputError
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import Skeleton

# A cell within this share of the grid's height of a joint or a limb belongs to it: 1.2 cells of a 16 x 12 grid, 2.4 of
# 32 x 24. A crop shows 1.25 times the person, so that it is 9 % of a standing person's height, a head's half.
REACH = 0.075

FEATURES = ("score", "entropy", "joint", "limb", "mirror")  # what the occlusion hint weighs


@dataclass(frozen=True)
class OcclusionRule:
    """How the occlusion hint follows from a joint's raw score and signals: a logistic rule, fitted for one network.

    Attributes:
        weights: A constant, and one weight for each of `FEATURES`.
        threshold: The hint from which on a joint counts as hidden; balances precision and recall.
    """

    weights: tuple[float, ...]
    threshold: float

    def __post_init__(self) -> None:
        if len(self.weights) != 1 + len(FEATURES) or not np.isfinite((*self.weights, self.threshold)).all():
            raise InputError(
                f"weights {self.weights} and threshold {self.threshold}: give {1 + len(FEATURES)} finite weights, a "
                f"constant and one for each of {', '.join(FEATURES)}"
            )

    def hint(self, *features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The hint, 0..1, for `FEATURES`, arrays of one shape."""
        constant, *weights = self.weights
        total = constant + sum(weight * value for weight, value in zip(weights, features, strict=True))
        return (1 / (1 + np.exp(-total))).astype(np.float32)


# For networks that have none of their own: that of an early TP-M.
DEFAULT_RULE = OcclusionRule((-3.279, -3.290, 3.290, -0.436, -0.098, 1.214), 0.186)


@dataclass(frozen=True, eq=False)
class JointSignals:
    """Signals of N people's K joints, each of shape (N, K), float32.

    Attributes:
        entropy: Of the joint's attention, 0 (all on one cell) to 1 (uniform).
        joint: Share of the attention that lies on the joint itself.
        limb: Share on the joint's own limbs.
        mirror: Share on the mirrored joint and its limbs; 0 for a joint that has no mirror.
        elsewhere: The rest; the four shares sum to 1.
        occlusion: Hint that the joint is hidden, 0..1; see `OcclusionRule`.
        occluded: Whether the hint reaches the rule's threshold; bool.
    """

    entropy: NDArray[np.float32]
    joint: NDArray[np.float32]
    limb: NDArray[np.float32]
    mirror: NDArray[np.float32]
    elsewhere: NDArray[np.float32]
    occlusion: NDArray[np.float32]
    occluded: NDArray[np.bool_]


def joint_signals(poses: Poses, rule: OcclusionRule | None = None) -> JointSignals:
    """The signals of all joints.

    Args:
        poses: Poses that carry attention.
        rule: Of the network, a bundle's `occlusion`; None for `DEFAULT_RULE`.

    Raises:
        InputError: The poses carry no attention.
    """
    attention, (count, joints) = attention_of(poses), poses.scores.shape
    entropy, shares = np.zeros((count, joints), np.float32), np.zeros((4, count, joints), np.float32)
    for person in range(count):
        areas = attention_areas(poses, person, range(joints))
        rows = np.stack([area.grid.ravel() for area in areas])
        transform = attention.cell_transform(person)
        cells = apply_affine(np.nan_to_num(poses.keypoints[person]), invert_affines(transform))
        entropy[person] = attention_entropy(rows)
        shares[:, person] = region_shares(rows, cells, attention.grid, poses.skeleton)
    joint, limb, mirror, elsewhere = shares
    rule = rule or DEFAULT_RULE
    hint = rule.hint(poses.raw_scores, entropy, joint, limb, mirror)
    return JointSignals(entropy, joint, limb, mirror, elsewhere, hint, hint >= rule.threshold)


def attention_entropy(attention: NDArray[np.float32]) -> NDArray[np.float32]:
    """Entropy of rows of attention.

    Args:
        attention: Shape (n, L), rows that sum to 1.

    Returns:
        Shape (n,), in units of the entropy of uniform attention.
    """
    logs = np.log(attention, out=np.zeros_like(attention), where=attention > 0)
    return -(attention * logs).sum(axis=1) / np.float32(np.log(attention.shape[1]))


def region_shares(
    attention: NDArray[np.float32], cells: NDArray[np.float64], grid: tuple[int, int], skeleton: Skeleton
) -> NDArray[np.float32]:
    """Shares of each joint's attention in its four regions.

    Args:
        attention: Shape (K, h * w), a row for each joint.
        cells: Shape (K, 2), the joints in cell coordinates.
        grid: (h, w) of the attention grid.
        skeleton: Tells limbs and mirror pairs.

    Returns:
        Shape (4, K): joint, limb, mirror, elsewhere.
    """
    y, x = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    places = np.stack((x, y), axis=1).astype(np.float64)
    reach = max(1.0, REACH * grid[0])
    # (K, L) and (E, L): whether a cell lies at a joint, and along a limb.
    at_joint = np.linalg.norm(places - cells[:, None], axis=2) <= reach
    ends = np.array(skeleton.edges)
    along_limb = _segment_distances(places, cells[ends[:, 0]], cells[ends[:, 1]]) <= reach
    touches = (ends[:, :, None] == np.arange(len(skeleton))).any(axis=1)  # (E, K)
    on_limbs = touches.T.astype(np.float32) @ along_limb.astype(np.float32) > 0
    mirrored = skeleton.mirrored
    has_mirror = (mirrored != np.arange(len(skeleton)))[:, None]
    limb = on_limbs & ~at_joint
    mirror = (at_joint | on_limbs)[mirrored] & has_mirror & ~at_joint & ~on_limbs
    elsewhere = ~(at_joint | limb | mirror)
    return np.stack([(attention * region).sum(axis=1) for region in (at_joint, limb, mirror, elsewhere)])


def _segment_distances(
    places: NDArray[np.float64], starts: NDArray[np.float64], stops: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distances (E, L) of places (L, 2) from segments, (E, 2) each end."""
    along = (stops - starts)[:, None]
    offsets = places - starts[:, None]
    share = (offsets * along).sum(axis=2) / np.maximum((along**2).sum(axis=2), 1e-12)
    return np.linalg.norm(offsets - np.clip(share, 0, 1)[..., None] * along, axis=2)
