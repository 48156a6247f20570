"""Sinks for programs to read: JSON, JSON lines, CSV, COCO results, OpenPose and MOT; videos are in `pictures`.

Every file is complete after each frame (see `files.GrowingFile`), so that a crash or a full disk costs one frame.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from transpose_sdk.errors import SinkError
from transpose_sdk.media.files import FileSink, PosedFrame, Sink, growing_file, sink_errors, write_whole
from transpose_sdk.media.pictures import ImageSink, VideoSink
from transpose_sdk.skeletons import Skeleton
from transpose_sdk.without_secrets import without_secrets

__all__ = [
    "CocoSink", "CsvSink", "ImageSink", "JsonLinesSink", "JsonSink", "MotSink", "OpenPoseSink", "PosedFrame", "Sink",
    "VideoSink",
]  # fmt: skip

SCHEMA = "transpose-sdk/poses/1"
OPENPOSE_NAME = re.compile(r"_\d{12}_keypoints\.json")  # behind a stem
CSV_COLUMNS = (
    "frame", "time", "person", "track_id", "person_score", "keypoint", "x", "y", "score", "raw_person_score",
    "raw_score",
)  # fmt: skip


def frame_record(frame: PosedFrame) -> dict[str, Any]:
    """One frame of the `run` schema.

    {"index", "time", "people": [{"track_id", "score", "box", "keypoints", "raw_score", "raw_scores"}]}, where each
    keypoint is [x, y, score]. The scores are probabilities, of a network whose `model` says "estimated" by another
    network's maps; the raw ones are what the network gave: box score times heatmap maxima, and heatmap maxima.
    """
    return {"index": frame.index, "time": round(frame.time, 6), **frame.poses.to_dict()}


class JsonSink(FileSink):
    """The `run` schema as one JSON document.

        >>> import transpose_sdk as tp
        >>> with tp.PoseStream("clip.mp4") as stream:
        ...     facts = {"source": stream.source.name, "model": stream.estimator.describe()}
        ...     with tp.JsonSink("poses.json", **facts, skeleton=stream.estimator.skeleton) as sink:
        ...         for frame in stream:
        ...             sink.write(frame)

    It can be parsed after every frame.
    """

    def __init__(
        self,
        path: str | Path | IO[bytes],
        *,
        source: Mapping[str, Any] | str,
        model: Mapping[str, Any] | str,
        skeleton: Skeleton,
    ) -> None:
        """Write the document's head.

        Args:
            path: Where to: a path, or an open binary stream such as sys.stdout.buffer, which is left open.
            source: What the frames come from (name, kind, fps, ...), or its name alone; an address without its secrets.
            model: What the poses come from (name, device, precision, ...), or its name alone.
            skeleton: The keypoints' names and edges.

        Raises:
            SinkError: The file cannot be created.
        """
        head: dict[str, Any] = {
            "schema": SCHEMA,
            "source": {"name": without_secrets(source)} if isinstance(source, str) else _named(source),
            "model": {"name": model} if isinstance(model, str) else dict(model),
            "skeleton": {"names": list(skeleton.names), "edges": [list(edge) for edge in skeleton.edges]},
            "frames": [],
        }
        opening = _dumps(head)[: -len(b"]}")]
        self._file = growing_file(path, opening, b"\n]}\n")
        self._separator = b"\n"

    def write(self, frame: PosedFrame) -> None:
        """Add a frame. Raises SinkError where the disk is full or the sink is closed."""
        self._file.append(self._separator + _dumps(frame_record(frame)))
        self._separator = b",\n"

    def close(self) -> None:
        """Close the file. Harmless when called again."""
        self._file.close()


class JsonLinesSink(FileSink):
    """One JSON object a line and frame, like the entries of "frames" in the `run` schema; to a file or a pipe."""

    def __init__(self, target: str | Path | IO[bytes]) -> None:
        """Create the file.

        Args:
            target: A path, or an open binary stream such as sys.stdout.buffer, which is left open.

        Raises:
            SinkError: The file cannot be created.
        """
        self._file = growing_file(target)

    def write(self, frame: PosedFrame) -> None:
        """Add a line. Raises SinkError where the disk is full, the pipe's reader has gone, or the sink is closed."""
        self._file.append(_dumps(frame_record(frame)) + b"\n")

    def close(self) -> None:
        """Close the file; a stream that was lent stays open. Harmless when called again."""
        self._file.close()


class CsvSink(FileSink):
    """A tidy table: one row a joint, with the columns CSV_COLUMNS.

        >>> import transpose_sdk as tp
        >>> with tp.PoseStream("clip.mp4") as stream, tp.CsvSink("poses.csv") as sink:
        ...     for frame in stream:
        ...         sink.write(frame)
        >>> open("poses.csv").readline().split(",")[:4]
        ['frame', 'time', 'person', 'track_id']

    An unknown track id is an empty cell.
    """

    def __init__(self, path: str | Path | IO[bytes]) -> None:
        """Write the header, to a path or a stream that is lent. Raises SinkError where the file cannot be created."""
        self._file = growing_file(path, _csv_lines([CSV_COLUMNS]))

    def write(self, frame: PosedFrame) -> None:
        """Add the rows of a frame; one without people has none.

        Raises:
            SinkError: The disk is full, or the sink is closed.
        """
        record, names = frame_record(frame), frame.poses.skeleton.names
        about = record["index"], record["time"]
        rows = [
            (*about, person, entry["track_id"], entry["score"], name, *joint, entry["raw_score"], raw_score)
            for person, entry in enumerate(record["people"])
            for name, joint, raw_score in zip(names, entry["keypoints"], entry["raw_scores"], strict=True)
        ]
        self._file.append(_csv_lines(rows))

    def close(self) -> None:
        """Close the file. Harmless when called again."""
        self._file.close()


class CocoSink(FileSink):
    """COCO keypoint results, a list that pycocotools' loadRes takes; image_id is the frame's index."""

    def __init__(self, path: str | Path | IO[bytes], category_id: int = 1) -> None:
        """Begin an empty list, in a file or a stream that is lent. Raises SinkError where that fails."""
        self._file = growing_file(path, b"[", b"\n]\n")
        self._category_id = category_id
        self._separator = b"\n"

    def write(self, frame: PosedFrame) -> None:
        """Add the people of a frame. Raises SinkError where the disk is full or the sink is closed."""
        results = frame.poses.to_coco(frame.index, self._category_id)
        if results:
            self._file.append(self._separator + b",\n".join(_dumps(result) for result in results))
            self._separator = b",\n"

    def close(self) -> None:
        """Close the file. Harmless when called again."""
        self._file.close()


class OpenPoseSink(FileSink):
    """A folder with one OpenPose JSON file a frame, the keypoints in our skeleton's order (COCO-17, not BODY_25)."""

    def __init__(self, folder: str | Path, stem: str = "frame") -> None:
        """Create the folder.

        Args:
            folder: Where to.
            stem: Start of the names: STEM_000000000012_keypoints.json holds frame 12. Files of such names that are
                there, of an earlier run, are removed.

        Raises:
            SinkError: The folder cannot be created.
        """
        self.folder = Path(folder)
        self._stem = stem
        with sink_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            # Those of an earlier run would be read as frames of this one.
            for path in self.folder.iterdir():
                rest = path.name.removeprefix(stem)
                if rest != path.name and OPENPOSE_NAME.fullmatch(rest) and path.is_file():
                    path.unlink()

    def write(self, frame: PosedFrame) -> None:
        """Write a frame's file. Raises SinkError where that fails or the sink is closed."""
        self.require_open(self.folder)
        parts = ("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")
        empty: dict[str, list[float]] = {part: [] for part in parts}
        people = [
            {
                "person_id": [-1 if person["track_id"] is None else person["track_id"]],
                "pose_keypoints_2d": [value for joint in person["keypoints"] for value in joint],
                **empty,
            }
            for person in frame_record(frame)["people"]
        ]
        path = self.folder / f"{self._stem}_{frame.index:012d}_keypoints.json"
        write_whole(path, _dumps({"version": 1.3, "people": people}))


class MotSink(FileSink):
    """Boxes and ids in the text format of the MOT challenge: frame and id from 1 on, id -1 where there is no track."""

    def __init__(self, path: str | Path | IO[bytes]) -> None:
        """Create the file, or take a stream that is lent. Raises SinkError where that fails."""
        self._file = growing_file(path)

    def write(self, frame: PosedFrame) -> None:
        """Add a line a person. Raises SinkError where the disk is full or the sink is closed."""
        rows = [
            (frame.index + 1, -1 if p["track_id"] is None else p["track_id"], *p["box"], p["score"], -1, -1, -1)
            for p in frame_record(frame)["people"]
        ]
        self._file.append(_csv_lines(rows))

    def close(self) -> None:
        """Close the file. Harmless when called again."""
        self._file.close()


def _named(source: Mapping[str, Any]) -> dict[str, Any]:
    """A source's record without the secrets of its name."""
    name = source.get("name")
    return {**source, "name": without_secrets(name)} if isinstance(name, str) else dict(source)


def _dumps(value: object) -> bytes:
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        try:
            return text.encode()
        except UnicodeEncodeError:  # a file's name that is not UTF-8, whose bytes Python keeps as lone surrogates
            return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise SinkError(
            f"cannot write as JSON ({error}): expected finite numbers, texts, lists and mappings"
        ) from error


def _csv_lines(rows: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
