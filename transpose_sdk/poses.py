"""The result of pose estimation: N people as one struct of arrays."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.attention import Attention
from transpose_sdk.checks.numbers import as_numbers, is_whole
from transpose_sdk.errors import InputError, MissingDependencyError
from transpose_sdk.skeletons import Skeleton

if TYPE_CHECKING:
    import pandas as pd
    import supervision as sv

# The arrays of a Poses, one row a person, and their types.
TYPES: dict[str, type[np.generic]] = {
    "keypoints": np.float32,
    "scores": np.float32,
    "boxes": np.float32,
    "person_scores": np.float32,
    "track_ids": np.int64,
    "raw_scores": np.float32,
    "raw_person_scores": np.float32,
}


@dataclass(frozen=True, eq=False)
class Poses:
    """N people with K keypoints each, in pixels of the image.

    Indexing with a mask, a slice, an index array or an int gives Poses again, also of no or of one person; iterating
    gives Poses of one person each. The name of a joint gives that joint of everybody. Whatever is picked is a copy:
    writing into it never changes what it came from.

        >>> import cv2, transpose_sdk as tp
        >>> poses = tp.PoseEstimator()(cv2.imread("park.jpg"))
        >>> len(poses), poses.keypoints.shape, poses["left_wrist"].shape
        (2, (2, 17, 2), (2, 2))
        >>> len(poses[poses.xyxy[:, 1] < 100])
        1
        >>> for one in poses:
        ...     print(len(one), one.person_scores > 0.5)
        1 [ True]
        1 [ True]

    Attributes:
        keypoints: Shape (N, K, 2), float32, x and y in image px.
        scores: Shape (N, K), float32, the probability that a keypoint lies where a human would put it; see
            `transpose_sdk.scores`.
        boxes: Shape (N, 4), float32, x, y, width, height in image px, as detected (not padded).
        person_scores: Shape (N,), float32, the probability that a pose is right, an OKS of at least .5.
        skeleton: What the K keypoints are.
        track_ids: Shape (N,), int64, or None where nothing tracks.
        attention: What the last attention layer was made of, where it was asked for.
        raw_scores: Shape (N, K), float32, a keypoint's heatmap maximum; `scores` where not given.
        raw_person_scores: Shape (N,), float32, see `transpose_sdk.scores`; `person_scores` where not given.

    Raises:
        InputError: An array has another shape, or holds no numbers. Lists and other types of numbers are converted.
    """

    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    person_scores: NDArray[np.float32]
    skeleton: Skeleton
    track_ids: NDArray[np.int64] | None = None
    attention: Attention | None = None
    raw_scores: NDArray[np.float32] = None  # type: ignore[assignment]  # an array once made
    raw_person_scores: NDArray[np.float32] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if not isinstance(self.skeleton, Skeleton):
            raise InputError(f"Poses.skeleton is a {type(self.skeleton).__name__}: give a Skeleton, such as COCO17")
        if not isinstance(self.attention, Attention | None):
            raise InputError(f"Poses.attention is a {type(self.attention).__name__}: give an Attention, or None")
        for name, kind in TYPES.items():
            value = getattr(self, name)
            if value is None and name.startswith("raw_"):
                object.__setattr__(self, name, getattr(self, name.removeprefix("raw_")))
            elif value is not None or name != "track_ids":
                object.__setattr__(self, name, as_numbers(value, kind, f"Poses.{name}"))
        n, k = self.keypoints.shape[0] if self.keypoints.ndim else 0, len(self.skeleton)
        wanted: dict[str, tuple[int, ...]] = {
            "keypoints": (n, k, 2),
            "scores": (n, k),
            "boxes": (n, 4),
            "person_scores": (n,),
            "track_ids": (n,),
            "raw_scores": (n, k),
            "raw_person_scores": (n,),
        }
        for name, shape in wanted.items():
            value = getattr(self, name)
            if n == 0 and value is not None and value.shape == (0,):  # nobody, as lists can say it
                value = value.reshape(shape)
                object.__setattr__(self, name, value)
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

    @classmethod
    def concatenate(cls, parts: Sequence[Poses]) -> Poses:
        """The people of several Poses as one, in the order given.

        Track ids are kept where all parts that hold people have them, and attention likewise; else they are None.

            >>> import cv2, transpose_sdk as tp
            >>> estimator, image = tp.PoseEstimator(), cv2.imread("park.jpg")
            >>> halves = estimator(image, boxes=[[300, 44, 92, 206]]), estimator(image, boxes=[[632, 284, 116, 224]])
            >>> len(tp.Poses.concatenate(halves))
            2

        Args:
            parts: One or more, of one skeleton.

        Raises:
            InputError: There are none, they have several skeletons, or attention of several sizes.
        """
        parts = list(parts)
        if not parts:
            raise InputError(
                "there are no poses to concatenate: give one Poses at least, Poses.empty(skeleton) of none"
            )
        for part in parts:
            if not isinstance(part, Poses):
                raise InputError(f"cannot concatenate a {type(part).__name__}: give Poses")
            if part.skeleton != parts[0].skeleton:
                raise InputError(
                    f"cannot concatenate poses of the skeletons {parts[0].skeleton.name!r} and {part.skeleton.name!r}: "
                    "give poses of one skeleton"
                )
        held = [part for part in parts if len(part)] or parts[:1]
        arrays: dict[str, Any] = {}
        for name in TYPES:
            values = [getattr(part, name) for part in held]
            arrays[name] = None if any(value is None for value in values) else np.concatenate(values)
        attentions = [part.attention for part in held if part.attention is not None]
        attention = Attention.concatenate(attentions) if len(attentions) == len(held) else None
        return cls(skeleton=parts[0].skeleton, attention=attention, **arrays)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __iter__(self) -> Iterator[Poses]:
        return (self[person] for person in range(len(self)))

    @overload
    def __getitem__(self, index: str) -> NDArray[np.float32]: ...

    @overload
    def __getitem__(self, index: int | slice | Sequence[int] | Sequence[bool] | NDArray[Any]) -> Poses: ...

    def __getitem__(
        self, index: str | int | slice | Sequence[int] | Sequence[bool] | NDArray[Any]
    ) -> Poses | NDArray[np.float32]:
        """People chosen by a mask, a slice, an index array or an int; or one joint of everybody, by its name.

        Args:
            index: Who, or a joint's name such as "left_wrist".

        Returns:
            Poses of the people chosen; or for a name (N, 2), x and y of the joint in image px, whose scores are
            `poses.scores[:, poses.skeleton.index("left_wrist")]`. Copies in either case.

        Raises:
            InputError: No such person or joint, or a mask of another length.
        """
        if isinstance(index, str):
            return self.keypoints[:, self.skeleton.index(index)].copy()
        rows = self._rows(index)
        arrays = {name: getattr(self, name) for name in (*TYPES, "attention")}
        picked: dict[str, Any] = {name: None if array is None else array[rows] for name, array in arrays.items()}
        return Poses(skeleton=self.skeleton, **picked)

    def _rows(self, index: Any) -> NDArray[np.intp]:
        """The people that an index stands for, as an index array; taking by it always copies."""
        picked = [index] if is_whole(index) else index
        if isinstance(picked, list | tuple) and not picked:
            picked = np.zeros(0, np.intp)
        try:
            rows: NDArray[np.intp] = np.arange(len(self))[np.asarray(picked) if isinstance(picked, list) else picked]
        except (IndexError, ValueError):
            rows = np.empty((0, 0), np.intp)
        if np.ndim(rows) != 1:
            raise InputError(
                f"cannot pick {index!r} from {len(self)} people: give an index below {len(self)}, a slice, an array of "
                f"indices, a boolean mask of shape ({len(self)},), or the name of a joint"
            )
        return rows

    @property
    def is_empty(self) -> bool:
        """Whether there is nobody."""
        return not len(self)

    @property
    def xyxy(self) -> NDArray[np.float32]:
        """Shape (N, 4): left, top, right and bottom of the boxes in image px; a new array."""
        return np.concatenate((self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]), axis=1)

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """The people as one frame of the JSON that `transpose run` writes: only lists, numbers and None.

        Coordinates are rounded to 0.01 px and scores to 0.0001; see `transpose_sdk.media.sinks`.
        """
        rows = np.concatenate((self.keypoints.astype(np.float64).round(2), _rounded(self.scores)[..., None]), axis=2)
        return {
            "people": [
                {
                    "track_id": track_id,
                    "score": score,
                    "box": box,
                    "keypoints": keypoints,
                    "raw_score": raw_score,
                    "raw_scores": raw_scores,
                }
                for track_id, score, box, keypoints, raw_score, raw_scores in zip(
                    [None] * len(self) if self.track_ids is None else self.track_ids.tolist(),
                    _rounded(self.person_scores).tolist(),
                    self.boxes.astype(np.float64).round(2).tolist(),
                    rows.tolist(),
                    _rounded(self.raw_person_scores).tolist(),
                    _rounded(self.raw_scores).tolist(),
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
        """A tidy table, one row a joint, with the columns of `transpose run --csv`.

        They are person, track_id, person_score, keypoint, x, y, score, raw_person_score, raw_score.

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
                "raw_person_score": np.repeat(self.raw_person_scores, k),
                "raw_score": self.raw_scores.ravel(),
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
        own = self[:]  # theirs is not to be ours: supervision filters and scales in place
        classes = np.zeros(len(own), np.int64)
        # Newer releases tell the confidence of a person from that of a joint.
        split = "keypoint_confidence" in inspect.signature(sv.KeyPoints).parameters
        scores: dict[str, Any] = {"keypoint_confidence" if split else "confidence": own.scores}
        if split:
            scores["detection_confidence"] = own.person_scores
        key_points = sv.KeyPoints(xy=own.keypoints, class_id=classes, **scores)
        return key_points, sv.Detections(
            xyxy=own.xyxy, confidence=own.person_scores.copy(), class_id=classes.copy(), tracker_id=own.track_ids
        )


def chosen(poses: Poses, rows: NDArray[np.intp]) -> Poses:
    """The people of an index array, as `poses[rows]`, but the same poses where that is everybody in order.

    For the road from the network to the tracker, where nobody writes into poses: everybody is its usual case, and the
    attention of a person takes 0.4 MB to copy.
    """
    return poses if np.array_equal(rows, np.arange(len(poses))) else poses[rows]


def _rounded(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    return scores.astype(np.float64).round(4)
