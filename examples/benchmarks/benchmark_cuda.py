"""Time the CUDA backend against PyTorch's own ways on an NVIDIA GPU, side by side, and write a table.

    python examples/benchmarks/benchmark_cuda.py [--models tp_r_a4 tp_h_a4] [--batches 1 8 64] [--rounds 30] \
        [--out docs/measurements/cuda.md]

Speed does not depend on the weights, so networks with fresh weights are timed. Every call takes uint8 crops in host
memory and ends with heatmaps in host memory, copies included. Every round times each way once, in turn; a time is the
median of the rounds, a ratio the median of the rounds' own ratios. The share of the peak compares the network's
multiplications with what one large FP16 matrix product reaches on the same device in the same run (or with --peak, the
data sheet's figure). `--device cpu` runs the same script without a GPU, in FP32, as a rehearsal.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from transpose_sdk.backend import Backend
from transpose_sdk.backends.pytorch import TorchBackend, find_torch_device
from transpose_sdk.bundles.bundle import open_bundle
from transpose_sdk.convert import export_bundle
from transpose_sdk.convert.drawn_people import drawn_people
from transpose_sdk.models import TransPose, create_model
from transpose_sdk.models.deployed import DeployedNetwork

EAGER = "PyTorch eager FP32"
SIDE = 8192  # of the square matrices whose product stands for the device's peak

Run = Callable[[NDArray[np.uint8]], object]


def plain(network: Callable[[torch.Tensor], tuple[torch.Tensor, ...]], device: torch.device, half: bool) -> Run:
    """A network as a user of PyTorch would call it.

    Args:
        network: Maps uint8 crops to heatmaps, queries and keys.
        device: Where it lives.
        half: Whether to run it under FP16 autocast.
    """

    def run(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.autocast(device.type, torch.float16, enabled=half):
            heatmaps: NDArray[np.float32] = network(torch.from_numpy(crops).to(device))[0].float().cpu().numpy()
            return heatmaps

    return run


def prepare(model: TransPose, folder: Path, device: torch.device, batches: list[int]) -> dict[str, Run]:
    """One call for each way, all for the same crops.

    Args:
        model: The network, on the CPU; it is moved to the device once it is exported.
        folder: For its bundle.
        device: Where to run.
        batches: Batch sizes.
    """
    targets = ("torch", "tensorrt") if importlib.util.find_spec("tensorrt") else ("torch",)
    path = export_bundle(model, folder / "network.tpose", targets=targets, name=model.variant.name)
    bundle = open_bundle(path, "pose")
    network = DeployedNetwork(model).to(device)
    on_gpu = device.type == "cuda"
    runs = {EAGER: plain(network, device, half=False)}
    if on_gpu:
        runs["PyTorch eager, FP16 autocast"] = plain(network, device, half=True)
    mode = "max-autotune" if on_gpu else "default"
    compiled = torch.compile(network, mode=mode, dynamic=False)
    runs[f"torch.compile ({mode}), {'FP16 autocast' if on_gpu else 'FP32'}"] = plain(compiled, device, half=on_gpu)
    backends: list[Backend] = [TorchBackend(bundle, str(device), batches=batches)]
    if on_gpu and "tensorrt" in targets:
        from transpose_sdk.backends.tensorrt import TensorRTBackend

        backends.append(TensorRTBackend(bundle, str(device), batches=batches))
    for backend in backends:
        graphs = ", CUDA graphs" if on_gpu else ""
        runs[f"our {backend.name} backend, {backend.precision.upper()}{graphs}"] = backend.infer
    return runs


def measure(runs: dict[str, Run], crops: NDArray[np.uint8], rounds: int) -> dict[str, NDArray[np.float64]]:
    """Seconds of every way in every round; the first calls, which compile and allocate, are not counted."""
    for run in runs.values():
        for _ in range(3):
            run(crops)
    seconds = {name: np.empty(rounds) for name in runs}
    for index in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run(crops)
            seconds[name][index] = time.perf_counter() - start
    return seconds


def operations(model: TransPose) -> int:
    """Multiplications and additions of one crop, of a network on the CPU."""
    height, width = model.input_size
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        model(torch.zeros((1, 3, height, width)))
    return int(counter.get_total_flops())


def reached_peak(device: torch.device) -> float:
    """Operations a second of a large matrix product: FP16 on a GPU, FP32 on a CPU."""
    on_gpu = device.type == "cuda"
    side = SIDE if on_gpu else SIDE // 8
    matrix = torch.randn((side, side), device=device, dtype=torch.float16 if on_gpu else torch.float32)
    best = 0.0
    for _ in range(10):
        start = time.perf_counter()
        for _ in range(10):
            matrix @ matrix
        if on_gpu:
            torch.cuda.synchronize(device)
        best = max(best, 10 * 2 * side**3 / (time.perf_counter() - start))
    return best


def table(seconds: dict[str, NDArray[np.float64]], batch: int, work: int, peak: float) -> str:
    """A batch size's rows, in Markdown."""
    lines = []
    for name, times in seconds.items():
        median = float(np.median(times))
        ratio = float(np.median(seconds[EAGER] / times))
        share = batch * work / median / peak
        lines.append(f"| {batch} | {name} | {median * 1e3:.3f} | {batch / median:.0f} | {ratio:.2f} | {share:.1%} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["tp_r_a4", "tp_h_a4"], help="networks (default: %(default)s)")
    parser.add_argument(
        "--batches", nargs="+", type=int, default=[1, 8, 64], help="crops a call (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=30, help="timed calls of each (default: %(default)s)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu (default: %(default)s)")
    parser.add_argument("--peak", type=float, help="peak in TFLOPS; by default what a large matrix product reaches")
    parser.add_argument("--out", type=Path, help="Markdown file to write; standard output gets the table anyway")
    options = parser.parse_args()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    device = find_torch_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    peak = options.peak * 1e12 if options.peak else reached_peak(device)
    text = (
        "# Speed on NVIDIA GPUs\n\nWritten by `python examples/benchmarks/benchmark_cuda.py`; "
        "run it again on your machine.\n\n"
    )
    text += f"{name}, PyTorch {torch.__version__}; peak taken as {peak / 1e12:.3g} TFLOPS.\n"
    for one in options.models:
        model = create_model(one).eval()
        work = operations(model)
        text += f"\n## {one}, {work / 2e9:.2f} GMAC a crop\n\n"
        text += (
            "| crops | way | ms a call | persons a second | times eager | share of peak |\n|---|---|---|---|---|---|\n"
        )
        with tempfile.TemporaryDirectory() as folder:
            runs = prepare(model, Path(folder), device, options.batches)
            for batch in options.batches:
                crops = np.ascontiguousarray(drawn_people(batch, model.input_size))
                text += table(measure(runs, crops, options.rounds), batch, work, peak) + "\n"
    sys.stdout.write(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
