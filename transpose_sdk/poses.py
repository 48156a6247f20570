"""The result of pose estimation: N people as one struct of arrays."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.attention import Attention
from transpose_sdk.errors import InputError, MissingDependencyError
from transpose_sdk.skeletons import Skeleton

if TYPE_CHECKING:
    import pandas as pd
    import supervision as sv

SCORE_FLOOR = 0.2  # joints at or below don't count in a person's score, as published


@dataclass(frozen=True, eq=False)
class Poses:
    """N people with K keypoints each, in pixels of the image.

    Indexing with a mask, a slice, an index array or an int gives Poses again, also of no or of one person.

    Attributes:
        keypoints: Shape (N, K, 2), float32, x and y in image px.
        scores: Shape (N, K), float32, a keypoint's heatmap maximum.
        boxes: Shape (N, 4), float32, x, y, width, height in image px, as detected (not padded).
        person_scores: Shape (N,), float32; see the function `person_scores`.
        skeleton: What the K keypoints are.
        track_ids: Shape (N,), int64, or None where nothing tracks.
        attention: What the last attention layer was made of, where it was asked for.
    """

    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    person_scores: NDArray[np.float32]
    skeleton: Skeleton
    track_ids: NDArray[np.int64] | None = None
    attention: Attention | None = None

    def __post_init__(self) -> None:
        n, k = len(self.keypoints), len(self.skeleton)
        wanted: dict[str, tuple[int, ...]] = {
            "keypoints": (n, k, 2),
            "scores": (n, k),
            "boxes": (n, 4),
            "person_scores": (n,),
            "track_ids": (n,),
        }
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise InputError(
                    f"Poses.{name} has shape {value.shape}, not {shape}: "
                    f"there are {n} people in keypoints and {k} joints in skeleton {self.skeleton.name!r}"
                )
        if self.attention is not None and len(self.attention) != n:
            raise InputError(f"Poses.attention is that of {len(self.attention)} people, but there are {n} in keypoints")

    @classmethod
    def empty(cls, skeleton: Skeleton) -> Poses:
        """No people, in arrays of the right shapes and types."""
        return cls(
            keypoints=np.zeros((0, len(skeleton), 2), np.float32),
            scores=np.zeros((0, len(skeleton)), np.float32),
            boxes=np.zeros((0, 4), np.float32),
            person_scores=np.zeros(0, np.float32),
            skeleton=skeleton,
        )

    def __len__(self) -> int:
        return len(self.keypoints)

    def __getitem__(self, index: int | slice | list[int] | NDArray[Any]) -> Poses:
        """The people chosen by a mask, a slice, an index array or an int.

        A mask or index array that chooses everyone in order gives the same poses, not a copy.

        Raises:
            InputError: No such person, or a mask of another length.
        """
        picked = [index] if isinstance(index, int | np.integer) else index
        if isinstance(picked, list):
            picked = np.asarray(picked, dtype=None if picked else np.intp)
        # The usual case of filters and trackers; the attention of a person takes 0.4 MB to copy.
        if isinstance(picked, np.ndarray) and picked.dtype == bool and picked.shape == (len(self),) and picked.all():
            return self
        if isinstance(picked, np.ndarray) and picked.dtype != bool and np.array_equal(picked, np.arange(len(self))):
            return self
        arrays = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "skeleton"}
        try:
            chosen: dict[str, Any] = {name: None if array is None else array[picked] for name, array in arrays.items()}
            return Poses(skeleton=self.skeleton, **chosen)
        except IndexError:
            raise InputError(
                f"cannot pick {index!r} from {len(self)} people: give an index below {len(self)}, a slice, "
                f"an array of indices or a boolean mask of shape ({len(self)},)"
            ) from None

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """The people as one frame of the JSON that `transpose run` writes: only lists, numbers and None.

        Coordinates are rounded to 0.01 px and scores to 0.0001.
        """
        rows = np.concatenate((self.keypoints.astype(np.float64).round(2), _rounded(self.scores)[..., None]), axis=2)
        return {
            "people": [
                {"track_id": track_id, "score": score, "box": box, "keypoints": keypoints}
                for track_id, score, box, keypoints in zip(
                    [None] * len(self) if self.track_ids is None else self.track_ids.tolist(),
                    _rounded(self.person_scores).tolist(),
                    self.boxes.astype(np.float64).round(2).tolist(),
                    rows.tolist(),
                    strict=True,
                )
            ]
        }

    def to_coco(self, image_id: int, category_id: int = 1) -> list[dict[str, Any]]:
        """The people as entries of a COCO keypoint results file."""
        rows = np.concatenate((self.keypoints, self.scores[..., None]), axis=2).astype(np.float64).round(4)
        return [
            {
                "image_id": image_id,
                "category_id": category_id,
                "keypoints": keypoints,
                "score": score,
                "bbox": box,
            }
            for keypoints, score, box in zip(
                rows.reshape(len(self), 3 * len(self.skeleton)).tolist(),
                self.person_scores.astype(np.float64).tolist(),
                self.boxes.astype(np.float64).round(2).tolist(),
                strict=True,
            )
        ]

    def to_pandas(self) -> pd.DataFrame:
        """A tidy table, one row a joint: person, track_id, person_score, keypoint, x, y, score.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingDependencyError("Poses.to_pandas needs pandas: pip install pandas") from error
        n, k = self.scores.shape
        track_ids: Any = [pd.NA] * n if self.track_ids is None else self.track_ids
        return pd.DataFrame(
            {
                "person": np.repeat(np.arange(n), k),
                "track_id": pd.array(track_ids, dtype="Int64").repeat(k),
                "person_score": np.repeat(self.person_scores, k),
                "keypoint": list(self.skeleton.names) * n,
                "x": self.keypoints[..., 0].ravel(),
                "y": self.keypoints[..., 1].ravel(),
                "score": self.scores.ravel(),
            }
        )

    def to_supervision(self) -> tuple[sv.KeyPoints, sv.Detections]:
        """The people as supervision's key points and detections, in the same order; class 0, track ids as tracker_id.

        Raises:
            MissingDependencyError: supervision is not installed.
        """
        try:
            import supervision as sv
        except ImportError as error:
            raise MissingDependencyError("Poses.to_supervision needs it: pip install supervision") from error
        count = len(self)
        classes = np.zeros(count, np.int64)
        # Newer releases tell the confidence of a person from that of a joint.
        split = "keypoint_confidence" in inspect.signature(sv.KeyPoints).parameters
        scores: dict[str, Any] = {"keypoint_confidence" if split else "confidence": self.scores}
        if split:
            scores["detection_confidence"] = self.person_scores
        key_points = sv.KeyPoints(xy=self.keypoints, class_id=classes, **scores)
        corners = np.concatenate((self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]), axis=1)
        return key_points, sv.Detections(
            xyxy=corners, confidence=self.person_scores, class_id=classes, tracker_id=self.track_ids
        )


def person_scores(scores: NDArray[np.float32], box_scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Score of each person as published: box score times the mean of the joint scores above 0.2.

    Args:
        scores: Shape (N, K), of the joints.
        box_scores: Shape (N,), of the detector.

    Returns:
        Shape (N,), float32; 0 where no joint counts.
    """
    counted = scores > SCORE_FLOOR
    total = np.where(counted, scores, 0).sum(1)
    return (box_scores * total / np.maximum(counted.sum(1), 1)).astype(np.float32)


def _rounded(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    return scores.astype(np.float64).round(4)
