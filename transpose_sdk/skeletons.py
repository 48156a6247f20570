"""Skeletons: the names, limbs, mirror pairs and OKS sigmas of a set of keypoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.checks.numbers import is_whole
from transpose_sdk.checks.ranges import Range
from transpose_sdk.checks.typed import MismatchError, typed
from transpose_sdk.errors import InputError

SIGMA = Range(0, 10, above=True)  # of a share of the person's size


@dataclass(frozen=True)
class Skeleton:
    """What a network's K keypoints are called and how they belong together.

    Attributes:
        name: The skeleton's own name, such as "coco17".
        names: K keypoint names, in the network's output order.
        edges: Limbs as pairs of keypoint indices, for drawing.
        flip_pairs: Pairs of indices that change places when the image is mirrored.
        sigmas: K per-keypoint constants of the object keypoint similarity (OKS), as published by COCO.
        upper_body: Indices counted as the upper body (half-body augmentation).
    """

    name: str
    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    flip_pairs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    upper_body: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.names or not all(self.names) or len(set(self.names)) < len(self.names):
            raise InputError(
                f"skeleton {self.name!r}: no names, an empty one, or two joints have the same name in "
                f"{', '.join(self.names)}"
            )
        if len(self.sigmas) != len(self.names):
            raise InputError(
                f"skeleton {self.name!r} has {len(self.names)} names but {len(self.sigmas)} sigmas: give one a keypoint"
            )
        indices = [i for pair in (*self.edges, *self.flip_pairs) for i in pair] + list(self.upper_body)
        if indices and not 0 <= min(indices) <= max(indices) < len(self.names):
            raise InputError(
                f"skeleton {self.name!r} refers to keypoint {min(indices)}..{max(indices)}, but has 0..{len(self) - 1}"
            )
        if bad := [sigma for sigma in self.sigmas if sigma not in SIGMA]:
            raise InputError(
                f"skeleton {self.name!r} has the sigma {bad[0]!r}: give {SIGMA}, such as COCO's .026 to .107"
            )
        mirrored = [i for pair in self.flip_pairs for i in pair]
        if len(set(mirrored)) < len(mirrored):
            raise InputError(
                f"skeleton {self.name!r} has flip pairs that overlap, {self.flip_pairs}: a keypoint has one other side"
            )
        if loops := [pair for pair in self.edges if pair[0] == pair[1]]:
            raise InputError(f"skeleton {self.name!r} has the edge {loops[0]}, from a keypoint to itself")

    def __len__(self) -> int:
        return len(self.names)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Skeleton:
        """A skeleton from `dataclasses.asdict`, as bundles and checkpoints store it.

        Raises:
            InputError: Something is missing or does not fit.
        """
        try:
            return typed(values, Skeleton)
        except MismatchError as error:
            raise InputError(f"this describes no skeleton ({error}): give all of a Skeleton's attributes") from None

    @cached_property
    def mirrored(self) -> NDArray[np.intp]:
        """Shape (K,): the keypoint that stands in place k once the image is mirrored."""
        order = np.arange(len(self.names))
        for left, right in self.flip_pairs:
            order[[left, right]] = right, left
        return order

    def index(self, keypoint: str | int) -> int:
        """Index of a keypoint given by name or by index.

        Raises:
            InputError: No keypoint has this name or index.
        """
        if isinstance(keypoint, str) and keypoint in self.names:
            return self.names.index(keypoint)
        if is_whole(keypoint) and 0 <= int(keypoint) < len(self.names):
            return int(keypoint)
        raise InputError(f"no keypoint {keypoint!r} in skeleton {self.name!r}: use one of {', '.join(self.names)}")


def joint_places(
    wanted: Skeleton, given: Skeleton, joints: Mapping[str | int, str | int] | None = None
) -> NDArray[np.intp]:
    """Where a skeleton's joints stand in another one.

    Args:
        wanted: Skeleton of K joints.
        given: The other one.
        joints: A wanted joint to a given one, each by name or by index; None pairs those of equal names.

    Returns:
        Shape (K,): the index in `given` of every wanted joint, -1 where it has none.

    Raises:
        InputError: `joints` names one that is not there, or the skeletons have no joint in common.
    """
    pairs = joints or {name: name for name in wanted.names if name in given.names}
    if not pairs:
        raise InputError(
            f"skeletons {wanted.name!r} and {given.name!r} have no joint of the same name: give a mapping from "
            f"{', '.join(wanted.names)} to {', '.join(given.names)}"
        )
    places = np.full(len(wanted), -1)
    for own, other in pairs.items():
        places[wanted.index(own)] = given.index(other)
    return places


COCO17 = Skeleton(
    name="coco17",
    names=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
        "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
        "right_ankle",
    ),
    edges=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
        (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    sigmas=(.026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089),
    upper_body=tuple(range(11)),
)  # fmt: skip

MPII16 = Skeleton(
    name="mpii16",
    names=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax",
        "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
        "left_wrist",
    ),
    edges=(
        (0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (8, 12), (12, 11), (11, 10), (8, 13),
        (13, 14), (14, 15),
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)),
    # MPII publishes no sigmas (its metric is PCKh); COCO's figure for the same joint, the hip's and the ear's for
    # the trunk and the head, so that OKS-based tracking works on MPII skeletons too.
    sigmas=(.089, .087, .107, .107, .087, .089, .107, .079, .079, .035, .062, .072, .079, .079, .072, .062),
    upper_body=tuple(range(7, 16)),
)  # fmt: skip

LSP14 = Skeleton(
    name="lsp14",
    names=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
        "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top",
    ),
    edges=(
        (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 12), (9, 12), (9, 10), (10, 11), (12, 13), (2, 8),
        (3, 9),
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)),
    # As MPII16's: LSP publishes no sigmas either.
    sigmas=(.089, .087, .107, .107, .087, .089, .062, .072, .079, .079, .072, .062, .079, .035),
    upper_body=tuple(range(6, 14)),
)  # fmt: skip

SKELETONS = {skeleton.name: skeleton for skeleton in (COCO17, MPII16, LSP14)}
