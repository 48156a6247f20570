"""Which joint of which person is looked at, from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.boxes import box_iou
from transpose_sdk.errors import InputError
from transpose_sdk.poses import Poses

# A person without an id (images are not tracked, and a new stream numbers anew) is known again by the box.
SAME_PERSON = 0.3
REACH = 0.12  # how far from a joint a click still means it, as a share of the person's height


@dataclass(frozen=True, eq=False)
class Following:
    """A joint, and whose it is.

    Attributes:
        keypoint: Index of the joint.
        track_id: The person's track; None where it has to be found first.
        box: (4,) x, y, width, height in image px where the person was last seen.
        chosen: Whether the user chose the person. Else it is whoever is clearest, and another one once they are gone.
    """

    keypoint: int
    track_id: int | None = None
    box: NDArray[np.float32] | None = None
    chosen: bool = False

    def person(self, poses: Poses) -> int | None:
        """Index of the person among the poses of a frame, None if they are not there."""
        if not len(poses):
            return None
        likeness = np.zeros(len(poses), np.float32)
        if self.track_id is not None and poses.track_ids is not None:
            likeness = (poses.track_ids == self.track_id).astype(np.float32)
        elif self.box is not None:
            likeness = box_iou(self.box[None], poses.boxes)[0]
        if likeness.max() >= SAME_PERSON:
            return int(np.argmax(likeness))
        return None if self.chosen else int(np.argmax(poses.person_scores))

    def seen(self, poses: Poses) -> Following:
        """The same, with what the poses of a frame tell about the person."""
        person = self.person(poses)
        if person is None:
            return self
        track_id = None if poses.track_ids is None else int(poses.track_ids[person])
        return replace(self, track_id=track_id, box=poses.boxes[person])

    def renumbered(self) -> Following:
        """The same for a stream that numbers people anew."""
        return replace(self, track_id=None)


def joint_at(poses: Poses, point: tuple[float, float], min_score: float = 0.0) -> tuple[int, int]:
    """The joint nearest to a point: index of the person and of the keypoint.

    Args:
        poses: The people on the frame.
        point: x and y in image px.
        min_score: Joints with a lower score are not shown, and so cannot be meant.

    Raises:
        InputError: There is none near.
    """
    if not len(poses):
        raise InputError("nobody is found on this frame: click a joint of a person")
    distances = np.linalg.norm(poses.keypoints - np.array(point, np.float32), axis=2)
    distances[(poses.scores < min_score) | ~np.isfinite(distances)] = np.inf
    heights = np.maximum(poses.boxes[:, 2:].max(axis=1), 1)
    share = distances / heights[:, None]
    person, keypoint = (int(index) for index in np.unravel_index(np.argmin(share), share.shape))
    if share[person, keypoint] > REACH:
        raise InputError("no joint there: click a joint of a person, or pick one from the body diagram")
    return person, keypoint
