"""Our networks beside PP-TinyPose on the same images and boxes, each in its own geometry: AP and time per person.

    python examples/benchmarks/compare_rivals.py --coco ANN.json --images DIR --tinypose tinypose_256x192_fp16.xml
        [--bundle NAME ...] [--precision fp32 fp16 int8] [--flip]

PP-TinyPose (PaddleDetection, Apache-2.0) is an OpenVINO graph beside you: it isn't part of this package. It speaks
HRNet's geometry, where a cell of the heatmap is 4 px of the crop, and its flip test moves the mirrored heatmaps by one
cell; ours is DARK's, where the corners of heatmap and crop fall together. Both are decoded alike. Errors of AP are
those of the bootstrap over images. Times are medians of one person at a time, taken in turns within one run, from the
crop's uint8 pixels to heatmaps. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.crops import PADDING
from transpose_sdk.decoding import decode_dark
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from transpose_sdk.poses import Poses
from transpose_sdk.scores import person_scores
from transpose_sdk.skeletons import COCO17
from transpose_sdk.trainers.evaluation.benchmark import Benchmark, read_benchmark
from transpose_sdk.trainers.evaluation.evaluate import (
    answers_to_boxes,
    evaluate_estimator,
    image_reader,
    score,
    standard_error,
)
from transpose_sdk.trainers.evaluation.pairs import Answer

STRIDE = 4  # px of the crop for a cell of PP-TinyPose's heatmap
Infer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (H, W, 3) BGR crop to (K, h, w) heatmaps


class TinyPose:
    """PP-TinyPose in OpenVINO.

    Args:
        path: Its graph (.xml).
        precision: "fp32", or "fp16" for what the CPU does fastest with its weights, as for ours.
        flip: Whether to average with the mirrored crop.
    """

    def __init__(self, path: Path, precision: str, flip: bool) -> None:
        model = CORE.read_model(path)
        self.input_size = (model.inputs[0].shape[2], model.inputs[0].shape[3])
        # From uint8 BGR pixels within the graph, as ours.
        steps = ov.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input().tensor().set_color_format(ov.preprocess.ColorFormat.BGR)
        steps.input().model().set_layout(ov.Layout("NCHW"))
        steps.input().preprocess().convert_color(ov.preprocess.ColorFormat.RGB).convert_element_type(ov.Type.f32)
        steps.input().preprocess().mean([255 * value for value in IMAGENET_MEAN])
        steps.input().preprocess().scale([255 * value for value in IMAGENET_STD])
        options = {"PERFORMANCE_HINT": "LATENCY"} | ({"INFERENCE_PRECISION_HINT": "f32"} if precision == "fp32" else {})
        self._graph = CORE.compile_model(steps.build(), "CPU", options)
        self._flip = flip

    def infer(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Heatmaps (K, h, w) of a crop (H, W, 3) uint8 BGR."""
        return np.array(self._graph(crop[None])[0][0])

    def pose(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> Poses:
        """Poses of boxes (N, 4), in HRNet's geometry."""
        height, width = self.input_size
        coords, joint_scores = np.empty((len(boxes), 17, 2), np.float32), np.empty((len(boxes), 17), np.float32)
        for row, (x, y, w, h) in enumerate(boxes):
            span = PADDING * max(w, h * width / height)  # in image px, as wide as the crop
            affine = np.array(
                [
                    [width / span, 0, width / 2 - (x + w / 2) * width / span],
                    [0, width / span, height / 2 - (y + h / 2) * width / span],
                ]
            )
            crop = cv2.warpAffine(image, affine, (width, height), flags=cv2.INTER_LINEAR)
            heatmaps = self.infer(crop)
            if self._flip:
                mirrored = self.infer(np.ascontiguousarray(crop[:, ::-1]))[COCO17.mirrored, :, ::-1]
                moved = mirrored.copy()
                moved[:, :, 1:] = mirrored[:, :, :-1]
                heatmaps = 0.5 * (heatmaps + moved)
            found, joint_scores[row] = (values[0] for values in decode_dark(heatmaps[None]))
            coords[row] = (STRIDE * found - affine[:, 2]) * span / width
        return Poses(coords, joint_scores, boxes, person_scores(joint_scores), COCO17)


def timed(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each call, taken in turns."""
    times: dict[str, list[float]] = {title: [] for title in calls}
    for _ in range(rounds):
        for title, call in calls.items():
            start = time.perf_counter()
            call()
            times[title].append(1e3 * (time.perf_counter() - start))
    return {title: float(np.median(values)) for title, values in times.items()}


def main() -> None:
    """Evaluate, time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--tinypose", type=Path, required=True, help="its OpenVINO graph (.xml)")
    parser.add_argument("--bundle", nargs="*", default=[], help="names or folders of ours")
    parser.add_argument("--precision", nargs="*", default=["fp16"], help="fp32, fp16, int8 (of ours alone)")
    parser.add_argument("--flip", action="store_true", help="flip test, for all")
    parser.add_argument("--rounds", type=int, default=100, help="of timing")
    parser.add_argument("--only-time", action="store_true", help="no AP")
    args = parser.parse_args()
    benchmark = read_benchmark(args.coco, COCO17)
    read_image = image_reader(args.images, benchmark)
    precisions: dict[str, str] = {}
    calls: dict[str, Callable[[], object]] = {}
    rng = np.random.default_rng(0)
    for precision in args.precision:
        if precision != "int8":
            rival = TinyPose(args.tinypose, precision, args.flip)
            title, crop = f"PP-TinyPose {precision}", rng.integers(0, 256, (*rival.input_size, 3), np.uint8)
            calls[title] = partial(rival.infer, crop)
            if not args.only_time:
                answers = answers_to_boxes(rival.pose, benchmark, read_image)
                precisions[title] = precision_cells(benchmark, answers, rival.input_size)
        for name in args.bundle:
            estimator = PoseEstimator(name, "CPU", precision, "frame", flip_test=args.flip or None, requests=1)
            size = estimator.bundle.input_size
            title, views = f"{Path(name).stem} {precision}", 1 + estimator.flip_test
            crops = rng.integers(0, 256, (views, *size, 3), np.uint8)
            calls[title] = partial(estimator.backend.infer, crops)
            if not args.only_time:
                answers = evaluate_estimator(estimator, benchmark, args.images)
                precisions[title] = precision_cells(benchmark, answers, size)
    milliseconds = timed(calls, args.rounds)
    first = next(iter(milliseconds.values()))
    sys.stdout.write("| network | AP | AP50 | AP75 | ms a person | of the first |\n|---|---|---|---|---|---|\n")
    for title, value in milliseconds.items():
        cells = precisions.get(title, "| |")
        sys.stdout.write(f"| {title} | {cells} | {value:.1f} | {value / first:.2f} |\n")


def precision_cells(benchmark: Benchmark, answers: dict[int, Answer], size: tuple[int, int]) -> str:
    """AP with its standard error, AP50 and AP75 as cells of a table."""
    numbers, error = score(benchmark, answers, size), standard_error(benchmark, answers, size)
    return f"{numbers['AP']:.3f} +- {error:.3f} | {numbers['AP50']:.3f} | {numbers['AP75']:.3f}"


if __name__ == "__main__":
    main()
