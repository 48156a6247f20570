"""What ships gives the network's answers on processors that lack what this one has: AVX2 without VNNI and BF16."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from int8_weights import widest_weights

from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.bundles.bundle import ASSETS, kind_of, named_folders, open_bundle

ROOT = Path(__file__).resolve().parents[1]
NAMES = [folder.stem for folder in named_folders(ASSETS) if kind_of(folder) == "pose"]
QUANTIZED = [name for name in NAMES if "int8" in open_bundle(name, "pose").graphs]
GRAPHS = [(name, precision) for name in NAMES for precision in ("fp16", "fp32")]
GRAPHS += [(name, "int8") for name in QUANTIZED]

# oneDNN, and OpenVINO's own kernels with it, leave out the instructions above the cap. What the plug-in itself finds
# in the processor is not capped: BF16 for what is not INT8, for which a capped oneDNN has no kernels.
START = """if True:
    import json
    from contextlib import closing

    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    from transpose_sdk.backends.choose import open_backend
    from transpose_sdk.bundles.bundle import open_bundle
    from transpose_sdk.backends.openvino_core import CORE
    from transpose_sdk.bundles.probe import Probe, check

    CORE.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
"""
PROBES = """
    reports = {}
    for name, precision in GRAPHS:
        bundle = open_bundle(name, "pose")
        with closing(open_backend(bundle, "CPU", precision, verify=False)) as backend:
            report = check(backend, Probe.load(bundle))
        reports[f"{name} {precision}"] = [report.joints, list(report.failures)]
    print(json.dumps(reports))
"""
# A 3x3 convolution of 255 by WEIGHT in all of 64 channels, in INT8, divided by what is right.
PRODUCTS = """
    one = [1, 1]
    pixels = ops.parameter([1, 64, 16, 16], np.float32)
    levels = [np.float32(value) for value in (0, 255, 0, 255)]
    quantized = ops.fake_quantize(pixels, *levels, 256)
    weights = ops.constant(np.full((64, 1, 1, 3, 3) if DEPTHWISE else (64, 64, 3, 3), WEIGHT, np.int8))
    weights = ops.multiply(ops.convert(weights, "f32"), np.float32(1 / 127))
    convolution = ops.group_convolution if DEPTHWISE else ops.convolution
    summed = convolution(quantized, weights, one, [0, 0], [0, 0], one)
    compiled = CORE.compile_model(ov.Model([summed], [pixels]), "CPU")
    answer = compiled(np.full((1, 64, 16, 16), 255, np.float32))[0]
    print(float(answer.mean()) / ((1 if DEPTHWISE else 64) * 9 * 255 * WEIGHT / 127))
"""

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="the instruction sets are those of x86-64"
)


def run_capped(cap: str, script: str) -> str:
    """What a script prints on a processor with the instructions of `cap`."""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": cap}
    ended = subprocess.run(
        [sys.executable, "-c", START + script],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def reports() -> dict[str, tuple[int, list[str]]]:
    """Joints compared and what is beyond its limit, by bundle and precision."""
    answers: dict[str, tuple[int, list[str]]] = json.loads(run_capped("AVX2", f"\n    GRAPHS = {GRAPHS}" + PROBES))
    return answers


@pytest.mark.parametrize(("name", "precision"), GRAPHS)
def test_what_ships_gives_the_networks_answers(
    reports: dict[str, tuple[int, list[str]]], name: str, precision: str
) -> None:
    joints, failures = reports[f"{name} {precision}"]
    assert joints >= 30
    assert not failures


def test_something_ships_in_int8() -> None:
    assert QUANTIZED


@pytest.mark.parametrize("name", QUANTIZED)
def test_weights_take_7_bits(name: str) -> None:
    """The eight people of a probe need not be those whose products saturate."""
    model = CORE.read_model(open_bundle(name, "pose").graph("int8").path)
    widest = widest_weights(model)
    assert len(widest) > 10
    assert max(widest) <= 64


@pytest.mark.parametrize(
    ("depthwise", "weight", "right"),
    [
        (False, 64, True),
        (False, 127, False),  # the cap is in force, or the tests above would show nothing
        (True, 127, True),  # which has no products to add in pairs
    ],
)
def test_products_of_8_bits_saturate_there(depthwise: bool, weight: int, right: bool) -> None:
    ratio = float(run_capped("AVX2", f"\n    DEPTHWISE, WEIGHT = {depthwise}, {weight}" + PRODUCTS))
    assert (abs(ratio - 1) < 0.01) == right, ratio
