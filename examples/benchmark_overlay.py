"""Time pose estimation with and without the attention overlay of one joint, frame by frame in turn.

    python examples/benchmark_overlay.py clip.mp4 [--bundle tp_m] [--precisions fp16 int8] [--frames 100]

Both sides decode nothing but the poses and draw them; whatever else the machine does hits both. The report on stdout is
the throughput with the overlay as a share of that without, by the median time of a frame and by CPU time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

from transpose_sdk.draw import PoseAnnotator
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.sources import open_source
from transpose_sdk.overlay import AttentionOverlay, warm_up


def compare(args: argparse.Namespace, precision: str) -> dict[str, float]:
    """Milliseconds a frame of both sides, and the ratios."""
    wall: dict[bool, list[float]] = {False: [], True: []}
    processor = {False: 0.0, True: 0.0}
    people = 0
    warm_up()
    with (
        PoseEstimator(args.bundle, args.device, precision, args.detector) as estimator,
        open_source(args.source, stop=args.frames) as source,
    ):
        overlay = AttentionOverlay(args.joint, estimator.attention_grid, estimator.bundle.input_size)
        annotators = {False: PoseAnnotator(), True: PoseAnnotator(attention=overlay)}
        for frame in source:
            boxes, scores = estimator.detector(frame.image)
            people += len(boxes)
            for shown in (False, True) if frame.index % 2 else (True, False):
                started, busy = time.perf_counter(), time.process_time()
                if not args.pose_only:
                    estimator.detector(frame.image)
                poses = estimator.pose(frame.image, boxes, scores, attention=shown)
                annotators[shown].annotate(frame.image, poses)
                wall[shown].append(time.perf_counter() - started)
                processor[shown] += time.process_time() - busy
    without, with_overlay = (1e3 * float(np.median(wall[shown])) for shown in (False, True))
    return {
        "people": round(people / len(wall[True]), 2),
        "ms_without": round(without, 2),
        "ms_with": round(with_overlay, 2),
        "throughput": round(without / with_overlay, 3),
        "cpu_ms_without": round(1e3 * processor[False] / len(wall[False]), 2),
        "cpu_ms_with": round(1e3 * processor[True] / len(wall[True]), 2),
        "throughput_by_cpu_time": round(processor[False] / processor[True], 3),
    }


def main() -> None:
    """Compare each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--bundle", default="tp_m")
    parser.add_argument("--device", default="CPU")
    parser.add_argument("--detector", default="person")
    parser.add_argument("--precisions", nargs="+", default=["fp16"])
    parser.add_argument("--joint", default="left_wrist")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--pose-only", action="store_true", help="leave the detector out of the time")
    args = parser.parse_args()
    report = {precision: compare(args, precision) for precision in args.precisions}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
