"""Videos as players show them: interlaced, turned, mirrored, anamorphic, uneven, joined, damaged, oddly named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import av
import cv2
import numpy as np
import pytest
from encoded_videos import SIZE, available, corner_names, corners, encode, grey, number, set_display_matrix

from transpose_sdk.errors import InputError, SourceError
from transpose_sdk.media.frames import SourceFrame
from transpose_sdk.media.sources import open_source
from transpose_sdk.media.video import VideoSource


def read(path: Path | str, **options: int) -> list[SourceFrame]:
    with open_source(path, **options) as source:
        return list(source)


def moving_bar(moment: int) -> np.ndarray:
    """A white bar on black, 4 px further to the right at each moment."""
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[:, 10 + 4 * moment : 22 + 4 * moment] = 255
    return image


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("clip.mts", "libx264", {"x264-params": "tff=1:log-level=none"}),
        ("clip.mp4", "libx264", {"x264-params": "bff=1:log-level=none"}),
        ("clip.ts", "mpeg2video", {"flags": "+ilme+ildct"}),
        ("clip.mpg", "mpeg2video", {"flags": "+ilme+ildct"}),
    ],
)
def test_interlaced_video_is_complete_and_without_a_comb(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    woven = []
    for index in range(8):
        image = moving_bar(2 * index)
        image[1::2] = moving_bar(2 * index + 1)[1::2]  # the lower field is a moment later
        woven.append(image)
    encode(tmp_path / name, woven, codec, options=options)
    frames = read(tmp_path / name)
    assert [frame.index for frame in frames] == list(range(8))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(8) / 10, atol=1e-3)
    for frame, image in zip(frames, woven, strict=True):
        comb = np.abs(np.diff(frame.image.astype(int), axis=0)).mean()
        assert comb < 0.3 * np.abs(np.diff(image.astype(int), axis=0)).mean()
        moments = (moving_bar(2 * frame.index), moving_bar(2 * frame.index + 1))
        assert min(np.abs(frame.image.astype(int) - moment).mean() for moment in moments) < 10  # 21 between the two


def test_progressive_frames_of_an_interlaced_file_are_left_alone(tmp_path: Path) -> None:
    """A damaged frame between interlaced ones keeps its place, and what follows keeps its index and time."""
    encode(tmp_path / "clip.mts", [grey(i) for i in range(15)], options={"x264-params": "tff=1:log-level=none"})
    assert [number(frame.image) for frame in read(tmp_path / "clip.mts")] == list(range(15))


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), "rgbw"),
        ((-1, 0, 0, 1), "grwb"),  # mirrored
        ((1, 0, 0, -1), "bwrg"),  # mirrored upside down
        ((-1, 0, 0, -1), "wbgr"),  # turned by 180 degrees
        ((0, 1, -1, 0), "brwg"),  # clockwise
        ((0, -1, 1, 0), "gwrb"),
        ((0, 1, 1, 0), "rbgw"),  # along the diagonals
        ((0, -1, -1, 0), "wgbr"),
    ],
)
def test_display_matrices_turn_and_mirror(tmp_path: Path, matrix: tuple[int, int, int, int], shown: str) -> None:
    path = encode(tmp_path / "clip.mp4", [corners()] * 3)
    set_display_matrix(path, *matrix)
    with open_source(path) as source:
        size = source.size
        frames = list(source)
    assert [corner_names(frame.image) for frame in frames] == [shown] * 3
    assert size == frames[0].image.shape[1::-1] == (SIZE if matrix[0] else SIZE[::-1])
    assert frames[0].image.flags.c_contiguous
    assert frames[0].image.flags.writeable


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(2), (192, 64)), (Fraction(1, 2), (96, 128)), (Fraction(64, 45), (137, 64))]
)
def test_pixels_become_square(tmp_path: Path, codec: str, aspect: Fraction, size: tuple[int, int]) -> None:
    for name in ("clip.mp4", "clip.mkv", "clip.ts"):
        path = encode(tmp_path / name, [corners()] * 3, codec, aspect=aspect)
        with open_source(path) as source:
            frames = list(source)
        assert source.size == size == frames[-1].image.shape[1::-1]
        assert corner_names(frames[-1].image) == "rgbw"


def test_turned_pixels_become_square_first(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", [corners()] * 3, aspect=Fraction(2))
    set_display_matrix(path, 0, 1, -1, 0)
    with open_source(path) as source:
        assert source.size == next(iter(source)).image.shape[1::-1] == (64, 192)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_a_varying_rate_keeps_its_times(tmp_path: Path, name: str) -> None:
    times = [Fraction(i, 10) for i in range(8)] + [Fraction(8, 10) + Fraction(i, 30) for i in range(10)]
    path = encode(tmp_path / name, [grey(i) for i in range(18)], rate=30, times=times)
    with open_source(path) as source:
        assert source.fps is not None
        assert source.fps >= 29.9  # a recording has room for the fast part
        frames = list(source)
    np.testing.assert_allclose([frame.time for frame in frames], np.float64(times), atol=2e-3)
    assert [number(frame.image) for frame in frames] == list(range(18))


@pytest.mark.parametrize("length", [4, 15])
@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_times_go_on_where_pieces_were_joined(tmp_path: Path, length: int, codec: str) -> None:
    pieces = []
    for start in (0, 90, 30):  # a clock that jumps ahead and back
        times = [start + Fraction(i, 25) for i in range(length)]
        path = encode(tmp_path / f"{start}.ts", [grey(i) for i in range(length)], codec, rate=25, times=times, tick=25)
        pieces.append(path.read_bytes())
    (tmp_path / "joined.ts").write_bytes(b"".join(pieces))
    frames = read(tmp_path / "joined.ts")
    assert [number(frame.image) for frame in frames] == 3 * list(range(length))
    np.testing.assert_allclose(np.diff([frame.time for frame in frames]), 0.04, atol=1e-3)


def test_frames_may_change_their_size(tmp_path: Path) -> None:
    one = encode(tmp_path / "one.ts", [corners()] * 5)
    two = encode(tmp_path / "two.ts", [cv2.resize(corners(), (160, 128))] * 5)
    (tmp_path / "joined.ts").write_bytes(one.read_bytes() + two.read_bytes())
    frames = read(tmp_path / "joined.ts")
    assert [frame.image.shape for frame in frames] == 5 * [(64, 96, 3)] + 5 * [(128, 160, 3)]
    assert {corner_names(frame.image) for frame in frames} == {"rgbw"}


@pytest.mark.parametrize(
    ("codec", "name"),
    [("libsvtav1", "clip.mp4"), ("libsvtav1", "clip.webm"), ("libvpx-vp9", "clip.webm"), ("libx265", "clip.mp4")],
)
def test_codecs(tmp_path: Path, codec: str, name: str) -> None:
    if not available(codec):
        pytest.skip(f"FFmpeg here cannot encode with {codec}")
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    encode(tmp_path / name, [grey(i) for i in range(12)], codec, options=quiet)
    assert [number(frame.image) for frame in read(tmp_path / name)] == list(range(12))


def without(path: Path, wanted: set[int]) -> None:
    """Break the packets of these frames of an MP4, from a third of each on."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for place, packet in enumerate(container.demux(video=0)):
            if place in wanted and packet.pos is not None:
                third = packet.size // 3
                for byte in range(packet.pos + third, packet.pos + packet.size):
                    data[byte] = (data[byte] * 7 + 13) % 256
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("codec", "options"),
    [("libx264", {"bf": "0"}), ("libx264", {"bf": "2", "preset": "medium"}), ("mpeg4", {}), ("mpeg2video", {})],
)
def test_pictures_that_ffmpeg_makes_up_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, codec: str, options: dict[str, str]
) -> None:
    noise = np.random.default_rng(0)
    scene = [cv2.resize(noise.integers(0, 256, (8, 12, 3), np.uint8), SIZE) for _ in range(30)]
    path = encode(tmp_path / "clip.mp4", scene, codec, options={"g": "6", **options})
    whole = read(path)
    without(path, {13, 20})
    with open_source(path) as source:
        assert isinstance(source, VideoSource)
        frames = list(source)
    assert 2 <= source.damaged <= 4
    assert len(frames) == 30 - source.damaged
    assert frames[-1].index == 29
    for frame in frames:
        assert frame.time == pytest.approx(frame.index / 10, abs=1e-3)
        if frame.index not in (*range(13, 18), *range(20, 24)):  # up to the next frame that needs no other
            np.testing.assert_array_equal(frame.image, whole[frame.index].image)
    assert caplog.text.count("cannot be decoded") == 1
    assert f"{source.damaged} frames of {path}" in caplog.text
    assert f"{source.traces} made from them" in caplog.text
    assert 5 <= source.traces <= 8


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xff:1%d.mp4")
    encode(tmp_path / "clip.mp4", [grey(i) for i in range(3)]).rename(tmp_path / name)
    assert [number(frame.image) for frame in read(tmp_path / name)] == [0, 1, 2]
    (tmp_path / os.fsdecode(b"\xe9.mp4")).write_text("this is no video")
    with pytest.raises(SourceError, match="no frame of"):
        read(tmp_path / os.fsdecode(b"\xe9.mp4"))


def test_a_url_of_a_file_is_that_file(tmp_path: Path) -> None:
    path = encode(tmp_path / "a clip.mp4", [grey(i) for i in range(3)])
    assert "%20" in path.as_uri()
    with open_source(path.as_uri()) as source:
        assert (source.kind, source.frame_count) == ("video", 3)


@pytest.mark.parametrize("number", [-1, -100, 100, 2**31, 10**30, "99999999999"])
def test_cameras_have_small_numbers(number: int | str) -> None:
    with pytest.raises(InputError, match="there is no camera"):
        open_source(number)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
    with pytest.raises(SourceError, match="no pictures"):
        open_source(tmp_path / "sound.wav")


class _Files(BaseHTTPRequestHandler):
    """Serves one file again and again, without its length; silent where it should be."""

    data: ClassVar[bytes] = b""
    silent: ClassVar[bool] = False
    requests: ClassVar[int] = 0
    over: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        type(self).requests += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(self.data)
            if self.silent:
                self.over.wait(30)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@contextmanager
def served(data: bytes, silent: bool = False) -> Iterator[str]:
    """The address of a server of these bytes, which says nothing after them but leaves the connection open."""
    _Files.data, _Files.silent, _Files.requests = data, silent, 0
    _Files.over.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/clip"
    finally:
        _Files.over.set()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", ["clip.webm", "clip.ts", "clip.mkv"])
def test_http_without_a_length_ends_where_it_ends(tmp_path: Path, name: str) -> None:
    codec = "libvpx" if name == "clip.webm" else "libx264"
    path = encode(tmp_path / name, [grey(i) for i in range(12)], codec)
    with served(path.read_bytes()) as url, open_source(url) as source:
        assert (source.live, source.kind) == (False, "video")
        frames = list(source)
        assert [number(frame.image) for frame in frames] == list(range(12))
        np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / 10, atol=2e-3)
        assert list(source) == []
        assert _Files.requests <= 3  # FFmpeg may ask for a part again while it finds out what it is


def test_closing_ends_a_read_of_a_silent_network(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.ts", [grey(i % 20) for i in range(200)])
    with served(path.read_bytes(), silent=True) as url:
        source = open_source(url)
        taken = []
        reader = threading.Thread(target=lambda: taken.extend(source))
        reader.start()
        while (before := len(taken)) < 150 or (time.sleep(0.5), len(taken))[1] > before:
            assert reader.is_alive()
            time.sleep(0.1)
        began = time.monotonic()
        source.close()
        reader.join(5)
        assert time.monotonic() - began < 1
    assert len(taken) > 150


def test_an_http_video_that_goes_silent_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transpose_sdk.media.decoder.NETWORK_TIMEOUT", 0.5)
    path = encode(tmp_path / "clip.ts", [grey(i) for i in range(12)])
    with (
        served(path.read_bytes(), silent=True) as url,
        open_source(url) as source,
        pytest.raises(SourceError, match="broke off"),
    ):
        list(source)


def test_a_live_stream_begins_with_what_is_new(tmp_path: Path) -> None:
    """What came before anybody asked has grown old."""
    path = encode(tmp_path / "clip.ts", [grey(i) for i in range(15)])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    over = threading.Event()

    def send() -> None:
        data = path.read_bytes()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not over.is_set():
                for start in range(0, len(data), 1316):
                    out.sendto(data[start : start + 1316], ("127.0.0.1", port))
                    over.wait(0.02)

    threading.Thread(target=send, daemon=True).start()
    try:
        with open_source(f"udp://127.0.0.1:{port}", stop=20) as source:
            assert (source.live, source.kind, source.frame_count) == (True, "camera", None)
            frames = list(source)
    finally:
        over.set()
    assert [frame.index for frame in frames] == list(range(20))
    assert frames[0].time == 0
    assert (np.diff([frame.time for frame in frames]) > 0).all()


@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts", "clip.mp4"])
def test_fifos_and_stdin(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, [grey(i) for i in range(12)], container={"movflags": "faststart"})
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    threading.Thread(target=lambda: fifo.write_bytes(path.read_bytes())).start()
    with open_source(fifo) as source:
        assert source.name == str(fifo)
        assert [number(frame.image) for frame in source] == list(range(12))
    program = "import sys; from transpose_sdk.media.sources import open_source; print(len(list(open_source('-'))))"
    for piped in (True, False):  # a pipe, and stdin that is a file
        with path.open("rb") as file:
            given = {"input": file.read()} if piped else {"stdin": file}
            found = subprocess.run(
                [sys.executable, "-c", program], check=True, timeout=60, stdout=subprocess.PIPE, **given
            )
        assert found.stdout.split() == [b"12"]


def test_closing_ends_a_wait_for_a_pipes_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    path = encode(tmp_path / "clip.ts", [grey(i % 20) for i in range(100)])
    writer = threading.Thread(target=lambda: (tmp_path / "fifo").open("wb", buffering=0).write(path.read_bytes()))
    held = os.open(tmp_path / "fifo", os.O_RDWR)  # a writer that says nothing more and stays
    writer.start()
    source = open_source(tmp_path / "fifo")
    reader = threading.Thread(target=lambda: list(source))
    reader.start()
    time.sleep(1)
    assert reader.is_alive()
    began = time.monotonic()
    source.close()
    reader.join(5)
    assert time.monotonic() - began < 1
    os.close(held)


def test_a_pipe_that_is_no_video_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    threading.Thread(target=lambda: (tmp_path / "fifo").write_bytes(b"no video" * 100)).start()
    with pytest.raises(SourceError, match=r"fifo can be decoded .*one go"):
        open_source(tmp_path / "fifo")


def test_two_takers_of_one_source_share_its_frames(tmp_path: Path) -> None:
    source = open_source(encode(tmp_path / "clip.mp4", [grey(i) for i in range(10)]))
    with source:
        for frame in source:
            if frame.index == 3:
                break
        assert [number(frame.image) for frame in source] == list(range(4, 10))
    assert list(source) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_is_told_to_open_its_own(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", [grey(i) for i in range(3)])
    program = f"""
import os
from transpose_sdk.media.sources import open_source
from transpose_sdk.errors import SourceError
source = open_source({str(path)!r})
if os.fork() == 0:
    try:
        list(source)
    except SourceError as error:
        os._exit(7 if "open it in the child" in str(error) else 8)
    os._exit(9)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
