"""The benchmark for NVIDIA GPUs, rehearsed: on the CPU, and on PyTorch's device without memory as a stand-in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install transpose-sdk[cuda]")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript: pip install transpose-sdk[convert]")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "benchmarks"))
import benchmark_cuda  # noqa: E402

from transpose_sdk.bundles.bundle import Bundle  # noqa: E402
from transpose_sdk.bundles.probe import Probe  # noqa: E402
from transpose_sdk.convert import export_bundle  # noqa: E402
from transpose_sdk.models import TransPose, create_model  # noqa: E402


def small(name: str) -> TransPose:
    torch.manual_seed(0)
    return create_model(name, input_size=(64, 48), layers=1, d_model=32, ffn=48, heads=4)


@pytest.fixture(autouse=True)
def _not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's compiler takes minutes, and a compiler of C++."""
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)


def test_a_rehearsal_on_the_cpu_writes_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_cuda, "create_model", small)
    monkeypatch.setattr(benchmark_cuda, "SIDE", 512)
    out = tmp_path / "docs" / "cuda.md"
    arguments = ["--device", "cpu", "--models", "tp_m", "--batches", "1", "2", "--rounds", "2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["benchmark_cuda.py", *arguments])
    benchmark_cuda.main()
    assert out.read_text() == capsys.readouterr().out
    rows = [line.split(" | ") for line in out.read_text().splitlines() if line.startswith(("| 1 |", "| 2 |"))]
    assert len(rows) == 2 * 3
    assert all(float(row[2]) > 0 for row in rows)


def test_a_network_is_exported_before_it_moves_to_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles: list[Bundle] = []

    class Backend:
        name, precision = "torch", "fp16"

        def __init__(self, bundle: Bundle, device: str, **_: Any) -> None:
            bundles.append(bundle)

        def infer(self, crops: np.ndarray) -> None:
            """Nothing."""

    monkeypatch.setattr(benchmark_cuda, "TorchBackend", Backend)
    network = small("tp_m")
    runs = benchmark_cuda.prepare(network, tmp_path, torch.device("meta"), [1])
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    assert len(runs) == 3
    (bundle,) = bundles
    assert np.isfinite(Probe.load(bundle).scores).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_network_on_a_gpu_is_exported_and_stays_there(tmp_path: Path) -> None:
    network = small("tp_m").cuda()
    export_bundle(network, tmp_path / "network.tpose", targets=("torch",))
    assert {parameter.device.type for parameter in network.parameters()} == {"cuda"}
