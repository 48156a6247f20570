"""Time pose estimation with and without the attention overlay of one joint, in turn within one run.

    python examples/benchmarks/benchmark_overlay.py clip.mp4 [--bundle NAME] [--precisions fp16 int8] [--frames 100] \
        [--rounds 7]

Twice: as `transpose run` does it, streams that decode, track and draw while the next frames are inferred, each side in
turn for some rounds; and one frame after another on one thread, frame by frame in turn, where the drawing has to wait
for the network and the network for the drawing. Nothing is encoded, which would take the same time on both sides. The
report on stdout is the throughput with the overlay as a share of that without, by the medians and by CPU time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from transpose_sdk.bundles.bundle import DEFAULT_MODEL
from transpose_sdk.drawing.annotator import PoseAnnotator
from transpose_sdk.drawing.overlay import AttentionOverlay, warm_up
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.sources import open_source
from transpose_sdk.stream import PoseStream

SIDES = (False, True)  # without and with the overlay


class Times:
    """Seconds of both sides, by the clock and of all cores."""

    def __init__(self) -> None:
        self.wall: dict[bool, list[float]] = {side: [] for side in SIDES}
        self.processor: dict[bool, list[float]] = {side: [] for side in SIDES}

    @contextmanager
    def measure(self, side: bool) -> Iterator[None]:
        """Time the block."""
        started, busy = time.perf_counter(), time.process_time()
        yield
        self.wall[side].append(time.perf_counter() - started)
        self.processor[side].append(time.process_time() - busy)

    def report(self, frames: int) -> dict[str, float]:
        """Milliseconds a frame, and what the overlay leaves of the throughput; each time was that of `frames`."""
        without, shown = (1e3 * float(np.median(self.wall[side])) / frames for side in SIDES)
        busy_without, busy_shown = (1e3 * float(np.median(self.processor[side])) / frames for side in SIDES)
        return {
            "ms_without": round(without, 2),
            "ms_with": round(shown, 2),
            "throughput": round(without / shown, 3),
            "cpu_ms_without": round(busy_without, 2),
            "cpu_ms_with": round(busy_shown, 2),
            "throughput_by_cpu_time": round(busy_without / busy_shown, 3),
        }


def in_turn(number: int) -> tuple[bool, bool]:
    """Both sides, each as often first as second."""
    return (False, True) if number % 2 else (True, False)


def stream(args: argparse.Namespace, estimators: dict[bool, PoseEstimator]) -> dict[str, float]:
    """As `transpose run` does it."""
    times, frames = Times(), 0
    overlay = AttentionOverlay(args.joint)
    annotators = {False: PoseAnnotator(), True: PoseAnnotator(attention=overlay)}
    for number in range(-1, args.rounds):
        for shown in in_turn(number):
            spent = times if number >= 0 else Times()  # the first round warms up
            with spent.measure(shown), PoseStream(open_source(args.source, stop=args.frames), estimators[shown]) as run:
                frames = sum(len(annotators[shown].annotate(frame.image, frame.poses)) > 0 for frame in run)
    return times.report(frames)


def one_by_one(args: argparse.Namespace, estimators: dict[bool, PoseEstimator]) -> dict[str, float]:
    """One frame after another on one thread."""
    times, people = Times(), 0
    overlay = AttentionOverlay(args.joint)
    annotators = {False: PoseAnnotator(), True: PoseAnnotator(attention=overlay)}
    with open_source(args.source, stop=args.frames) as source:
        for frame in source:
            for shown in in_turn(frame.index):
                with times.measure(shown):
                    boxes, scores = estimators[False].detector(frame.image)
                    poses = estimators[shown](frame.image, boxes, scores)
                    annotators[shown].annotate(frame.image, poses)
                people += len(poses)
    return {"people": round(people / sum(map(len, times.wall.values())), 2), **times.report(1)}


def compare(args: argparse.Namespace, precision: str) -> dict[str, dict[str, float]]:
    """Both comparisons."""
    warm_up()
    with (
        PoseEstimator(args.bundle, args.device, precision, args.detector) as plain,
        PoseEstimator(args.bundle, args.device, precision, args.detector, attention=True) as attentive,
    ):
        estimators = {False: plain, True: attentive}
        return {"stream": stream(args, estimators), "one_by_one": one_by_one(args, estimators)}


def main() -> None:
    """Compare each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--bundle", default=DEFAULT_MODEL)
    parser.add_argument("--device", default="CPU")
    parser.add_argument("--detector", default="person")
    parser.add_argument("--precisions", nargs="+", default=["fp16"])
    parser.add_argument("--joint", default="left_wrist")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7, help="streams of each side")
    args = parser.parse_args()
    report = {precision: compare(args, precision) for precision in args.precisions}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
