"""Who is who: poses of successive frames joined to tracks by OKS, IoU and a motion prediction."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from transpose_sdk.arrays import Bool, Float
from transpose_sdk.boxes import box_iou, grown_boxes, pose_boxes
from transpose_sdk.checks.ranges import ABOVE_0, COUNT, FROM_0, SHARE, check_ranges
from transpose_sdk.oks import oks, oks_nms
from transpose_sdk.poses import Poses, chosen
from transpose_sdk.scores import SCORE_FLOOR
from transpose_sdk.skeletons import Skeleton


@dataclass(frozen=True)
class TrackingOptions:
    """Options of the tracker.

    Attributes:
        duplicate: OKS above which the worse of two poses is dropped. Published is 0.9, for the score of a benchmark;
            here a person who is posed twice would get two ids, and who is hidden so well comes back with the old one.
        birth_score: Person score, the probability that the pose is right, from which an unknown one starts a track. It
            also has to be seen `confirm` times: one false alarm seldom is.
        keep_score: Person score from which a pose can carry on a track. Its person was there a moment ago, and most
            of those who are half hidden score lower than most false alarms do.
        confirm: Times a new track has to be seen, in a row, before it gets an id and is shown. The people on the very
            first frame, and on the first of a new scene, need no confirmation.
        similarity: Lowest mean of OKS and IoU that joins a pose to a track that was seen in the last frame.
        lost_similarity: Lowest IoU, of boxes grown by `search`, that brings back a track that was not.
        search: How far around its predicted box a lost track is looked for, as a share of the box.
        timeout: Seconds after which a lost track is dead. Its id is never used again.
        position_time: Seconds over which the box is smoothed.
        motion_time: Seconds after which a motion that is no longer seen has died away.
    """

    duplicate: float = 0.5
    birth_score: float = 0.15
    keep_score: float = 0.02
    confirm: int = 3
    similarity: float = 0.25
    lost_similarity: float = 0.2
    search: float = 0.5
    timeout: float = 2.0
    position_time: float = 0.15
    motion_time: float = 0.5

    def __post_init__(self) -> None:
        check_ranges(self, duplicate=SHARE, birth_score=FROM_0, keep_score=FROM_0, confirm=COUNT, similarity=SHARE)
        check_ranges(self, lost_similarity=SHARE, search=FROM_0, timeout=FROM_0)
        check_ranges(self, position_time=ABOVE_0, motion_time=ABOVE_0)


@dataclass(frozen=True, eq=False)
class Tracks:
    """All T tracks at one time; never changed once made, so that other threads may read it.

    Attributes:
        time: Seconds.
        ids: (T,) int64; 0 before a track is confirmed.
        hits: (T,) int64, times seen.
        seen: (T,) float64, time when last seen.
        missed: (T,) float64, time when first missed since; nan where it was seen in the last frame.
        centers: (T, 2) float32, of the smoothed box in px, when last seen.
        sizes: (T, 2) float32, its width and height.
        velocities: (T, 2) float32, px a second.
        keypoints: (T, K, 2) float32, px, when last seen.
        raw_scores: (T, K) float32, of the keypoints.
        box_scores: (T,) float32, of the detection that the track goes back to, less where later ones missed it.
        raw_person_scores: (T,) float32, when last seen.
        usual_scores: (T,) float32, their running mean.
    """

    time: float
    ids: NDArray[np.int64]
    hits: NDArray[np.int64]
    seen: NDArray[np.float64]
    missed: NDArray[np.float64]
    centers: Float
    sizes: Float
    velocities: Float
    keypoints: Float
    raw_scores: Float
    box_scores: Float
    raw_person_scores: Float
    usual_scores: Float

    @classmethod
    def empty(cls, skeleton: Skeleton, time: float = -np.inf) -> Tracks:
        """No tracks, in arrays of the right shapes and types."""
        nobody = Poses.empty(skeleton)
        return _newborn(nobody, nobody.boxes, nobody.person_scores, time)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> Tracks:
        """The tracks chosen by a mask or an index array."""
        chosen: dict[str, Any] = {field.name: getattr(self, field.name)[index] for field in fields(self)[1:]}
        return Tracks(time=self.time, **chosen)

    @property
    def confirmed(self) -> Bool:
        """(T,): the tracks that have an id."""
        return self.ids > 0

    @property
    def lost(self) -> Bool:
        """(T,): the tracks that were not seen in the last frame."""
        return ~np.isnan(self.missed)

    def moved(self, time: float, motion_time: float) -> Float:
        """How far each track has moved by then since it was last seen, (T, 2) px; its motion dies away."""
        seconds = motion_time * (1 - np.exp(-(time - self.seen) / motion_time))
        return (self.velocities * seconds[:, None]).astype(np.float32)

    def boxes(self, time: float, motion_time: float) -> Float:
        """Where the boxes will be, (T, 4) x, y, width, height in px."""
        centers = self.centers + self.moved(time, motion_time)
        return np.concatenate((centers - self.sizes / 2, self.sizes), axis=1)


class Tracker:
    """Gives people ids that last.

    Args:
        skeleton: What the keypoints are.
        options: What it goes by; the defaults of `TrackingOptions` if None.

    Attributes:
        tracks: All tracks after the last frame.
    """

    def __init__(self, skeleton: Skeleton, options: TrackingOptions | None = None) -> None:
        self.options = options or TrackingOptions()
        self.tracks = Tracks.empty(skeleton)
        self._next_id = 1
        self._first = True

    def end_tracks(self) -> None:
        """End all tracks: another scene begins. Their ids are never used again, and whoever is on its first frame gets
        one at once, as on the very first frame.
        """
        self.tracks = self.tracks[:0]
        self._first = True

    def update(self, poses: Poses, time: float, box_scores: Float | None = None, sought: float | None = None) -> Poses:
        """Join the poses of the next frame to the tracks.

        Args:
            poses: The people on the frame, perhaps twice.
            time: Of the frame in seconds, later than that of the last one.
            box_scores: (N,), of the boxes that the poses were found in; the person scores if None.
            sought: Time of the tracks whose boxes were looked at on this frame, which is some frames old where several
                are in the network; the last frame's if None. A track born since was not looked for, so it is not
                missed.

        Returns:
            The poses of confirmed tracks, with their ids, best first.
        """
        options = self.options
        box_scores = poses.person_scores if box_scores is None else box_scores
        kept = np.flatnonzero(poses.person_scores >= options.keep_score)
        poses, box_scores = chosen(poses, kept), box_scores[kept]
        boxes = pose_boxes(poses)
        kept = oks_nms(poses.keypoints, poses.person_scores, boxes[:, 2:].prod(1), poses.skeleton, options.duplicate)
        poses, boxes, box_scores = chosen(poses, kept), boxes[kept], box_scores[kept]
        self.tracks = self.tracks[time - self.tracks.seen <= options.timeout]
        track_of = self._assign(poses, boxes, time)
        carried = np.flatnonzero(track_of >= 0)
        born = np.flatnonzero((track_of < 0) & (poses.person_scores >= options.birth_score))

        tracks = self._carry_on(track_of[carried], chosen(poses, carried), boxes[carried], box_scores[carried], time)
        if sought is not None:
            unsought = (tracks.hits == 1) & (tracks.seen > sought)
            tracks = replace(tracks, missed=np.where(unsought, np.nan, tracks.missed))
        alive = ~tracks.lost | tracks.confirmed
        place_of_track = np.where(alive, np.cumsum(alive) - 1, -1)
        tracks = _joined(tracks[alive], _newborn(chosen(poses, born), boxes[born], box_scores[born], time))

        confirmed = ~tracks.confirmed & ((tracks.hits >= options.confirm) | self._first)
        ids = tracks.ids.copy()
        ids[confirmed] = self._next_id + np.arange(confirmed.sum())
        self._next_id += int(confirmed.sum())
        self._first = False
        self.tracks = replace(tracks, ids=ids, time=time)

        place = np.full(len(poses), -1)
        place[carried] = place_of_track[track_of[carried]]
        place[born] = alive.sum() + np.arange(len(born))
        pose_ids = np.where(place >= 0, ids[place], 0) if len(ids) else np.zeros(len(poses), np.int64)
        shown = pose_ids > 0
        return replace(chosen(poses, np.flatnonzero(shown)), track_ids=pose_ids[shown])

    def _assign(self, poses: Poses, found: Float, time: float) -> NDArray[np.intp]:
        """The track of each pose, (N,), -1 for none: first those seen in the last frame, then the lost ones.

        `found` are the poses' boxes, (N, 4).
        """
        options, tracks = self.options, self.tracks
        track_of = np.full(len(poses), -1, np.intp)
        if not len(tracks) or not len(poses):
            return track_of
        expected = tracks.boxes(time, options.motion_time)
        keypoints = tracks.keypoints + tracks.moved(time, options.motion_time)[:, None]
        areas = np.sqrt(tracks.sizes.prod(1)[:, None] * found[:, 2:].prod(1)[None])
        likeness = oks(keypoints, poses.keypoints, areas, poses.skeleton, tracks.raw_scores > SCORE_FLOOR)
        similarity = np.float32(0.5) * (likeness + box_iou(expected, found))

        confident = np.flatnonzero(~tracks.lost)
        rows, columns = _best_pairs(similarity[confident], options.similarity)
        track_of[columns] = confident[rows]
        rest = np.flatnonzero((np.arange(len(tracks)) != track_of[:, None]).all(axis=0))
        free = np.flatnonzero(track_of < 0)
        if len(rest) and len(free):
            nearby = box_iou(grown_boxes(expected[rest], options.search), grown_boxes(found[free], options.search))
            rows, columns = _best_pairs(nearby, options.lost_similarity)
            track_of[free[columns]] = rest[rows]
        return track_of

    def _carry_on(self, rows: NDArray[np.intp], poses: Poses, boxes: Float, box_scores: Float, time: float) -> Tracks:
        """All tracks after the frame: `rows` with their new poses, the others missed."""
        options, tracks = self.options, self.tracks
        missed = np.where(np.isnan(tracks.missed), time, tracks.missed)
        missed[rows] = np.nan
        seen, hits = tracks.seen.copy(), tracks.hits.copy()
        interval = np.maximum(time - seen[rows], 1e-6)[:, None]
        seen[rows] = time
        hits[rows] += 1
        # An alpha-beta filter in its critically damped form; a young track averages over all it has seen so far.
        k = hits[rows][:, None]
        steady = 1 - np.exp(-interval / options.position_time)
        alpha = np.maximum(steady, 2 * (2 * k - 1) / (k * (k + 1)))
        beta = np.maximum(steady**2 / (2 - steady), 6 / (k * (k + 1)))
        expected = (tracks.centers + tracks.moved(time, options.motion_time))[rows]
        surprise = boxes[:, :2] + boxes[:, 2:] / 2 - expected
        centers, sizes, velocities = tracks.centers.copy(), tracks.sizes.copy(), tracks.velocities.copy()
        centers[rows] = expected + alpha * surprise
        velocities[rows] += beta * surprise / interval
        sizes[rows] += alpha * (boxes[:, 2:] - sizes[rows])
        usual = tracks.usual_scores.copy()
        usual[rows] += 0.1 * (poses.raw_person_scores - usual[rows])
        latest = {"keypoints": poses.keypoints, "raw_scores": poses.raw_scores, "box_scores": box_scores}
        latest["raw_person_scores"] = poses.raw_person_scores
        changed = {name: getattr(tracks, name).copy() for name in latest}
        for name, values in latest.items():
            changed[name][rows] = values
        return replace(
            tracks,
            hits=hits,
            seen=seen,
            missed=missed,
            centers=centers,
            sizes=sizes,
            velocities=velocities,
            usual_scores=usual,
            **changed,
        )


def _best_pairs(similarity: Float, lowest: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the one-to-one assignment of the largest total similarity, without pairs below the lowest."""
    worth = np.where(similarity >= lowest, similarity, 0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    real = worth[rows, columns] > 0
    return rows[real], columns[real]


def _newborn(poses: Poses, boxes: Float, box_scores: Float, time: float) -> Tracks:
    """A track for each pose, seen once."""
    count = len(poses)
    return Tracks(
        time=time,
        ids=np.zeros(count, np.int64),
        hits=np.ones(count, np.int64),
        seen=np.full(count, time),
        missed=np.full(count, np.nan),
        centers=boxes[:, :2] + np.float32(0.5) * boxes[:, 2:],
        sizes=boxes[:, 2:],
        velocities=np.zeros((count, 2), np.float32),
        keypoints=poses.keypoints,
        raw_scores=poses.raw_scores,
        box_scores=box_scores,
        raw_person_scores=poses.raw_person_scores,
        usual_scores=poses.raw_person_scores,
    )


def _joined(tracks: Tracks, others: Tracks) -> Tracks:
    values: dict[str, Any] = {
        field.name: np.concatenate((getattr(tracks, field.name), getattr(others, field.name)))
        for field in fields(Tracks)[1:]
    }
    return Tracks(time=others.time, **values)
