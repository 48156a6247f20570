"""How old a frame is when it is handed out, from a camera of 30 frames a second, and whether memory stays flat.

    python examples/stream_latency.py clip.mp4 [--seconds 20] [--people 1 3 10] [--soak 600]

The camera is made of a clip's frames, played round and round, handed out on the clock whether taken or not. It shows
so many people at once: the boxes found on the clip's frames, repeated. A detector of those boxes stands in for the
real one, so that the load is the network's and the same for every frame.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

import transpose_sdk as tp

FPS = 30.0


class Repeated:
    """A detector that gives a fixed number of boxes: those of the first frame, over and over."""

    name = "repeated"

    def __init__(self, boxes: NDArray[np.float32]) -> None:
        self.boxes = boxes

    def __call__(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Detector`."""
        return self.boxes, np.full(len(self.boxes), 0.9, np.float32)

    def close(self) -> None:
        """Nothing to let go of."""


def camera(images: list[NDArray[np.uint8]], seconds: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Frames on the clock; a frame that nobody waits for comes late, never early."""
    started = time.monotonic()
    for index in range(int(seconds * FPS)):
        time.sleep(max(0.0, started + index / FPS - time.monotonic()))
        yield index / FPS, images[index % len(images)]


def memory() -> float:
    """Resident memory in MiB."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - a figure, not a file
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def run(images: list[NDArray[np.uint8]], seconds: float, estimator: tp.PoseEstimator, track: bool) -> None:
    """Print ages, drops and memory of one run."""
    ages, dropped, first, last = [], 0, 0.0, 0.0
    started = time.monotonic()
    with tp.PoseStream(camera(images, seconds), estimator, policy="latest", track=track) as stream:
        for frame in stream:
            ages.append(frame.latency.total * 1000)
            dropped = frame.dropped
            last = memory()
            if not first and time.monotonic() - started > min(5.0, seconds / 4):
                first = last
    taken = time.monotonic() - started
    p50, p95, p99 = np.percentile(ages, (50, 95, 99))
    sys.stdout.write(
        f"{len(ages):6} frames {len(ages) / taken:6.1f} fps {dropped:6} dropped   "
        f"age ms p50 {p50:6.0f} p95 {p95:6.0f} p99 {p99:6.0f} max {max(ages):6.0f}   "
        f"memory {first:.0f} -> {last:.0f} MiB\n"
    )


def main() -> None:
    """One run for each number of people, or a soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("--model", default="tp_m")
    parser.add_argument("--detector", default="person")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--soak", type=float, help="one long run of the real detector and tracker instead, in seconds")
    args = parser.parse_args()
    capture = cv2.VideoCapture(args.clip)
    images = [np.asarray(image, np.uint8) for found, image in (capture.read() for _ in range(100)) if found]
    with tp.PoseEstimator(args.model, detector=args.detector) as estimator:
        if args.soak:
            run(images, args.soak, estimator, track=True)
            return
        boxes = estimator.detector(images[0])[0]
        if not len(boxes):
            sys.exit(f"nobody found on the first frame of {args.clip}: give a clip that starts with a person")
        for count in args.people:
            estimator.detector = Repeated(np.resize(boxes, (count, 4)))
            sys.stdout.write(f"{count:3} people: ")
            run(images, args.seconds, estimator, track=False)


if __name__ == "__main__":
    main()
