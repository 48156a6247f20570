"""What reading and writing videos costs, beside OpenCV, and how old the frames of a network camera are.

    python examples/benchmarks/benchmark_video.py clip.mp4 [more.mp4 ...] [--frames 200] [--rounds 3]

Each round does every way one after another, so that whatever else the machine does hits all of them; printed is the
median over the rounds, in milliseconds of processor time a frame, all threads together, and their ratio.

read        VideoSource, pictures as they are handed out, and cv2.VideoCapture
save        VideoSink without poses, which writes H.264, and cv2.VideoWriter with mp4v, MPEG-4 Part 2
deinterlace a woven copy of the clip by VideoSource, and the same copy that does not say that it is interlaced; OpenCV
            cannot convert interlaced frames
camera      a transport stream over UDP on this machine, 30 frames a second, each with the moment of its sending in its
            pixels: how old it is when it is handed out, in ms
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.drawing.annotator import PoseAnnotator
from transpose_sdk.media.sinks import VideoSink
from transpose_sdk.media.sources import open_source
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import COCO17
from transpose_sdk.stream.frame import Frame, Latency

Picture = NDArray[np.uint8]
BITS = 24  # milliseconds since the start, as black and white squares of 16 px


def ours(path: Path) -> Iterator[Picture]:
    """The pictures of a clip through VideoSource."""
    with open_source(path) as source:
        for frame in source:
            yield frame.image


def opencv(path: Path | str) -> Iterator[Picture]:
    """The pictures of a clip through OpenCV, and those of a camera on one thread, as ours: each holds a frame back."""
    options = [cv2.CAP_PROP_N_THREADS, 1] if "://" in str(path) else []
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, options)
    while True:
        found, picture = capture.read()
        if not found:
            return
        yield np.asarray(picture, np.uint8)


def save_ours(pictures: list[Picture], folder: Path) -> int:
    """Write the pictures with VideoSink, without poses; how many."""
    nobody = Poses.empty(COCO17)
    with VideoSink(folder / "ours.mp4", 30.0, PoseAnnotator()) as sink:
        for index, picture in enumerate(pictures):
            sink.write(Frame(index, index / 30, picture, nobody, np.zeros((0, 17), bool), None, Latency(0, 0, 0), 0))
    return len(pictures)


def save_opencv(pictures: list[Picture], folder: Path) -> int:
    """Write the pictures with cv2.VideoWriter; how many."""
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(folder / "opencv.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (width, height))
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return len(pictures)


def woven(pictures: list[Picture], path: Path, said: bool) -> Path:
    """An H.264 file whose lower fields are each a frame later, and which says so or not."""
    params = "log-level=none:tff=1" if said else "log-level=none"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "x264-params": params})
        stream.height, stream.width = (side // 4 * 4 for side in pictures[0].shape[:2])
        stream.pix_fmt = "yuv420p"
        for one, other in pairwise(pictures):
            both = one[: stream.height, : stream.width].copy()
            both[1::2] = other[1 : stream.height : 2, : stream.width]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(both, "bgr24")))
        container.mux(stream.encode())
    return path


def cpu_ms(work: Callable[[], int]) -> float:
    """Processor time of all threads for each frame that the work counts, in ms."""
    began = time.process_time()
    count = work()
    return (time.process_time() - began) * 1000 / max(count, 1)


def count(items: Iterable[object], frames: int) -> int:
    """How many there are, looking at no more than so many."""
    return sum(1 for _ in islice(items, frames))


def stamped(moment: float) -> Picture:
    """A grey picture with a moment, in s, in its pixels."""
    picture = np.full((480, 640, 3), 96, np.uint8)
    for bit in range(BITS):
        picture[:16, 16 * bit : 16 * bit + 16] = 255 * (int(moment * 1000) >> bit & 1)
    return picture


def moment_of(picture: Picture) -> float:
    """The moment in a picture's pixels."""
    return sum((picture[8, 16 * bit + 8, 0] > 127) << bit for bit in range(BITS)) / 1000


def ages(read: Callable[[str], Iterator[Picture]], seconds: float) -> list[float]:
    """How old the pictures of a camera are when `read` hands them out, in ms; the first second does not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        url = f"udp://127.0.0.1:{free.getsockname()[1]}"
    start, over = time.monotonic(), threading.Event()

    def send() -> None:
        with av.open(f"{url}?pkt_size=1316", "w", format="mpegts", options={"flush_packets": "1"}) as container:
            stream = container.add_stream(
                "libx264", rate=30, options={"preset": "ultrafast", "tune": "zerolatency", "g": "30"}
            )
            stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
            for index in range(int(30 * (seconds + 10))):
                if over.wait(max(0.0, start + index / 30 - time.monotonic())):
                    return
                frame = av.VideoFrame.from_ndarray(stamped(time.monotonic() - start), "bgr24")
                container.mux(stream.encode(frame))

    sender = threading.Thread(target=send)
    sender.start()
    found = []
    try:
        first = None
        for picture in read(url):
            now = time.monotonic() - start
            first = now if first is None else first
            if now - first > 1:
                found.append((now - moment_of(picture)) * 1000)
            if now - first > 1 + seconds:
                break
    finally:
        over.set()
        sender.join()
    return found


def measure(clip: Path, frames: int, rounds: int) -> None:
    """Print what a clip costs."""
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    pictures = list(islice(ours(clip), min(frames, 60)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mixed, plain = woven(pictures, folder / "woven.mts", True), woven(pictures, folder / "plain.mts", False)
        for _ in range(rounds):
            times["read", "OpenCV"].append(cpu_ms(lambda: count(opencv(clip), frames)))
            times["read", "ours"].append(cpu_ms(lambda: count(ours(clip), frames)))
            times["save", "OpenCV"].append(cpu_ms(lambda: save_opencv(pictures, folder)))
            times["save", "ours"].append(cpu_ms(lambda: save_ours(pictures, folder)))
            times["deinterlace", "woven"].append(cpu_ms(lambda: count(ours(plain), frames)))
            times["deinterlace", "ours"].append(cpu_ms(lambda: count(ours(mixed), frames)))
    for what, beside in (("read", "OpenCV"), ("save", "OpenCV"), ("deinterlace", "woven")):
        one, other = float(np.median(times[what, beside])), float(np.median(times[what, "ours"]))
        sys.stdout.write(f"{clip.name:16} {what:12} {beside} {one:6.2f} ms  ours {other:6.2f} ms  {other / one:.2f}x\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    for clip in args.clips:
        measure(clip, args.frames, args.rounds)
    for name, read in (("OpenCV", opencv), ("ours", lambda url: (frame.image for frame in open_source(url)))):
        found = ages(read, 10)
        low, mid, high = np.percentile(found, [5, 50, 95])
        sys.stdout.write(
            f"camera over UDP  {name:6} {len(found)} frames, age {mid:.0f} ms (5 % {low:.0f}, 95 % {high:.0f})\n"
        )


if __name__ == "__main__":
    main()
