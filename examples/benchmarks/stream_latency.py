"""How old a frame is when it is handed out, from a camera of 30 frames a second, and whether memory stays flat.

    python examples/benchmarks/stream_latency.py clip.mp4 [--seconds 20] [--people 1 3 10] [--soak 600]

The camera is made of a clip's frames, played round and round, handed out on the clock whether taken or not. It shows
so many people at once: the boxes found on the clip's frames, repeated. A detector of those boxes stands in for the
real one, so that the load is the network's and the same for every frame. Give more people than the machine can do at
30 frames a second to see it above its capacity: `transpose bench` says how many persons a second that is.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import transpose_sdk as tp
from transpose_sdk.bundles.bundle import DEFAULT_MODEL
from transpose_sdk.media.sources import open_source

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


class Camera:
    """Frames on the clock, taken or not; a frame that nobody waits for comes late, never early.

    Attributes:
        started: Monotonic seconds of the first frame.
    """

    def __init__(self, images: list[NDArray[np.uint8]], seconds: float) -> None:
        self.started = 0.0
        self._images = images
        self._count = int(seconds * FPS)

    def __iter__(self) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        self.started = time.monotonic()
        for index in range(self._count):
            time.sleep(max(0.0, self.started + index / FPS - time.monotonic()))
            yield index / FPS, self._images[index % len(self._images)]


def memory() -> float:
    """Resident memory in MiB."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - a figure, not a file
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def run(images: list[NDArray[np.uint8]], seconds: float, estimator: tp.PoseEstimator, track: bool) -> None:
    """Print ages, drops and memory of one run.

    A frame's age counts from when the camera's clock said it was due, so a capture thread that is held up is no excuse.
    """
    ages, dropped, sizes = [], 0, []
    camera = Camera(images, seconds)
    with tp.PoseStream(camera, estimator, policy="latest", track=track) as stream:
        for frame in stream:
            now = time.monotonic()
            ages.append(1000 * (now - camera.started - frame.time))
            dropped = frame.dropped
            sizes.append((now - camera.started, memory()))
    taken = time.monotonic() - camera.started
    p50, p95, p99 = np.percentile(ages, (50, 95, 99))
    # The first quarter fills caches and pools.
    settled = np.array(sizes)[len(sizes) // 4 :]
    growth = np.polyfit(settled[:, 0] / 60, settled[:, 1], 1)[0] if len(settled) > 1 else float("nan")
    sys.stdout.write(
        f"{len(ages):6} frames {len(ages) / taken:6.1f} fps {dropped:6} dropped   "
        f"age ms p50 {p50:6.0f} p95 {p95:6.0f} p99 {p99:6.0f} max {max(ages):6.0f}   "
        f"memory {settled[0, 1]:.0f} -> {settled[-1, 1]:.0f} MiB, {growth:+.2f} MiB/min\n"
    )
    sys.stdout.flush()


def main() -> None:
    """One run for each number of people, or a soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--detector", default="person")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--soak", type=float, help="one long run of the real detector and tracker instead, in seconds")
    args = parser.parse_args()
    with open_source(args.clip, stop=100) as source:
        images = [frame.image for frame in source]
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
