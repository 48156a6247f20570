"""How much of the pose network's own speed is left at the end of the stream, and what a plain loop makes of it.

    python examples/benchmark_stream.py clip.mp4 [more.mp4 ...] [--plain]

Three ways through the same clip, each once a round, so that whatever else the machine does hits all of them:

network  the pose graph alone, on crops that were cut before, submitted as the stream submits them
stream   end to end: file decoding, detector, crops, network, decoding, tracking, smoothing
plain    detector on every frame, one person after another, each step waits for the one before (with --plain)

The detector is counted fairly in two ways, both printed: "of all time" compares persons a second as they are, so that
the stream pays for the detector; "without the detector" takes the seconds in which the detector ran off the stream's
time, and leaves only what the runtime itself costs. With other networks on the same cores the second flatters the
stream where the detector and the network ran at the same time. "By processor time" compares the processor seconds a
person costs, detector included; it hardly changes when other programs use the machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

import transpose_sdk as tp
from transpose_sdk.backends.protocol import InFlight
from transpose_sdk.crops import boxes_to_centers_scales, crop_affines, warp_crops
from transpose_sdk.media.sources import open_source


@dataclass(frozen=True)
class Run:
    """One way through a clip: frames, persons posed, seconds, processor seconds, and seconds in the detector."""

    frames: int
    people: int
    seconds: float
    processor: float
    detecting: float = 0.0

    @property
    def rate(self) -> float:
        """Persons a second."""
        return self.people / self.seconds

    @property
    def rate_without_detector(self) -> float:
        """Persons a second of the time outside the detector."""
        return self.people / (self.seconds - self.detecting)


def run_stream(path: str, frames: int, estimator: tp.PoseEstimator) -> tuple[Run, list[NDArray[np.uint8]]]:
    """Through the stream; also the crops of each frame, cut again from the boxes that came out."""
    boxes, detecting = [], 0.0
    started, processor = time.perf_counter(), time.process_time()
    with tp.PoseStream(open_source(path, stop=frames), estimator) as stream:
        for frame in stream:
            boxes.append(frame.poses.boxes[~frame.predicted.all(axis=1)])
            detecting += frame.latency.detection
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    size = estimator.backend.input_size
    with open_source(path, stop=frames) as again:
        affines = [crop_affines(*boxes_to_centers_scales(each, size), size) for each in boxes]
        crops = [warp_crops(frame.image, each, size) for frame, each in zip(again, affines, strict=True)]
    return Run(len(boxes), sum(map(len, boxes)), seconds, processor, detecting), crops


def run_network(crops: list[NDArray[np.uint8]], estimator: tp.PoseEstimator) -> Run:
    """The graph alone, two frames in flight, so that the device never waits."""
    started, processor = time.perf_counter(), time.process_time()
    flights: list[InFlight] = [estimator.backend.submit(crops[0])]
    for _, following in pairwise(crops):
        flights.append(estimator.backend.submit(following))
        flights.pop(0).result()
    flights.pop().result()
    return Run(len(crops), sum(map(len, crops)), time.perf_counter() - started, time.process_time() - processor)


def run_plain(path: str, frames: int, estimator: tp.PoseEstimator) -> Run:
    """The straightforward loop: no threads, no tracks, a person at a time."""
    from benchmark_decoding import plain_decode_dark

    size = estimator.backend.input_size
    capture = cv2.VideoCapture(path)
    count = people = 0
    started, processor = time.perf_counter(), time.process_time()
    while count < frames:
        found, picture = capture.read()
        if not found:
            break
        image = np.asarray(picture, np.uint8)
        boxes, _ = estimator.detector(image)
        for box in boxes:
            affines = crop_affines(*boxes_to_centers_scales(box[None], size), size)
            plain_decode_dark(estimator.backend.infer(warp_crops(image, affines, size)).heatmaps)
        count += 1
        people += len(boxes)
    return Run(count, people, time.perf_counter() - started, time.process_time() - processor)


def main() -> None:
    """Print the rates of each clip: the median round, and the range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--model", default="tp_m")
    parser.add_argument("--detector", default="person")
    parser.add_argument("--device", default="AUTO")
    parser.add_argument("--requests", type=int, help="in flight, for all ways alike; the device's choice if not given")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help="also the plain loop")
    args = parser.parse_args()
    with tp.PoseEstimator(args.model, device=args.device, detector=args.detector, requests=args.requests) as estimator:
        for clip in args.clips:
            rows: list[tuple[float, ...]] = []
            for _ in range(args.rounds):
                stream, crops = run_stream(clip, args.frames, estimator)
                network = run_network(crops, estimator)
                plain = run_plain(clip, args.frames, estimator) if args.plain else None
                rows.append((
                    network.rate, stream.rate, stream.rate / network.rate, stream.rate_without_detector / network.rate,
                    (network.processor / network.people) / (stream.processor / stream.people),
                    stream.frames / stream.seconds, plain.frames / plain.seconds if plain else float("nan"),
                ))  # fmt: skip
            sys.stdout.write(f"\n{clip}, {estimator.describe()}, {estimator.backend.requests} requests in flight\n")
            names = (
                "network, persons/s", "stream, persons/s", "stream/network, of all time",
                "stream/network, without the detector", "stream/network, by processor time",
                "stream, frames/s", "plain loop, frames/s",
            )  # fmt: skip
            for name, values in zip(names, zip(*rows, strict=True), strict=True):
                sys.stdout.write(
                    f"{name:40}{statistics.median(values):9.2f}   ({min(values):.2f} .. {max(values):.2f})\n"
                )


if __name__ == "__main__":
    main()
