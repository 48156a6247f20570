"""TP-L's stem against PP-TinyPose's own graph, from which it was read, with its shuffles and without, in one run.

    python examples/benchmarks/benchmark_stem.py --tinypose tinypose_256x192_fp16.xml [--precision f32] [--rounds 100]

All as OpenVINO graphs of one image; times are taken in turns. PP-TinyPose's graph holds one 1x1 convolution more, its
heatmaps. Prints a Markdown table: median and lowest milliseconds, and the ratio of the medians to PP-TinyPose's.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import openvino as ov
import torch

from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.convert.tiny_pose import read_lite_hrnet
from transpose_sdk.models import create_model
from transpose_sdk.models.fold_shuffles import fold_shuffles


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tinypose", type=Path, required=True, help="its OpenVINO graph (.xml)")
    parser.add_argument("--precision", default="f32", help="f32 or bf16")
    parser.add_argument("--rounds", type=int, default=100)
    args = parser.parse_args()
    network = create_model("tp_l").eval()
    network.lite_hrnet, _ = read_lite_hrnet(args.tinypose)
    image = torch.zeros(1, 3, 256, 192)
    models = {
        "PP-TinyPose": CORE.read_model(args.tinypose),
        "the stem, with shuffles": ov.convert_model(network.lite_hrnet, example_input=image, input=[image.shape]),
        "the stem, as exported": ov.convert_model(
            fold_shuffles(network).lite_hrnet, example_input=image, input=[image.shape]
        ),
    }
    hints = {"INFERENCE_PRECISION_HINT": args.precision, "PERFORMANCE_HINT": "LATENCY"}
    graphs = {title: CORE.compile_model(model, "CPU", hints) for title, model in models.items()}
    pixels = np.random.default_rng(0).normal(size=(1, 3, 256, 192)).astype(np.float32)
    times: dict[str, list[float]] = {title: [] for title in graphs}
    for _ in range(args.rounds):
        for title, graph in graphs.items():
            start = time.perf_counter()
            graph(pixels)
            times[title].append(1e3 * (time.perf_counter() - start))
    first = float(np.median(times["PP-TinyPose"]))
    sys.stdout.write("| graph | median, ms | lowest, ms | of PP-TinyPose |\n|---|---|---|---|\n")
    for title, values in times.items():
        middle = float(np.median(values))
        sys.stdout.write(f"| {title} | {middle:.1f} | {min(values):.1f} | {middle / first:.2f} |\n")


if __name__ == "__main__":
    main()
