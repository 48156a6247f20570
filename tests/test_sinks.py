"""Sinks: what they write is read back with the parsers that its users have, also after errors and full disks."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from transpose_sdk.drawing.annotator import PoseAnnotator
from transpose_sdk.errors import InputError, SinkError
from transpose_sdk.media import encoding, pictures
from transpose_sdk.media.files import FileSink
from transpose_sdk.media.frames import SourceFrame
from transpose_sdk.media.sinks import (
    CocoSink,
    CsvSink,
    ImageSink,
    JsonLinesSink,
    JsonSink,
    MotSink,
    OpenPoseSink,
    VideoSink,
)
from transpose_sdk.media.sources import open_source
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import COCO17


@dataclass(frozen=True)
class StillFrame:
    """A frame as a stream gives it."""

    index: int
    time: float
    image: np.ndarray
    poses: Poses


def frame(index: int, people: int = 2, size: tuple[int, int] = (64, 48), fps: float = 10.0) -> StillFrame:
    """A frame with people whose numbers all differ; those of odd frames are tracked."""
    rng = np.random.default_rng(index)
    width, height = size
    poses = Poses(
        keypoints=(rng.random((people, 17, 2)) * [width, height]).astype(np.float32),
        scores=rng.random((people, 17)).astype(np.float32),
        boxes=np.tile(np.float32([4.25, 5, 20, 30]), (people, 1)),
        person_scores=np.linspace(0.9, 0.5, people).astype(np.float32),
        skeleton=COCO17,
        track_ids=np.arange(people) + 7 if index % 2 else None,
    )
    return StillFrame(index, index / fps, np.full((height, width, 3), 90, np.uint8), poses)


def json_sink(path: Path) -> JsonSink:
    return JsonSink(path, source="clip.mp4", model={"name": "tp_m"}, skeleton=COCO17)


def test_json_holds_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "out.json"  # missing folders are created
    with json_sink(path) as sink:
        for index in range(4):
            sink.write(frame(index, people=index))
    document = json.loads(path.read_text())
    assert list(document) == ["schema", "source", "model", "skeleton", "frames"]
    assert document["schema"] == "transpose-sdk/poses/1"
    assert (document["source"], document["model"]) == ({"name": "clip.mp4"}, {"name": "tp_m"})
    assert document["skeleton"]["names"] == list(COCO17.names)
    assert [tuple(edge) for edge in document["skeleton"]["edges"]] == list(COCO17.edges)
    assert [entry["index"] for entry in document["frames"]] == [0, 1, 2, 3]
    assert [len(entry["people"]) for entry in document["frames"]] == [0, 1, 2, 3]
    entry, given = document["frames"][3], frame(3, people=3)
    assert entry["time"] == pytest.approx(0.3)
    assert [person["track_id"] for person in entry["people"]] == [7, 8, 9]
    assert document["frames"][2]["people"][0]["track_id"] is None
    for person, keypoints, scores in zip(entry["people"], given.poses.keypoints, given.poses.scores, strict=True):
        assert person["box"] == [4.25, 5, 20, 30]
        np.testing.assert_allclose(np.array(person["keypoints"])[:, :2], keypoints, atol=0.0051)
        np.testing.assert_allclose(np.array(person["keypoints"])[:, 2], scores, atol=0.000051)


@pytest.mark.parametrize(("make", "name"), [(json_sink, "out.json"), (CocoSink, "out.json")])
def test_json_can_be_parsed_after_every_frame(tmp_path: Path, make: Callable[[Path], FileSink], name: str) -> None:
    path = tmp_path / name
    path.write_text("an older and longer file\n" * 200)
    sink = make(path)
    sizes = [len(path.read_bytes())]
    for index in range(5):
        json.loads(path.read_text())
        sink.write(frame(index))
        sizes.append(len(path.read_bytes()))
    document = json.loads(path.read_text())
    assert len(document if isinstance(document, list) else document["frames"]) == (10 if make is CocoSink else 5)
    assert sizes == sorted(set(sizes))
    sink.close()
    sink.close()  # twice is harmless


def test_an_exception_in_the_block_leaves_whole_files(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="in the middle"),
        json_sink(tmp_path / "a.json") as one,
        CocoSink(tmp_path / "b.json") as two,
        VideoSink(tmp_path / "c.mp4", 10) as three,
    ):
        for index in range(3):
            for sink in (one, two, three):
                sink.write(frame(index))
        raise RuntimeError("in the middle")
    assert len(json.loads((tmp_path / "a.json").read_text())["frames"]) == 3
    assert len(json.loads((tmp_path / "b.json").read_text())) == 6
    assert len(list(open_source(tmp_path / "c.mp4"))) == 3


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Files of this process cannot grow past `limit` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _json_frames(path: Path) -> int:
    return len(json.loads(path.read_text())["frames"])


def _coco_frames(path: Path) -> int:
    return len({entry["image_id"] for entry in json.loads(path.read_text())})


def _line_frames(path: Path) -> int:
    return len([json.loads(line) for line in path.read_text().splitlines()])


def _mot_frames(path: Path) -> int:
    return len({int(row[0]) for row in np.loadtxt(path, delimiter=",", usecols=range(10), ndmin=2)})


def _csv_frames(path: Path) -> int:
    rows = list(csv.DictReader(path.open()))
    assert len(rows) % 34 == 0  # only whole frames of two people
    return len(rows) // 34


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (json_sink, _json_frames),
        (CocoSink, _coco_frames),
        (JsonLinesSink, _line_frames),
        (CsvSink, _csv_frames),
        (MotSink, _mot_frames),
    ],
)
def test_a_full_disk_keeps_the_frames_before(
    tmp_path: Path, make: Callable[[Path], FileSink], count: Callable[[Path], int]
) -> None:
    path, written = tmp_path / "out", 0
    with pytest.raises(SinkError, match=str(path)), make(path) as sink, file_size_limit(16_000):
        for index in range(1000):
            sink.write(frame(index))
            written += 1
    assert 2 <= written < 1000
    assert count(path) == written


def test_json_lines_go_to_files_and_streams(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with JsonLinesSink(tmp_path / "out.jsonl") as file, JsonLinesSink(stream) as pipe:
        for index in range(3):
            file.write(frame(index))
            pipe.write(frame(index))
    assert stream.getvalue() == (tmp_path / "out.jsonl").read_bytes()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["index"], line["time"], len(line["people"])) for line in lines] == [
        (0, 0, 2),
        (1, 0.1, 2),
        (2, 0.2, 2),
    ]


def test_csv_has_one_row_a_joint(tmp_path: Path) -> None:
    with CsvSink(tmp_path / "out.csv") as sink:
        for index, people in enumerate((2, 0, 1, 1)):
            sink.write(frame(index, people))
    rows = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))
    assert len(rows) == 4 * 17
    assert list(rows[0]) == [
        "frame", "time", "person", "track_id", "person_score", "keypoint", "x", "y", "score", "raw_person_score",
        "raw_score",
    ]  # fmt: skip
    assert [row["keypoint"] for row in rows[:17]] == list(COCO17.names)
    assert {(row["frame"], row["person"], row["track_id"]) for row in rows} == {
        ("0", "0", ""), ("0", "1", ""), ("2", "0", ""), ("3", "0", "7"),
    }  # fmt: skip
    given = frame(3, 1).poses
    assert float(rows[-1]["x"]) == pytest.approx(given.keypoints[0, -1, 0], abs=0.0051)
    assert float(rows[-1]["score"]) == pytest.approx(given.scores[0, -1], abs=0.000051)
    assert float(rows[-1]["raw_score"]) == pytest.approx(given.raw_scores[0, -1], abs=0.000051)


def test_coco_results_load_in_pycocotools(tmp_path: Path) -> None:
    coco_api = pytest.importorskip("pycocotools.coco", reason="pycocotools comes with the train extra")
    with CocoSink(tmp_path / "out.json") as sink:
        for index, people in enumerate((0, 2, 1)):
            sink.write(frame(index, people))
    truth = coco_api.COCO()
    truth.dataset = {
        "images": [{"id": index} for index in range(3)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [],
    }
    truth.createIndex()
    results = truth.loadRes(str(tmp_path / "out.json"))
    assert sorted(entry["image_id"] for entry in results.anns.values()) == [1, 1, 2]
    assert all(len(entry["keypoints"]) == 51 for entry in results.anns.values())


def test_openpose_files(tmp_path: Path) -> None:
    with OpenPoseSink(tmp_path / "poses", stem="walk") as sink:
        sink.write(frame(0, 0))
        sink.write(frame(12, 1))
        sink.write(frame(13, 2))
    names = sorted(path.name for path in (tmp_path / "poses").iterdir())
    assert names == [f"walk_{index:012d}_keypoints.json" for index in (0, 12, 13)]
    documents = [json.loads((tmp_path / "poses" / name).read_text()) for name in names]
    assert [len(document["people"]) for document in documents] == [0, 1, 2]
    person = documents[2]["people"][1]
    assert person["person_id"] == [8]
    assert documents[1]["people"][0]["person_id"] == [-1]
    np.testing.assert_allclose(
        np.reshape(person["pose_keypoints_2d"], (17, 3))[:, :2], frame(13, 2).poses.keypoints[1], atol=0.0051
    )


def test_mot_text(tmp_path: Path) -> None:
    with MotSink(tmp_path / "out.txt") as sink:
        sink.write(frame(0, 1))
        sink.write(frame(1, 2))
    table = np.loadtxt(tmp_path / "out.txt", delimiter=",")
    assert table.shape == (3, 10)
    np.testing.assert_allclose(table[:, :2], [[1, -1], [2, 7], [2, 8]])  # frames count from 1
    np.testing.assert_allclose(table[:, 2:7], [[4.25, 5, 20, 30, s] for s in (0.9, 0.9, 0.5)], atol=1e-4)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".MOV"])
def test_video_is_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    with VideoSink(path, 10.0, PoseAnnotator(min_score=0)) as sink:
        for index in range(6):
            sink.write(frame(index))
    with open_source(path) as source:
        assert source.fps == pytest.approx(10)
        assert source.size == (64, 48)
        frames = list(source)
    assert len(frames) == 6
    assert all(np.ptp(picture.image) > 100 for picture in frames)  # a skeleton on even grey


@pytest.mark.parametrize(
    ("times", "fps", "pictures"),
    [
        ([0.0, 0.1, 0.2], 10.0, 3),
        ([5.0, 5.1, 5.2], 10.0, 3),  # the first frame sets the zero
        ([0.0, 0.1, 0.5, 0.6], 10.0, 7),  # late frames are waited for
        ([0.0, 0.1, 0.11, 0.12, 0.4, 0.5], 10.0, 6),  # those that another follows at once are left out
        ([0.0, 1.0, 2.0, 0.0, 1.0, 2.0], 1.0, 6),  # a clock that began anew goes on
        ([0.0, 0.1, 0.2, 3600.2], 10.0, 603),  # a long gap is not an hour of stills
        ([0.0, 0.001], 10.0, 1),
    ],
)
def test_video_keeps_the_pace(tmp_path: Path, times: list[float], fps: float, pictures: int) -> None:
    assert len(recorded(tmp_path / "out.avi", times, fps)) == pictures


def recorded(path: Path, times: list[float], fps: float | None) -> list[SourceFrame]:
    """What is read back of a video of frames with these times."""
    still = frame(0)
    with VideoSink(path, fps) as sink:
        for index, time in enumerate(times):
            sink.write(StillFrame(index, time, still.image, still.poses))
    with open_source(path) as source:
        return list(source)


def steps(*intervals: tuple[int, float]) -> list[float]:
    """Times of frames that come at (count, seconds) intervals; the end of the last one stands behind them."""
    return [0.0, *np.cumsum([seconds for count, seconds in intervals for _ in range(count)]).tolist()]


@pytest.mark.parametrize("fps", [None, 10.0, 14.516129, 30.0])
@pytest.mark.parametrize(
    "times",
    [
        steps((60, 1 / 60)),
        steps((50, 1 / 25)),
        steps((10, 0.1), (90, 1 / 30)),
        steps((90, 1 / 30), (10, 0.1)),
        steps((240, 1 / 240)),
        steps((4, 2.5)),
        steps((1, 0.04), (1, 7.0), (20, 0.04)),
        np.add(steps((90, 1 / 30)), [*np.random.default_rng(0).uniform(-0.01, 0.01, 90), 0]).tolist(),
    ],
    ids=["60 fps", "25 fps", "slow then fast", "fast then slow", "240 fps", "slides", "gap", "jitter"],
)
def test_recorded_time_is_source_time_to_half_a_picture(tmp_path: Path, times: list[float], fps: float | None) -> None:
    pictures = recorded(tmp_path / "out.avi", times[:-1], fps)
    rate = 1 / (pictures[1].time - pictures[0].time)
    assert abs(len(pictures) / rate - (times[-1] - times[0])) <= 0.5 / rate + 0.011
    assert fps is None or rate == pytest.approx(fps, rel=1e-3)


@pytest.mark.parametrize(
    ("times", "fps"),
    [
        (steps((60, 1 / 60)), 60),
        (steps((60, 1001 / 60000)), 60),
        (steps((30, 0.04)), 25),
        (steps((30, 0.2)), 25),  # each picture five times
        (steps((30, 1 / 14.5)), 29),
        (steps((300, 1 / 1000)), 120),  # no player shows more
        (steps((2, 0.02)), 50),  # over before the rate was asked for
        ([0.0, 1.0], 30),
    ],
)
def test_a_rate_that_is_unknown_is_that_of_the_first_frames(tmp_path: Path, times: list[float], fps: float) -> None:
    recorded(tmp_path / "out.avi", times[:-1], None)
    with open_source(tmp_path / "out.avi") as source:
        assert source.fps == pytest.approx(fps, rel=1e-3)


def test_video_takes_frames_of_changing_size(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "out.avi", 10) as sink:
        for index, size in enumerate([(64, 48), (128, 96), (30, 48), (65, 49)]):
            sink.write(frame(index, people=0, size=size))
    frames = [picture.image for picture in open_source(tmp_path / "out.avi")]
    assert [picture.shape for picture in frames] == [(48, 64, 3)] * 4
    assert (frames[1] > 60).all()  # the same shape fills the picture
    assert (frames[2][:, :10] < 30).all()  # a narrow one gets black sides
    assert (frames[2][:, 30:34] > 60).all()


def test_video_without_frames_leaves_no_file(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "out.mp4"):
        pass
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_stops_before_the_disk_is_full_and_can_be_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    with pytest.raises(SinkError, match=f"{path}: the disk is full"), VideoSink(path, 10) as sink:
        for index in range(8):
            if index == 5:  # the same as a disk with so much less space
                monkeypatch.setattr(pictures, "RESERVED_BYTES", 1 << 60)
            sink.write(frame(index))
    assert len(list(open_source(path))) == 5


@pytest.mark.parametrize("sink", ["openpose", "images"])
def test_a_file_that_does_not_fit_is_taken_away(tmp_path: Path, sink: str) -> None:
    folder = tmp_path / "out"
    make = OpenPoseSink if sink == "openpose" else ImageSink
    with pytest.raises(SinkError, match=str(folder)), make(folder) as files:
        files.write(frame(0, people=1))
        (first,) = folder.iterdir()
        with file_size_limit(first.stat().st_size):
            files.write(frame(1, people=30, size=(640, 480)))
    assert [path.name for path in folder.iterdir()] == [first.name]
    assert json.loads(first.read_text()) if sink == "openpose" else cv2.imread(str(first)) is not None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_behind_an_open_stream_is_named() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(SinkError, match=r"/dev/full.*No space left"):
        JsonLinesSink(full).write(frame(0))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_a_video_that_does_not_fit_is_an_error_and_can_be_played(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 160, 3), np.uint8)
    poses = frame(0, people=0).poses
    with (
        pytest.raises(SinkError, match=r"out.*(too large|No space)"),
        file_size_limit(900_000),
        VideoSink(tmp_path / f"out{suffix}", 10) as sink,
    ):
        for index, picture in enumerate(noise):
            sink.write(StillFrame(index, index / 10, picture, poses))
    assert len(list(open_source(tmp_path / f"out{suffix}"))) >= 20


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv", ".avi"])
def test_browsers_and_phones_play_what_is_saved(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / (os.fsdecode(b"caf\xe9 50%d") + suffix)  # a name that is not UTF-8
    with VideoSink(path, 29.97) as sink:
        for index in range(5):
            sink.write(frame(index, size=(65, 49), fps=29.97))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (64, 48)  # a pixel is cut off: nothing is scaled
        assert stream.codec_context.name == ("mjpeg" if suffix == ".avi" else "h264")
        assert stream.codec_context.pix_fmt in ("yuv420p", "yuvj420p")
        assert stream.average_rate == pytest.approx(29.97, rel=1e-3)
        assert sum(1 for _ in container.decode(stream)) == 5
    if suffix in (".mp4", ".m4v", ".mov"):  # one index, as editors want it, and not the fragments of a recording
        assert stream.frames == 5
        boxes, place, data = [], 0, path.read_bytes()
        while place < len(data):
            boxes.append(data[place + 4 : place + 8].decode())
            place += int.from_bytes(data[place : place + 4], "big")
        assert "moof" not in boxes
        assert boxes.count("moov") == 1
    assert len(list(open_source(path))) == 5


def test_colours_are_kept(tmp_path: Path) -> None:
    colours = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255), (40, 90, 200)]
    picture = np.repeat(np.uint8([colours]), 16, axis=1).repeat(48, axis=0)
    for suffix in (".mp4", ".avi"):
        with VideoSink(tmp_path / f"out{suffix}", 10) as sink:
            sink.write(StillFrame(0, 0.0, picture, frame(0, people=0).poses))
        (read,) = open_source(tmp_path / f"out{suffix}")
        np.testing.assert_allclose(read.image[24, 8::16], np.uint8(colours), atol=8)
        by_opencv = cv2.VideoCapture(str(tmp_path / f"out{suffix}")).read()[1]
        np.testing.assert_allclose(by_opencv[24, 8::16], np.uint8(colours), atol=8)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_a_killed_process_leaves_what_can_be_played(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    program = f"""
import os, signal
from test_sinks import VideoSink, frame
sink = VideoSink({str(path)!r}, 10)
for index in range(200):
    sink.write(frame(index))
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    frames = list(open_source(path))
    assert [read.index for read in frames] == list(range(len(frames)))
    assert len(frames) >= 150  # 2 s are lost at most, and what the encoder's threads work on


def test_a_video_goes_to_a_stream_that_is_lent(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    data: list[bytes] = []
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb") as stream:
        thread = threading.Thread(target=lambda: data.append(reader.read()))
        thread.start()
        with VideoSink(stream, 10) as sink:
            for index in range(12):
                sink.write(frame(index))
        assert not stream.closed
        stream.close()
        thread.join()
    (tmp_path / "out.mkv").write_bytes(data[0])
    with open_source(tmp_path / "out.mkv") as source:
        assert len(list(source)) == 12


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_reader_that_has_gone_is_an_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "wb", buffering=0)
    with pytest.raises(SinkError) as caught, VideoSink(stream, 10) as sink:
        for index in range(12):
            sink.write(frame(index))
    assert isinstance(caught.value.__cause__, BrokenPipeError)
    stream.close()


def test_without_h264_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(encoding, "has_x264", lambda: False)
    with VideoSink(tmp_path / "out.mp4", 10) as sink:
        for index in range(5):
            sink.write(frame(index))
    assert caplog.text.count("browsers do not play") == 1
    assert len(list(open_source(tmp_path / "out.mp4"))) == 5


def test_images(tmp_path: Path) -> None:
    with ImageSink(tmp_path / "one.png") as single:
        single.write(frame(0))
        with pytest.raises(SinkError, match="one image"):
            single.write(frame(1))
    with ImageSink(tmp_path / "many") as numbered, ImageSink(tmp_path / "named", ["a.png", "b.jpg"]) as named:
        for index in range(2):
            numbered.write(frame(index))
            named.write(frame(index))
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*g"))
    assert written == ["many/000000.jpg", "many/000001.jpg", "named/a.png", "named/b.jpg", "one.png"]
    still = frame(0)
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / "one.png")), PoseAnnotator().annotate(still.image, still.poses)
    )


@pytest.mark.parametrize(
    "make",
    [
        json_sink,
        JsonLinesSink,
        CsvSink,
        CocoSink,
        OpenPoseSink,
        MotSink,
        ImageSink,
        lambda path: VideoSink(path / "x.mp4"),
    ],
)
def test_unwritable_places_are_named(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    (tmp_path / "file").write_text("a file where a folder is needed")
    with pytest.raises(SinkError, match=str(tmp_path / "file" / "out")):
        make(tmp_path / "file" / "out")


@pytest.mark.parametrize("make", [lambda: VideoSink("out.gif"), lambda: VideoSink("out"), lambda: ImageSink("out.gif")])
def test_unknown_suffixes_are_named(make: Callable[[], Any]) -> None:
    with pytest.raises(SinkError, match="expected"):
        make()


def test_bad_rate(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fps"):
        VideoSink(tmp_path / "out.mp4", -1)
