"""How well ids last: the stream, the tracker alone, and plain IoU matching, against people annotated by hand.

    python examples/benchmarks/track_identity.py vtest.avi [--people tests/vtest_people.json] [--detector FILE ...]

Needs motmetrics (pip install motmetrics) and the clip of OpenCV's samples (Debian: opencv-doc). Three rows a detector:

IoU      the detector on every frame; boxes joined by the largest total IoU, above 0.3, a track ends after 0.5 s
tracker  the same detections with a pose each, joined by `Tracker`
stream   `PoseStream` as it is, with the detector on demand

A person is found where the IoU with the annotated box is at least 0.5.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

import transpose_sdk as tp
from transpose_sdk.boxes import box_iou
from transpose_sdk.bundles.bundle import DEFAULT_MODEL
from transpose_sdk.media.sources import open_source
from transpose_sdk.stream import DetectionOptions
from transpose_sdk.tracking.tracker import Tracker, TrackingOptions

PEOPLE = Path(__file__).resolve().parents[2] / "tests" / "vtest_people.json"
MATCHES = 0.5  # IoU from which a box is an annotated person's
COLUMNS = {"num_switches": "switches", "num_fragmentations": "fragments", "mota": "MOTA", "idf1": "IDF1"}

Float = NDArray[np.float32]


class Boxes(NamedTuple):
    """People on a frame: ids (N,) and boxes (N, 4) x, y, width, height in px."""

    ids: NDArray[np.int64]
    boxes: Float


@dataclass(frozen=True)
class People:
    """Annotated people of a clip.

    Attributes:
        first: First annotated frame.
        stop: The frame after the last one.
        fps: Frames a second of the clip.
        keyframes: (K, 5) frame, x, y, width, height of each person; linear between them.
        ignored: Ids of those who are neither missed nor false.
    """

    first: int
    stop: int
    fps: float
    keyframes: dict[int, NDArray[np.float64]]
    ignored: frozenset[int]

    @classmethod
    def read(cls, path: Path) -> People:
        """Read the annotation."""
        content = json.loads(path.read_text(encoding="utf-8"))
        people = content["people"]
        return cls(
            *content["frames"],
            fps=content["fps"],
            keyframes={person["id"]: np.array(person["keyframes"], np.float64) for person in people},
            ignored=frozenset(person["id"] for person in people if person["ignore"]),
        )

    def at(self, frame: int, ignored: bool = False) -> Boxes:
        """Who is there, or who of those to be ignored."""
        here = {
            person: keys
            for person, keys in self.keyframes.items()
            if keys[0, 0] <= frame <= keys[-1, 0] and (person in self.ignored) == ignored
        }
        boxes = [[np.interp(frame, keys[:, 0], keys[:, side]) for side in range(1, 5)] for keys in here.values()]
        return Boxes(np.array(list(here), np.int64), np.array(boxes, np.float32).reshape(-1, 4))


def iou_tracks(
    detections: Iterable[Float], fps: float, lowest: float = 0.3, longest_gap: float = 0.5
) -> Iterator[Boxes]:
    """Plain IoU matching: each frame's boxes (N, 4) to the last boxes of the tracks, without any prediction."""
    last, seen, ids = np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0, np.int64)
    known = 0
    for index, boxes in enumerate(detections):
        alive = index - seen <= longest_gap * fps
        last, seen, ids = last[alive], seen[alive], ids[alive]
        overlap = box_iou(last, boxes)
        rows, columns = linear_sum_assignment(np.where(overlap >= lowest, overlap, 0), maximize=True)
        real = overlap[rows, columns] >= lowest
        rows, columns = rows[real], columns[real]
        last[rows], seen[rows] = boxes[columns], index
        found = np.zeros(len(boxes), np.int64)
        found[columns] = ids[rows]
        new = np.flatnonzero(found == 0)
        found[new] = known + 1 + np.arange(len(new))
        known += len(new)
        last = np.concatenate((last, boxes[new]))
        seen = np.concatenate((seen, np.full(len(new), index)))
        ids = np.concatenate((ids, found[new]))
        yield Boxes(found, boxes)


def tracker_tracks(
    clip: str, stop: int, estimator: tp.PoseEstimator, options: TrackingOptions | None = None
) -> tuple[list[Boxes], list[Float]]:
    """The tracker on detections of every frame; also the detections."""
    tracker, found, detections = Tracker(estimator.skeleton, options), [], []
    with open_source(clip, stop=stop) as source:
        for frame in source:
            boxes, scores = estimator.detector(frame.image)
            poses = tracker.update(estimator(frame.image, boxes, scores), frame.time, scores)
            found.append(boxes_of(poses))
            detections.append(boxes)
    return found, detections


def stream_tracks(
    clip: str,
    stop: int,
    estimator: tp.PoseEstimator,
    options: TrackingOptions | None = None,
    detection: DetectionOptions | None = None,
) -> tuple[list[Boxes], int]:
    """What the stream gives for every frame, and how often its detector ran."""
    source = open_source(clip, stop=stop)
    with tp.PoseStream(source, estimator, policy="every", tracking=options, detection=detection) as stream:
        frames = list(stream)
    return [boxes_of(frame.poses) for frame in frames], sum(frame.look is not None for frame in frames)


def boxes_of(poses: tp.Poses) -> Boxes:
    """The people of a frame with their ids."""
    assert poses.track_ids is not None
    return Boxes(poses.track_ids, poses.boxes)


def score(people: People, found: list[Boxes]) -> dict[str, float]:
    """ID switches, fragmentations, MOTA, IDF1 and so on by motmetrics, and how many ids, on the annotated frames."""
    import motmetrics

    metrics, given = motmetrics.MOTAccumulator(), set()
    for frame in range(people.first, people.stop):
        ids, boxes = found[frame]
        centers = boxes[:, None, :2] + boxes[:, None, 2:] / 2 - people.at(frame, ignored=True).boxes[None, :, :2]
        inside = (centers >= 0) & (centers <= people.at(frame, ignored=True).boxes[None, :, 2:])
        counted = ~inside.all(axis=2).any(axis=1)
        truth = people.at(frame)
        distances = 1 - box_iou(truth.boxes, boxes[counted]).astype(np.float64)
        distances[distances > 1 - MATCHES] = np.nan
        metrics.update(truth.ids.tolist(), ids[counted].tolist(), distances, frameid=frame)
        given |= set(ids[counted].tolist())
    summary: Any = motmetrics.metrics.create().compute(metrics, metrics=[*COLUMNS, "recall", "precision"])
    return {**{name: float(summary[name].iloc[0]) for name in summary}, "ids": len(given)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("--people", type=Path, default=PEOPLE)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--device", default="CPU")
    parser.add_argument("--detector", nargs="+", default=["person"], help="names or files")
    parser.add_argument("--stop", type=int, help="only so many frames of the annotated ones")
    args = parser.parse_args()
    out = sys.stdout.write
    people = People.read(args.people)
    stop = people.stop if args.stop is None else min(args.stop, people.stop)
    people = People(people.first, stop, people.fps, people.keyframes, people.ignored)
    count = len({person for frame in range(people.first, stop) for person in people.at(frame).ids.tolist()})
    out(f"{Path(args.clip).name}, frames {people.first} to {stop - 1}, {count} people; model {args.model}\n")
    out("detector             ids by    detector runs  ids  switches  fragments  recall  precision   MOTA   IDF1\n")
    for spec in args.detector:
        with tp.PoseEstimator(args.model, args.device, detector=spec) as estimator:
            tracked, detections = tracker_tracks(args.clip, stop, estimator)
            streamed, runs = stream_tracks(args.clip, stop, estimator)
        rows = {"IoU": list(iou_tracks(detections, people.fps)), "tracker": tracked, "stream": streamed}
        for name, found in rows.items():
            line = score(people, found)
            out(f"{Path(spec).stem:21}{name:10}{runs if name == 'stream' else stop:13d}{line['ids']:5.0f}")
            out(f"{line['num_switches']:10.0f}{line['num_fragmentations']:11.0f}{line['recall']:8.3f}")
            out(f"{line['precision']:11.3f}{line['mota']:7.3f}{line['idf1']:7.3f}\n")


if __name__ == "__main__":
    main()
