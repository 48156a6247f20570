"""Sources: frames, indices and times of files, folders, globs, streams and arrays, and the errors of bad ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from av import VideoFrame
from encoded_videos import encode, grey, number

from transpose_sdk.errors import InputError, SourceError
from transpose_sdk.media import video
from transpose_sdk.media.decoder import NETWORK_TIMEOUT, Decoder
from transpose_sdk.media.frames import FrameClock, Source, SourceFrame
from transpose_sdk.media.sources import ImageSource, open_source
from transpose_sdk.media.video import VideoSource

FPS = 12.5


def grey_level(index: int) -> int:
    """The grey of frame `index` of the clip, far enough apart to survive compression."""
    return 20 + 12 * index


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 15 frames of 64x48 px at 12.5 fps, each of its own grey."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (64, 48))
    for index in range(15):
        writer.write(np.full((48, 64, 3), grey_level(index), np.uint8))
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images named without leading zeros, one of them grey and one with alpha, and a file that is no image."""
    for index, shape in ((2, (8, 10, 3)), (10, (8, 10)), (1, (8, 10, 4))):
        cv2.imwrite(str(tmp_path / f"shot_{index}.png"), np.full(shape, grey_level(index), np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "indices"),
    [
        ({}, range(15)),
        ({"start": 4}, range(4, 15)),
        ({"stop": 3}, range(3)),
        ({"stride": 4}, range(0, 15, 4)),
        ({"start": 3, "stop": 11, "stride": 3}, range(3, 11, 3)),
        ({"stop": 99}, range(15)),  # a stop past the end is the end
        ({"start": 99}, range(0)),  # a start past the end gives nothing, like a slice
    ],
)
def test_video_frames_are_those_of_a_slice(clip: Path, options: dict[str, int], indices: range) -> None:
    with open_source(clip, **options) as source:
        assert isinstance(source, Source)
        assert (source.kind, source.size, source.live) == ("video", (64, 48), False)
        assert source.fps == pytest.approx(FPS / options.get("stride", 1))
        assert source.frame_count == len(indices)
        frames = list(source)
    assert [frame.index for frame in frames] == list(indices)
    for frame in frames:
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.mean() == pytest.approx(grey_level(frame.index), abs=4)
        assert frame.time == pytest.approx(frame.index / FPS, abs=1e-3)


def test_fps_overrules_the_times_of_a_video(clip: Path) -> None:
    with open_source(clip, fps=50.0) as source:
        assert source.fps == 50.0
        np.testing.assert_allclose([frame.time for frame in source], np.arange(15) / 50.0, atol=1e-9)


def test_a_video_cut_short_gives_what_can_be_decoded(tmp_path: Path) -> None:
    path = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    noise = np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), np.uint8)
    for picture in noise:
        writer.write(picture)
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with open_source(path) as source:
        assert 0 < len(list(source)) < 20


@pytest.mark.parametrize(("name", "codec"), [("clip.avi", "MJPG"), ("clip.mp4", "mp4v")])
def test_corrupt_packets_cost_their_frames_and_no_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, codec: str
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / name
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10.0, (64, 48))
    for _ in range(40):
        writer.write(rng.integers(0, 255, (48, 64, 3), np.uint8))
    writer.release()
    data = path.read_bytes()
    if codec == "MJPG":
        packets = data.split(b"00dc")  # the index at the end has the same words and comes last
        packets[15:18] = [packet[:4] + bytes(len(packet) - 4) for packet in packets[15:18]]
        path.write_bytes(b"00dc".join(packets))
    else:
        start, stop = int(0.4 * len(data)), int(0.5 * len(data))
        path.write_bytes(data[:start] + rng.bytes(stop - start) + data[stop:])
    with open_source(path) as source:
        assert isinstance(source, VideoSource)
        frames = list(source)
        lost = source.damaged
    assert 0 < lost < 10
    assert frames[-1].index > 30
    assert len(frames) == frames[-1].index + 1 - lost
    # What is left keeps its index and its time.
    np.testing.assert_allclose([frame.time for frame in frames], [frame.index / 10 for frame in frames], atol=1e-3)
    assert caplog.text.count("cannot be decoded") == 1
    assert f"{lost} frames of {path}" in caplog.text


def test_a_video_without_a_frame_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.avi"
    cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48)).release()
    assert path.stat().st_size > 0
    with pytest.raises(SourceError, match=r"no frame of .*none\.avi"):
        open_source(path)


@pytest.fixture(scope="module", params=[("long.mp4", "mp4v"), ("long.avi", "MJPG")], ids=["mp4", "avi"])
def long_clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 noisy frames."""
    name, codec = request.param
    path = tmp_path_factory.mktemp("video") / name
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10.0, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(120):
        writer.write(rng.integers(0, 255, (48, 64, 3), np.uint8))
    writer.release()
    return path


def frames_and_decoded(path: Path, start: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[SourceFrame], int]:
    """Three frames of a clip from `start` on, every third, and how many were decoded for them."""
    decoded = 0

    class Counted(Decoder):
        def __iter__(self) -> Iterator[VideoFrame | None]:
            nonlocal decoded
            for frame in super().__iter__():
                decoded += 1
                yield frame

    with monkeypatch.context() as patch:
        patch.setattr(video, "Decoder", Counted)
        with open_source(path, start=start, stop=start + 8, stride=3) as source:
            frames = list(source)
    assert [frame.index for frame in frames] == [start, start + 3, start + 6]
    return frames, decoded


def test_a_late_start_is_sought_and_exact(long_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sought, few = frames_and_decoded(long_clip, 90, monkeypatch)
    monkeypatch.setattr(video, "WORTH_SEEKING", 1000)
    counted, many = frames_and_decoded(long_clip, 90, monkeypatch)
    assert few < 25
    assert many > 95
    for one, other in zip(sought, counted, strict=True):
        assert one.time == pytest.approx(other.time)
        np.testing.assert_array_equal(one.image, other.image)


def test_uneven_frames_are_counted_not_sought(long_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(long_clip.read_bytes())
    if long_clip.suffix == ".mp4":
        table = data.index(b"stts") + 8  # one entry: 120 frames of so long
        assert data[table - 4 : table + 4] == b"\0\0\0\0\0\0\0\1"
        data[table : table + 4] = (3).to_bytes(4, "big")  # the next boxes read as durations: three different ones
    else:
        index = data.index(b"idx1") + 8 + 40 * 16
        data[index + 12 : index + 16] = bytes(4)  # frame 40 is empty: one that was dropped
    uneven = tmp_path / long_clip.name
    uneven.write_bytes(data)
    _, decoded = frames_and_decoded(uneven, 90, monkeypatch)
    assert decoded > 95


def test_closing_from_another_thread_ends_the_iteration(clip: Path) -> None:
    source = open_source(clip)
    frames = iter(source)
    next(frames)
    thread = threading.Thread(target=source.close)
    thread.start()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert list(frames) == []


@pytest.mark.parametrize(
    ("pattern", "options", "indices", "grey"),
    [
        ("", {}, [0, 1, 2], [1, 2, 10]),  # a folder, 2 before 10
        ("shot_*.png", {}, [0, 1, 2], [1, 2, 10]),
        ("shot_1*.png", {}, [0, 1], [1, 10]),
        ("shot_2.png", {}, [0], [2]),
        ("", {"start": 1, "stride": 1}, [1, 2], [2, 10]),
    ],
)
def test_images(folder: Path, pattern: str, options: dict[str, int], indices: list[int], grey: list[int]) -> None:
    with open_source(str(folder / pattern), fps=4.0, **options) as source:
        assert (source.kind, source.frame_count, source.fps) == ("images", len(indices), 4.0)
        frames = list(source)
    assert [frame.index for frame in frames] == indices
    assert [frame.time for frame in frames] == [index / 4 for index in indices]
    for frame, level in zip(frames, grey, strict=True):
        assert frame.image.shape == (8, 10, 3)  # grey and alpha become BGR
        assert (frame.image == grey_level(level)).all()


def test_unreadable_images_are_skipped_and_named_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "shot_3.png").write_bytes((folder / "shot_2.png").read_bytes()[:40])
    (folder / "shot_4.jpg").touch()
    with open_source(folder) as source:
        assert [frame.index for frame in source] == [0, 1, 4]
        assert isinstance(source, ImageSource)
        assert [path.name for path in source.skipped] == ["shot_3.png", "shot_4.jpg"]
    (message,) = caplog.messages
    assert all(word in message for word in ("skipped 2 of 5", str(folder), "shot_3.png, shot_4.jpg"))


def test_a_folder_with_nothing_readable_is_an_error(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "c.png"):
        (tmp_path / name).write_text("this is no image")
    with pytest.raises(SourceError, match=r"a\.png .*cannot be decoded.* nor can 2 more"):
        list(open_source(tmp_path))


@pytest.mark.parametrize("shape", [(6, 8, 3), (6, 8), (6, 8, 1), (6, 8, 4)])
def test_arrays_become_bgr(shape: tuple[int, ...]) -> None:
    array = np.full(shape, 77, np.uint8)
    (frame,) = open_source([array])
    assert frame.image.shape == (6, 8, 3)
    assert (frame.image == 77).all()


def test_arrays_from_a_generator_are_taken_lazily() -> None:
    taken = []

    def endless() -> Iterator[np.ndarray]:
        while True:
            taken.append(1)
            yield np.zeros((4, 4, 3), np.uint8)

    source = open_source(endless(), start=1, stop=6, stride=2, fps=10)
    assert (source.kind, source.frame_count) == ("array", None)
    assert [(frame.index, frame.time) for frame in source] == [(1, 0.1), (3, 0.3), (5, 0.5)]
    assert len(taken) == 6


def test_one_array_is_one_frame_and_a_stack_is_many() -> None:
    assert len(list(open_source(np.zeros((6, 8, 3), np.uint8)))) == 1
    stack = open_source(np.zeros((5, 6, 8, 3), np.uint8), stride=2)
    assert stack.frame_count == len(list(stack)) == 3
    assert list(open_source([])) == []


def test_what_is_read_ahead_is_no_longer_the_callers() -> None:
    buffer = np.zeros((6, 8, 3), np.uint8)

    def one_buffer() -> Iterator[np.ndarray]:
        for index in range(8):
            buffer[:] = index
            yield buffer

    frames = list(open_source(one_buffer()))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(8))
    lent = [np.full((6, 8, 3), 5, np.uint8)]
    (frame,) = open_source(lent)
    assert frame.owned
    frame.image[:] = 99  # somebody draws on the frame
    assert (lent[0] == 5).all()


def test_names_of_jpegs(tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", np.full((8, 10, 3), 90, np.uint8))[1].tobytes()
    for name in ("a.jfif", "b.jpe", "c.JPG"):
        (tmp_path / name).write_bytes(data)
        assert len(list(open_source(tmp_path / name))) == 1
    assert len(list(open_source(tmp_path))) == 3


def animation(path: Path, count: int = 4) -> Path:
    """Pictures of ever lighter grey, a tenth of a second each; the kind by the name."""
    image = pytest.importorskip("PIL.Image", reason="Pillow comes with the explain extra")
    first, *rest = (image.fromarray(np.full((40, 60, 3), 60 + 40 * index, np.uint8)) for index in range(count))
    first.save(path, save_all=True, append_images=rest, duration=100, loop=0)
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.apng"])
def test_animations_give_all_their_pictures(tmp_path: Path, name: str) -> None:
    if name == "a.webp" and not hasattr(cv2, "imreadanimation"):
        pytest.skip("OpenCV reads animated WebP from 4.11 on")
    path = animation(tmp_path / "a.png").rename(tmp_path / name) if name == "a.apng" else animation(tmp_path / name)
    with open_source(path) as source:
        assert source.name == str(path)
        frames = list(source)
    assert [round((int(frame.image[20, 30, 0]) - 60) / 40) for frame in frames] == [0, 1, 2, 3]
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.1, 0.2, 0.3], atol=1e-6)
    still = tmp_path / f"still{Path(name).suffix}"
    animation(tmp_path / ("still.png" if name == "a.apng" else still.name), 1)
    assert len(list(open_source(still if still.exists() else tmp_path / "still.png"))) == 1


def test_what_a_folder_holds_beside_pictures_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("clip.mp4", "phone.HEIC", "moving.gif"):
        (folder / name).write_bytes(b"whatever")
    assert len(list(open_source(folder))) == 3
    (message,) = caplog.messages
    assert all(word in message for word in ("3 files of", "clip.mp4", "moving.gif", "phone.HEIC", "passed over"))
    caplog.clear()
    assert len(list(open_source(str(folder / "*")))) == 3
    assert "clip.mp4" in caplog.text
    for path in folder.glob("shot_*"):
        path.unlink()
    with pytest.raises(SourceError, match=r"no images in the folder .*clip\.mp4"):
        open_source(folder)
    with pytest.raises(SourceError, match="convert it to JPEG"):
        open_source(folder / "phone.HEIC")


class EndlessCamera:
    """An iterator that knows how to close itself, as a caller's own camera may."""

    def __init__(self) -> None:
        self.closed = False

    def __iter__(self) -> EndlessCamera:
        return self

    def __next__(self) -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint8)

    def close(self) -> None:
        self.closed = True


def test_generators_end_with_the_source_and_what_else_was_lent_stays_open() -> None:
    ended = []

    def camera() -> Iterator[np.ndarray]:
        try:
            while True:
                yield np.zeros((4, 4, 3), np.uint8)
        finally:
            ended.append(1)

    frames = camera()
    with open_source(frames) as source:
        for _ in source:
            break
        assert ended == [1]
    frames = camera()
    assert len(list(open_source(frames, stop=3))) == 3
    assert ended == [1, 1]
    frames = camera()
    assert len(list(open_source(chain(frames), stop=3))) == 3
    assert next(frames).shape == (4, 4, 3)  # lent, so that the caller can go on
    own = EndlessCamera()
    assert len(list(open_source(own, stop=3))) == 3
    assert not own.closed


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([0.0, 0.1, 0.2], [0.0, 0.1, 0.2]),
        ([5.0, 5.1], [5.0, 5.1]),  # a clock may start anywhere
        ([0.0, 0.1, 60.0], [0.0, 0.1, 60.0]),  # a gap is real
        ([0.0, 0.1, 0.1, 0.3], [0.0, 0.1, 0.15, 0.3]),  # repeated: half a frame on
        ([0.0, 0.2, 0.1, 0.3], [0.0, 0.2, 0.25, 0.3]),  # out of order
        ([7.0, 7.1, 0.0, 0.1], [7.0, 7.1, 7.2, 7.3]),  # reset: goes on
        ([0.0, float("nan"), 0.2], [0.0, 0.1, 0.2]),
    ],
)
def test_clock_is_strictly_increasing(stamps: list[float], times: list[float]) -> None:
    clock = FrameClock(0.1)
    assert [clock.tick(stamp) for stamp in stamps] == pytest.approx(times)
    pairs = [(stamp, np.zeros((2, 2, 3), np.uint8)) for stamp in stamps]
    assert [frame.time for frame in open_source(pairs, fps=10)] == pytest.approx(times)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), ["float32", "uint8", "255"]),
        (np.zeros((4, 4, 3), np.int64), ["int64", "uint8"]),
        (np.zeros((3, 4, 5), np.uint8), ["(3, 4, 5)", "transpose"]),
        (np.zeros((0, 4, 3), np.uint8), ["(0, 4, 3)"]),
        ([[1, 2], [3, 4]], ["list", "asarray"]),
        ((1.0, 2.0, 3.0), ["tuple", "(seconds, array)"]),
        (("a", np.zeros((4, 4, 3), np.uint8)), ["str", "(seconds, array)"]),
    ],
)
def test_bad_arrays_are_named(item: object, words: list[str]) -> None:
    frames = iter(open_source([np.zeros((4, 4, 3), np.uint8), item]))
    next(frames)
    with pytest.raises(SourceError, match="frame 1") as caught:
        next(frames)
    assert all(word in str(caught.value) for word in words)


def test_bad_files_are_named_and_opencv_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "nothing.avi").touch()
    (tmp_path / "text.jpg").write_text("this is no image")
    (tmp_path / "nothing.png").touch()
    for name, reason in [
        ("missing.mp4", "no file"),
        ("missing/*.png", "no images"),
        ("empty", "no images"),
        ("text.mp4", "decoded"),
        ("nothing.avi", "decoded"),
        ("text.jpg", "decoded"),
        ("nothing.png", "decoded"),
    ]:
        with pytest.raises(SourceError, match=reason) as caught:
            list(open_source(tmp_path / name))
        assert name.rstrip("/") in str(caught.value)
        assert "expected" in str(caught.value)
    for spec, reason in [(97, "camera 97"), ("97", "camera 97"), ("rtsp://127.0.0.1:9/none", "127.0.0.1:9")]:
        with pytest.raises(SourceError, match=reason):
            open_source(spec)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "options",
    [{"start": -1}, {"stride": 0}, {"start": 5, "stop": 5}, {"start": 1.5}, {"fps": 0}, {"fps": float("nan")}],
)
def test_bad_options(clip: Path, options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        open_source(clip, **options)  # type: ignore[arg-type]


def test_an_open_source_is_given_back_and_takes_no_options(clip: Path) -> None:
    with open_source(clip) as source:
        assert open_source(source) is source
        with pytest.raises(InputError, match="already open"):
            open_source(source, stride=2)
    with pytest.raises(SourceError, match="object"):
        open_source(object())  # type: ignore[arg-type]


class _FlakyCamera(BaseHTTPRequestHandler):
    """An MJPEG stream that breaks off after five pictures at its first viewing."""

    viewings: ClassVar[int] = 0

    def do_GET(self) -> None:
        type(self).viewings += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 50 * self.viewings, np.uint8))[1].tobytes()
        try:
            for _ in range(5 if self.viewings == 1 else 500):
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n")
                self.wfile.write(b"Content-Length: %d\r\n\r\n%b\r\n" % (len(jpeg), jpeg))
        except OSError:
            return  # the viewer has left

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


def test_a_lost_network_camera_is_reopened_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _FlakyCamera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with open_source(f"http://127.0.0.1:{server.server_port}/camera.mjpg", stop=60) as source:
            assert isinstance(source, VideoSource)
            assert (source.kind, source.live, source.frame_count) == ("camera", True, None)
            frames = list(source)
            assert source.reconnects >= 1
    finally:
        server.shutdown()
        server.server_close()
    assert [frame.index for frame in frames] == list(range(60))
    times = [frame.time for frame in frames]
    assert times[0] == 0.0
    assert (np.diff(times) > 0).all()
    assert "disappeared" in caplog.text
    assert "is back" in caplog.text


class _PausingCamera(BaseHTTPRequestHandler):
    """An MPEG transport stream that sends some pictures, the others when asked, and then nothing, without an end."""

    halves: ClassVar[tuple[bytes, bytes]] = (b"", b"")
    asked: ClassVar[threading.Event] = threading.Event()
    over: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(self.halves[0])
            self.asked.wait(30)
            self.wfile.write(self.halves[1])
            self.over.wait(30)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


def test_a_network_camera_is_no_older_for_many_cores(tmp_path: Path) -> None:
    """FFmpeg holds a frame back for each thread but the first; container and codec hold back two by themselves."""
    options = {"x264-params": "keyint=1:log-level=none"}
    halves = [
        encode(tmp_path / f"{level}.ts", [grey(level)] * count, rate=30, options=options).read_bytes()
        for level, count in ((2, 200), (12, 30))
    ]
    _PausingCamera.halves = (halves[0], halves[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _PausingCamera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seen = []
    try:
        with open_source(f"http://127.0.0.1:{server.server_port}/camera.ts", live=True) as source:
            assert source.live
            reader = threading.Thread(target=lambda: seen.extend(number(frame.image) for frame in source))
            reader.start()
            _PausingCamera.asked.set()
            deadline = time.monotonic() + NETWORK_TIMEOUT / 2  # what is held back comes when the silence is too long
            while time.monotonic() < deadline and seen.count(12) < 27:
                time.sleep(0.05)
            assert 27 <= seen.count(12) <= 30
    finally:
        _PausingCamera.over.set()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("name", "count", "fps"), [("vtest.avi", 795, 10.0), ("squats.mp4", 65, 5.0), ("two_people.mp4", 100, 60.0)]
)
def test_real_clips(shared: Path, name: str, count: int, fps: float) -> None:
    with open_source(shared / "media" / name, stride=20) as source:
        assert source.fps == pytest.approx(fps / 20)
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(0, count, 20))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(0, count, 20) / fps, atol=2e-3)
    assert source.size == (frames[0].image.shape[1], frames[0].image.shape[0])
