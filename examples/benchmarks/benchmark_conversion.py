"""Time one crop in eager PyTorch, OpenVINO (FP32, FP16, INT8) and ONNX Runtime, side by side, and write a table.

    python examples/benchmarks/benchmark_conversion.py [--models tp_r_a4 tp_m] [--bundles NAME ...] [--rounds 40] \
        [--out F.md]

Speed does not depend on the weights, so networks are timed with fresh weights, quantized as a whole; bundles are timed
as they ship, with the layers in higher precision that the accuracy gate gave back. Every round times each runtime once,
in turn, so that whatever else the machine does hits all of them; a time is the median of the rounds, and a ratio the
median of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nncf
import numpy as np
import onnxruntime
import openvino as ov
import torch

from transpose_sdk.backends.onnx_graph import onnx_graph
from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.bundles.bundle import Bundle, open_bundle
from transpose_sdk.convert.drawn_people import drawn_people
from transpose_sdk.errors import BundleError
from transpose_sdk.models import TransPose, create_model, load_checkpoint
from transpose_sdk.models.create import build_model
from transpose_sdk.models.deployed import DeployedNetwork, export_onnx

EAGER, FP32, DEFAULT = "PyTorch eager FP32", "OpenVINO FP32", "OpenVINO FP16 graph"
INT8, INT8_FP32 = "OpenVINO INT8", "OpenVINO INT8, rest in FP32"
NO_ATTENTION = "OpenVINO FP32 without Q and K"
ORT_FP32, ORT_INT8 = "ONNX Runtime FP32", "ONNX Runtime INT8 (QDQ)"
REST = 0.25  # s between runtimes: the threads of the last one spin for up to 0.2 s, waiting for more work
CALIBRATION = 4  # crops; where the ranges lie makes no difference to the speed
# What has to be at least so many times as fast as what.
TARGETS = {
    (FP32, EAGER): 1.8,
    (DEFAULT, EAGER): 1.8,
    (INT8, FP32): 1.6,
    (INT8_FP32, FP32): 1.6,
    (FP32, NO_ATTENTION): 1 / 1.05,
}

Runs = dict[str, Callable[[], object]]


def quantized_network(model: TransPose, folder: Path, threads: int) -> Runs:
    """Calls of a network that is converted and quantized as a whole; see `calls`."""
    export_onnx(model, folder / "model.onnx")
    graph = ov.convert_model(folder / "model.onnx")
    nncf.set_log_level(logging.ERROR)
    crops = drawn_people(CALIBRATION, model.input_size)
    data = nncf.Dataset([one[None] for one in crops])
    with contextlib.redirect_stdout(sys.stderr):  # progress bars
        int8 = nncf.quantize(graph, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=CALIBRATION)
    ov.save_model(graph, folder / "fp16.xml", compress_to_fp16=True)
    ov.save_model(int8, folder / "int8.xml", compress_to_fp16=True)
    onnx = {ORT_FP32: folder / "model.onnx"}
    return calls(model, {"fp16": folder / "fp16.xml", "int8": folder / "int8.xml"}, onnx, threads)


def shipped_bundle(bundle: Bundle, threads: int) -> Runs:
    """Calls of a bundle's own graphs; see `calls`. Without a checkpoint PyTorch gets fresh weights, ONNX no turn."""
    paths = {name: bundle.graph(name).path for name in bundle.graphs}
    openvino = {name: path for name, path in paths.items() if name in ("fp16", "int8")}
    onnx = {name: paths[graph] for name, graph in ((ORT_FP32, "onnx"), (ORT_INT8, "onnx_int8")) if graph in paths}
    if "torch" not in paths:
        if bundle.network is None:
            raise BundleError(f"{bundle.folder} does not state its network: export it again")
        model = build_model(bundle.network).eval()
        return calls(model, openvino, onnx, threads)
    return calls(load_checkpoint(paths["torch"]), openvino, {ORT_FP32: onnx_graph(bundle, "onnx")} | onnx, threads)


def calls(model: TransPose, openvino: dict[str, Path], onnx: dict[str, Path], threads: int) -> Runs:
    """One call for each runtime, all on the same crop.

    Args:
        model: The network.
        openvino: Its graphs, "fp16" and, where there is one, "int8".
        onnx: Its ONNX graphs by the name of the row.
        threads: CPU threads of every runtime.
    """
    crop = drawn_people(1, model.input_size)

    def compiled(path: Path, hint: str | None, attention: bool = True) -> Callable[[], object]:
        graph = CORE.read_model(path)
        for result in graph.get_results()[1:] if not attention else ():
            graph.remove_result(result)
        graph.reshape([1, *model.input_size, 3])
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": str(threads), "ENABLE_CPU_PINNING": "NO"}
        options |= {"INFERENCE_PRECISION_HINT": hint} if hint else {}
        request = CORE.compile_model(graph, "CPU", options).create_infer_request()
        tensor = ov.Tensor(crop, shared_memory=True)
        return lambda: request.infer({0: tensor}, share_outputs=True)

    def session(path: Path) -> Callable[[], object]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        opened = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda: opened.run(None, {"crops": crop})

    network, images = DeployedNetwork(model), torch.from_numpy(crop)

    def eager() -> object:
        with torch.inference_mode():
            return network(images)

    runs: Runs = {EAGER: eager} | {name: session(path) for name, path in onnx.items()}
    runs[NO_ATTENTION] = compiled(openvino["fp16"], "f32", attention=False)
    runs[FP32] = compiled(openvino["fp16"], "f32")
    runs[DEFAULT] = compiled(openvino["fp16"], None)
    if "int8" in openvino:
        runs[INT8_FP32] = compiled(openvino["int8"], "f32")
        runs[INT8] = compiled(openvino["int8"], None)
    return runs


def measure(runs: Runs, rounds: int) -> dict[str, list[float]]:
    """Seconds of every runtime in every round; the first calls, which allocate, are not counted."""
    for run in runs.values():
        for _ in range(3):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(REST)
            run()  # caches and threads are this runtime's again
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], fast: str, slow: str) -> float:
    """How many times as fast one is as the other."""
    return float(np.median(np.array(seconds[slow]) / np.array(seconds[fast])))


def table(name: str, input_size: tuple[int, int], seconds: dict[str, list[float]]) -> str:
    """A network's or bundle's section, in Markdown."""
    lines = [f"## {name}, {input_size[0]} x {input_size[1]}, one crop", ""]
    lines += ["| runtime | median, ms | lowest, ms | times as fast as eager |", "|---|---|---|---|"]
    for runtime, times in seconds.items():
        speed = ratio(seconds, runtime, EAGER)
        lines.append(f"| {runtime} | {np.median(times) * 1e3:.2f} | {min(times) * 1e3:.2f} | {speed:.2f} |")
    lines += ["", "| compared | measured | wanted |", "|---|---|---|"]
    for (fast, slow), wanted in TARGETS.items():
        if fast not in seconds:
            continue
        measured = ratio(seconds, fast, slow)
        if slow == NO_ATTENTION:
            lines.append(f"| cost of the outputs Q and K | {1 / measured - 1:+.1%} | at most +5 % |")
        else:
            lines.append(f"| {fast} to {slow} | {measured:.2f} | at least {wanted:g} |")
    return "\n".join(lines) + "\n"


def preamble(threads: int, rounds: int) -> str:
    """What was measured, on what, in Markdown."""
    hint = CORE.get_property("CPU", "INFERENCE_PRECISION_HINT")
    processor = CORE.get_property("CPU", "FULL_DEVICE_NAME")
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return f"""# Speed of the converted networks on a CPU

Written by `python examples/benchmarks/benchmark_conversion.py`; run it again on your machine.

{processor}, {platform.system()}, threads: {threads}; load of the machine at the start: {load}.
PyTorch {torch.__version__}, OpenVINO {ov.__version__.split("-", maxsplit=1)[0]}, \
ONNX Runtime {onnxruntime.__version__}, NNCF {nncf.__version__}.
Medians of {rounds} interleaved rounds; ratios are medians of the rounds' own ratios.
Every graph takes uint8 and gives heatmaps, Q and K unless it says otherwise.
Bundles without a checkpoint are timed in PyTorch with fresh weights, and not in ONNX Runtime.

"FP32" runs with INFERENCE_PRECISION_HINT f32. "FP16 graph" and "INT8" leave the hint to OpenVINO, whose choice here is
{hint.to_string() if hasattr(hint, "to_string") else hint}: that is what users get.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["tp_r_a4", "tp_m"], help="networks (default: %(default)s)")
    parser.add_argument(
        "--bundles",
        nargs="*",
        default=["tp_l_256x192", "tp_l_160x112", "tp_m16_192x144"],
        help="names or folders (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=40, help="timed calls of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="Markdown file to write; standard output gets the table anyway")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    text = preamble(options.threads, options.rounds)
    for name in options.models:
        model = create_model(name).eval()
        with tempfile.TemporaryDirectory() as folder:
            seconds = measure(quantized_network(model, Path(folder), options.threads), options.rounds)
        text += table(f"{name}, fresh weights", model.input_size, seconds) + "\n"
    for spec in options.bundles:
        bundle = open_bundle(spec, "pose")
        seconds = measure(shipped_bundle(bundle, options.threads), options.rounds)
        text += table(f"the bundle {bundle.name}", bundle.input_size, seconds) + "\n"
    sys.stdout.write(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
