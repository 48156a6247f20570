"""Backends: the same answers from every runtime, the words for devices, the self-check, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import logging
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from transpose_sdk.backend import Backend, Outputs
from transpose_sdk.backends import openvino
from transpose_sdk.backends.choose import open_backend, parse_device
from transpose_sdk.backends.openvino import CropsInFlight
from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.bundles import probe as probes
from transpose_sdk.bundles.bundle import Bundle, open_bundle
from transpose_sdk.bundles.probe import Limits, Probe, check
from transpose_sdk.disk.digest import file_digest
from transpose_sdk.errors import BackendError, BundleError, MissingDependencyError
from transpose_sdk.estimator import PoseEstimator

ROOT = Path(__file__).resolve().parents[1]

# Device, precision, and how far the answers may be from PyTorch in FP32, relative to the largest. OpenVINO's FP16
# graph holds weights of 11 bits, and on a CPU with AMX it is calculated in bfloat16, with 8.
RUNTIMES = [
    ("CPU", "fp16", 5e-2),
    ("CPU", "fp32", 5e-3),
    ("ONNXRUNTIME:CPU", "fp32", 1e-4),
    ("TORCH:CPU", "fp32", 1e-4),
]


@pytest.fixture(autouse=True)
def _user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSPOSE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle, "pose")


@pytest.fixture(scope="module")
def crops(bundle: Bundle) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (11, *bundle.input_size, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(bundle: Bundle, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
    """Heatmaps, queries and keys of the network itself."""
    torch = pytest.importorskip("torch", reason="the network itself needs torch: pip install transpose-sdk[convert]")
    from transpose_sdk.models import load_checkpoint
    from transpose_sdk.models.preprocessing import Preprocessing

    model = load_checkpoint(bundle.graph("torch").path)
    with torch.inference_mode():
        outputs = model.forward_with_attention(Preprocessing()(torch.from_numpy(crops)))
    return tuple(output.numpy() for output in outputs.given)


@pytest.fixture(scope="module", params=RUNTIMES, ids=lambda runtime: "-".join(map(str, runtime[:2])))
def opened(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[tuple[Backend, float]]:
    device, precision, tolerance = request.param
    if device.startswith("ONNXRUNTIME"):
        pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")
    backend = open_backend(bundle, device, precision)
    yield backend, tolerance
    backend.close()


def copy_of(bundle: Bundle, folder: Path) -> Path:
    return Path(shutil.copytree(bundle.folder, folder / bundle.folder.name))


def replace_probe(folder: Path, **arrays: NDArray[np.generic]) -> Bundle:
    """The bundle with other stored answers, as if its device gave wrong ones."""
    probe = Probe.load(open_bundle(folder, "pose"))
    path = folder / "probe.npz"
    Probe(**{**vars(probe), **arrays}).save(path)
    description = json.loads((folder / "bundle.json").read_text())
    description["probe"]["sha256"] = file_digest(path)
    (folder / "bundle.json").write_text(json.dumps(description))
    return open_bundle(folder, "pose")


@pytest.mark.parametrize("count", [0, 1, 3, 11])
def test_every_runtime_gives_the_networks_answers(
    opened: tuple[Backend, float], crops: NDArray[np.uint8], expected: tuple[NDArray[np.float32], ...], count: int
) -> None:
    backend, tolerance = opened
    outputs = backend.infer(crops[:count], attention=True)
    for answer, wanted in zip(outputs.given, expected, strict=True):
        assert answer is not None
        assert (answer.dtype, answer.shape) == (np.float32, (count, *wanted.shape[1:]))
        np.testing.assert_allclose(answer, wanted[:count], rtol=0, atol=tolerance * np.abs(wanted).max())


def test_attention_is_given_only_where_it_is_asked_for(opened: tuple[Backend, float], crops: NDArray[np.uint8]) -> None:
    outputs = opened[0].infer(crops[:2])
    assert outputs.queries is None
    assert outputs.keys is None


def test_calls_from_several_threads_do_not_mix(opened: tuple[Backend, float], crops: NDArray[np.uint8]) -> None:
    backend, _ = opened
    alone = [backend.infer(crops[i : i + 1 + i % 3]).heatmaps for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: backend.infer(crops[i : i + 1 + i % 3]).heatmaps, range(8)))
    flights = [backend.submit(crops[i : i + 1 + i % 3]) for i in range(8)]
    # Calls that run together round otherwise than alone; another crop's answer is far away.
    close = 1e-5 * max(float(np.abs(each).max()) for each in alone)
    for i in range(8):
        np.testing.assert_allclose(together[i], alone[i], rtol=0, atol=close)
        np.testing.assert_allclose(flights[i].result().heatmaps, alone[i], rtol=0, atol=close)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no stack for signals")
def test_ctrl_c_finds_a_stack_after_models_were_closed(bundle: Bundle) -> None:
    """Two cores of OpenVINO, closed in the order they were opened, would leave one behind that is there no more."""
    script = f"""if True:
        import signal
        from transpose_sdk.backends.choose import open_backend
        from transpose_sdk.bundles.bundle import open_bundle

        opened = [open_backend(open_bundle({str(bundle.folder)!r}, "pose"), "CPU") for _ in range(2)]
        while opened:
            opened.pop(0).close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.stderr.endswith("KeyboardInterrupt\n"), (ended.returncode, ended.stderr)


@pytest.mark.parametrize(
    ("counts", "runs"),
    [
        ([3, 2, 4], [9]),  # three frames in one batch
        ([5, 5, 5, 5], [15, 5]),  # the fourth does not fit into 16
        ([0, 2, 20, 1], [2, 20, 1]),  # one that is larger than a batch is split, on its own
    ],
)
def test_what_waits_for_a_gpu_runs_together(
    bundle: Bundle, crops: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, counts: list[int], runs: list[int]
) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install transpose-sdk[cuda]")
    from transpose_sdk.backends.pytorch import TorchBackend

    backend = TorchBackend(bundle, "CPU")
    frames = [np.resize(np.roll(crops, 3 * i, axis=0), (count, *crops.shape[1:])) for i, count in enumerate(counts)]
    alone = [backend.infer(frame, attention=True) for frame in frames]
    run, sizes, busy = backend._run, [], threading.Event()

    def counted(together: NDArray[np.uint8], attention: bool) -> Outputs:
        sizes.append(len(together))
        return run(together, attention)

    monkeypatch.setattr(backend, "_run", counted)
    backend._worker.submit(busy.wait)  # the device works on something else
    flights = [backend.submit(frame, attention=bool(i % 2)) for i, frame in enumerate(frames)]
    busy.set()
    for i, (flight, wanted) in enumerate(zip(flights, alone, strict=True)):
        answer = flight.result()
        np.testing.assert_allclose(answer.heatmaps, wanted.heatmaps, rtol=0, atol=1e-5)
        assert (answer.queries is not None) == bool(i % 2)
        if answer.queries is not None and wanted.queries is not None:
            np.testing.assert_allclose(answer.queries, wanted.queries, rtol=0, atol=1e-3)
    assert sizes == runs
    backend.close()


def test_a_device_that_fails_tells_all_who_wait(bundle: Bundle, crops: NDArray[np.uint8]) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install transpose-sdk[cuda]")
    backend = open_backend(bundle, "TORCH:CPU")
    flights = [backend.submit(wrong) for wrong in (crops[:2, :5], crops[:1, :5])]  # crops of another height
    for flight in flights:
        with pytest.raises((BackendError, ValueError)):
            flight.result()
    backend.infer(crops[:1])  # and goes on
    backend.close()


def test_a_backend_says_what_it_prefers(opened: tuple[Backend, float]) -> None:
    backend, _ = opened
    assert backend.requests >= 1
    assert backend.batches == tuple(sorted(backend.batches))
    assert backend.batches[0] == 1
    assert (len(backend.batches) == 1) == (backend.name != "torch")  # a GPU's way is one padded batch


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How each crop ran, one after the other."""
    taken: list[str] = []

    def start(requests: openvino._Requests, crop: NDArray[np.uint8], row: int, flight: CropsInFlight) -> None:
        taken.append("all cores" if requests.count == 1 else "a core")
        original(requests, crop, row, flight)

    original = openvino._Requests.start
    monkeypatch.setattr(openvino._Requests, "start", start)
    return taken


@pytest.mark.parametrize(
    ("count", "cores", "left"),
    [
        (0, 2, 0),
        (1, 2, 1),  # alone
        (2, 2, 0),  # a core each
        (3, 2, 1),
        (6, 2, 0),
        (3, 8, 3),  # one after the other on all cores, which are four times as fast as one
        (4, 8, 0),
        (9, 8, 1),
        (1, 1, 0),
    ],
)
def test_crops_that_would_leave_cores_idle_get_all_of_them(count: int, cores: int, left: int) -> None:
    assert openvino.left_over(count, cores) == left


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_crops_answer_is_the_same_however_it_runs(
    bundle: Bundle, crops: NDArray[np.uint8], precision: str, ways: list[str]
) -> None:
    """To the last bit: what a device is doing besides must not show in the poses."""
    with (
        closing(open_backend(bundle, "CPU", precision)) as backend,
        closing(open_backend(bundle, "CPU", precision, 1)) as one_request,
    ):
        if backend.requests == 1:
            pytest.skip("needs two cores")
        side_by_side = backend.submit(crops, attention=True, ahead=True).result()
        wanted = one_request.infer(crops, attention=True)
        ways.clear()
        alone = [backend.infer(crop[None], attention=True) for crop in crops]
        assert ways == ["all cores"] * len(crops)
        left_over = backend.infer(crops[: backend.requests + 1], attention=True)
        assert ways[len(crops) :] == ["a core"] * backend.requests + ["all cores"]
        for index, right in enumerate(wanted.given):
            np.testing.assert_array_equal(side_by_side.given[index], right)
            np.testing.assert_array_equal(np.concatenate([one.given[index] for one in alone]), right)
            np.testing.assert_array_equal(left_over.given[index], right[: len(left_over.heatmaps)])


def test_crops_run_side_by_side_where_others_are_under_way_or_follow(
    bundle: Bundle, crops: NDArray[np.uint8], ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_backend(bundle, "CPU")) as backend:
        if backend.requests == 1:
            pytest.skip("needs two cores")
        ways.clear()
        backend.submit(crops[:1], ahead=True).result()
        monkeypatch.setattr(openvino._Request, "busy", property(lambda _: True))
        backend.infer(crops[:1])
        assert ways == ["a core"] * 2


def test_a_request_is_busy_until_its_answer_is_there(bundle: Bundle, crops: NDArray[np.uint8]) -> None:
    with closing(open_backend(bundle, "CPU")) as backend:
        assert isinstance(backend, openvino.OpenVINOBackend)
        assert not backend._side_by_side.busy
        flight = backend.submit(np.resize(crops, (64, *crops.shape[1:])), ahead=True)
        flight.result()
        assert not backend._side_by_side.busy
        backend.submit(crops[:2], ahead=True)  # whose answer nobody takes
        end = time.monotonic() + 60
        while backend._side_by_side.busy:
            assert time.monotonic() < end
            time.sleep(0.001)


@pytest.mark.parametrize("requests", [1, 3])
def test_requests_that_are_stated_are_what_there_is(
    bundle: Bundle, crops: NDArray[np.uint8], requests: int, ways: list[str]
) -> None:
    with closing(open_backend(bundle, "CPU", requests=requests)) as backend:
        assert backend.requests == requests
        ways.clear()
        backend.infer(crops[:1])
        assert ways == ["all cores" if requests == 1 else "a core"]


@pytest.mark.parametrize(
    ("count", "parts"),
    [
        (0, []),
        (1, [1]),
        (3, [4]),  # padded by one
        (11, [16]),  # not 8 + 2 + 1: a launch costs more than padding
        (16, [16]),
        (37, [16, 16, 8]),
    ],
)
def test_batches_are_padded_and_split(count: int, parts: list[int]) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install transpose-sdk[cuda]")
    from transpose_sdk.backends.fixed_batches import SIZES, split

    assert split(count, SIZES) == parts


@pytest.mark.parametrize("name", ["tp_m", "tp_r_a3", "tp_h_s"])
def test_folding_batch_norms_changes_no_answer(name: str) -> None:
    torch = pytest.importorskip("torch", reason="needs torch: pip install transpose-sdk[cuda]")
    from transpose_sdk.backends.pytorch import fold_batch_norms
    from transpose_sdk.models import create_model

    torch.manual_seed(0)
    model = create_model(name, input_size=(64, 48)).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.1)
    images = torch.randn(1, 3, 64, 48)
    with torch.inference_mode():
        wanted = model(images)
        fold_batch_norms(model)
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
        torch.testing.assert_close(model(images), wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("AUTO", ("openvino", "AUTO")),
        ("cpu", ("openvino", "CPU")),
        ("GPU.1", ("openvino", "GPU.1")),
        ("npu", ("openvino", "NPU")),
        ("openvino:gpu", ("openvino", "GPU")),
        ("cuda", ("torch", "CUDA")),
        ("cuda:1", ("torch", "CUDA:1")),
        ("torch:cpu", ("torch", "CPU")),
        ("tensorrt", ("tensorrt", "CUDA")),
        ("TensorRT:1", ("tensorrt", "CUDA:1")),
        ("tensorrt:cuda:1", ("tensorrt", "CUDA:1")),
        ("onnxruntime:cpu", ("onnxruntime", "CPU")),
        ("onnxruntime:cuda:0", ("onnxruntime", "CUDA:0")),
    ],
)
def test_words_for_devices(word: str, meaning: tuple[str, str]) -> None:
    assert parse_device(word) == meaning


@pytest.mark.parametrize("word", ["", "tpu", "cpu:1", "onnxruntime", "openvino:", "metal"])
def test_other_words_are_refused_with_those_there_are(word: str) -> None:
    with pytest.raises(BackendError, match=r"use AUTO, CPU"):
        parse_device(word)


def without_graph(bundle: Bundle, folder: Path, *names: str) -> Bundle:
    """A copy of the bundle that offers fewer graphs."""
    folder = copy_of(bundle, folder)
    description = json.loads((folder / "bundle.json").read_text())
    for name in names:
        del description["graphs"][name]
    (folder / "bundle.json").write_text(json.dumps(description))
    return open_bundle(folder, "pose")


def test_onnx_runtime_runs_a_bundle_that_has_only_its_checkpoint(
    bundle: Bundle, crops: NDArray[np.uint8], expected: tuple[NDArray[np.float32], ...], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")
    bare = without_graph(bundle, tmp_path, "onnx")
    backend = open_backend(bare, "ONNXRUNTIME:CPU", verify=True)
    outputs = backend.infer(crops, attention=True)
    backend.close()
    for answer, wanted in zip(outputs.given, expected, strict=True):
        np.testing.assert_allclose(answer, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    (kept,) = (tmp_path / "home" / "compiled" / "onnx").glob("*.onnx")
    written = kept.stat().st_mtime_ns
    open_backend(bare, "ONNXRUNTIME:CPU").close()
    assert kept.stat().st_mtime_ns == written  # made once


def test_a_bundle_without_graph_and_checkpoint_has_nothing_for_onnx_runtime(bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")
    with pytest.raises(BundleError, match="no graph 'onnx': it offers fp16"):
        open_backend(without_graph(bundle, tmp_path, "onnx", "torch"), "ONNXRUNTIME:CPU")


def test_what_makes_an_onnx_graph_is_named_where_it_is_missing(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingDependencyError, match=r"onnxscript.*pip install 'transpose-sdk\[convert\]'"):
        open_backend(without_graph(bundle, tmp_path, "onnx"), "ONNXRUNTIME:CPU")


@pytest.mark.parametrize(
    ("device", "precision", "error", "words"),
    [
        ("NPU", None, BackendError, "NPU is not on this machine"),
        ("CPU", "int8", BundleError, "no graph 'int8': it offers fp16, onnx, torch"),
        ("CPU", "fp8", BundleError, "no graph 'fp8'"),
        ("ONNXRUNTIME:CPU", "fp16", BackendError, "no precision 'fp16': use fp32, int8"),
        ("ONNXRUNTIME:CPU", "int8", BundleError, "no graph 'onnx_int8'"),
        ("ONNXRUNTIME:CUDA", None, BackendError, "CUDAExecutionProvider"),
        ("ONNXRUNTIME:NPU", None, BackendError, "use CPU, CUDA or CUDA:1"),
        ("TORCH:CPU", "fp16", BackendError, "has no precision 'fp16': use fp32"),
        ("TORCH:XPU", None, BackendError, "use CUDA, CUDA:1 or CPU"),
        ("CUDA", None, BackendError, "no NVIDIA GPU"),
    ],
)
def test_what_a_device_lacks_is_named(
    bundle: Bundle, device: str, precision: str | None, error: type[Exception], words: str
) -> None:
    if "CUDA" in device and has_cuda():
        pytest.skip("there is an NVIDIA GPU")
    if device == "NPU" and "NPU" in CORE.available_devices:
        pytest.skip("there is an NPU")
    with pytest.raises(error, match=words):
        open_backend(bundle, device, precision)


@pytest.mark.parametrize(
    ("precision", "capabilities", "lacks"),
    [
        ("fp16", ("FP16", "INT8"), False),
        ("fp32", ("FP16", "INT8"), True),  # an NPU
        ("int8", ("FP32", "FP16"), True),  # an old GPU
        ("int8", ("FP32", "INT8"), False),
    ],
)
def test_a_precision_the_device_lacks(precision: str, capabilities: tuple[str, ...], lacks: bool) -> None:
    if not lacks:
        openvino.check_precision(precision, "NPU", capabilities)
        return
    with pytest.raises(BackendError, match=f"NPU lacks the precision {precision}"):
        openvino.check_precision(precision, "NPU", capabilities)


@pytest.mark.parametrize(
    ("providers", "first", "passes"),
    [
        (["CUDAExecutionProvider", "CPUExecutionProvider"], True, True),
        (["CPUExecutionProvider"], True, False),  # a library of CUDA was missing, and nobody was told
        (["CPUExecutionProvider", "CUDAExecutionProvider"], True, False),
        (["CPUExecutionProvider", "CUDAExecutionProvider"], False, True),
    ],
)
def test_onnx_runtime_must_run_what_was_asked_for(providers: list[str], first: bool, passes: bool) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")
    from transpose_sdk.backends.onnxruntime import check_providers

    if passes:
        check_providers(providers, "CUDAExecutionProvider", first)
        return
    with pytest.raises(BackendError, match="not CUDAExecutionProvider"):
        check_providers(providers, "CUDAExecutionProvider", first)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
@pytest.mark.parametrize(("machine", "jetson"), [("x86_64", False), ("aarch64", True)])
def test_a_missing_runtime_is_one_sentence(
    bundle: Bundle, machine: str, jetson: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(MissingDependencyError, match=r"pip install 'transpose-sdk\[tensorrt\]'") as raised:
        open_backend(bundle, "TENSORRT")
    assert ("JetPack" in str(raised.value)) == jetson


def test_a_damaged_graph_is_not_run(bundle: Bundle, tmp_path: Path) -> None:
    folder = copy_of(bundle, tmp_path)
    for name in ("model_fp16.bin", "model.onnx", "checkpoint.safetensors"):
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
    for device in ("CPU", "ONNXRUNTIME:CPU", "TORCH:CPU"):
        with pytest.raises(BundleError, match="SHA-256 differs"):
            open_backend(open_bundle(folder, "pose"), device)


def test_the_probe_agrees_everywhere(opened: tuple[Backend, float], bundle: Bundle) -> None:
    report = check(opened[0], Probe.load(bundle))
    assert report.passed, report.failures


@pytest.mark.parametrize("device", ["AUTO", "CPU", "ONNXRUNTIME:CPU"])
def test_a_device_with_other_answers_is_refused_with_the_numbers(bundle: Bundle, device: str, tmp_path: Path) -> None:
    folder = copy_of(bundle, tmp_path)
    wrong = replace_probe(folder, scores=2 * Probe.load(bundle).scores)
    open_backend(wrong, device, verify=False).close()  # without the check nobody notices
    for verify in (None, None, True):  # nor is a wrong answer ever remembered as a right one
        with pytest.raises(BackendError, match=r"score error 0\.\d+ \(limit 0\.\d+\)"):
            open_backend(wrong, device, verify=verify)


def test_what_is_left_open_falls_back_and_says_so(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # No FP16 graph is as exact as this, so the FP32 one has to step in.
    monkeypatch.setitem(probes.LIMITS, "fp16", Limits(mean_drift=0, max_drift=0, score_error=0, attention=1.0))
    with caplog.at_level(logging.WARNING):
        backend = open_backend(bundle, "AUTO")
    assert backend.precision == "fp32"
    assert "runs on CPU in fp32 instead: CPU in fp16 gives other answers" in caplog.text
    with pytest.raises(BackendError, match="score error"):
        open_backend(bundle, "AUTO", "fp16")  # what is stated is not exchanged


def test_an_estimator_verifies_itself(bundle: Bundle, tmp_path: Path) -> None:
    with PoseEstimator(bundle.folder, "CPU", detector="frame", verify=True) as estimator:
        assert len(estimator(np.zeros((120, 90, 3), np.uint8))) <= 1
    folder = copy_of(bundle, tmp_path)
    replace_probe(folder, scores=2 * Probe.load(bundle).scores)
    with pytest.raises(BackendError, match="gives other answers than the network in FP32"):
        PoseEstimator(folder, "CPU", detector="frame")
    PoseEstimator(folder, "CPU", detector="frame", verify=False).close()


def test_a_bundle_without_a_probe_cannot_be_verified(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy_of(bundle, tmp_path)
    description = json.loads((folder / "bundle.json").read_text())
    del description["probe"]
    (folder / "bundle.json").write_text(json.dumps(description))
    with pytest.raises(BundleError, match="has no probe"):
        open_backend(open_bundle(folder, "pose"), "CPU", verify=True)
    open_backend(open_bundle(folder, "pose"), "CPU").close()
    assert "has no probe to check CPU with" in caplog.text


def test_fp16_in_onnx_keeps_layer_norm_and_softmax_in_fp32(bundle: Bundle, crops: NDArray[np.uint8]) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx: pip install transpose-sdk[tensorrt]")
    ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")
    from transpose_sdk.backends.half import KEPT, cast_pixels, to_half

    model = onnx.load(bundle.graph("onnx").path)
    half = to_half(model)
    inferred = onnx.shape_inference.infer_shapes(half).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    types |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    inputs = {kind: set() for kind in (*KEPT, "MatMul", "ConvTranspose")}
    for node in inferred.node:
        if node.op_type in inputs:
            inputs[node.op_type] |= {types[name] for name in node.input}
    assert inputs == {
        "LayerNormalization": {onnx.TensorProto.FLOAT},
        "Softmax": {onnx.TensorProto.FLOAT},
        "MatMul": {onnx.TensorProto.FLOAT16},
        "ConvTranspose": {onnx.TensorProto.FLOAT16},
    }
    # TensorRT does nothing to a uint8 tensor but to cast it.
    assert [node.op_type for node in half.graph.node if "crops" in node.input] == ["Cast"]

    wanted, cast, fast = (
        ort.InferenceSession(form.SerializeToString()).run(None, {"crops": crops[:3]})
        for form in (model, cast_pixels(model), half)
    )
    for answer, same, reference in zip(fast, cast, wanted, strict=True):
        assert answer.dtype == np.float32
        np.testing.assert_allclose(same, reference, rtol=0, atol=1e-5 * np.abs(reference).max())
        np.testing.assert_allclose(answer, reference, rtol=0, atol=1e-2 * np.abs(reference).max())


def test_fp16_around_int8(bundle: Bundle, crops: NDArray[np.uint8], tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx: pip install transpose-sdk[tensorrt]")
    ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")
    from onnxruntime import quantization

    from transpose_sdk.backends.half import to_half

    class Crops(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._rows = iter([{"crops": crops[row : row + 1]} for row in range(4)])

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self._rows, None)

    quantization.quantize_static(
        bundle.graph("onnx").path,
        tmp_path / "qdq.onnx",
        Crops(),
        op_types_to_quantize=["Conv", "MatMul"],
        reduce_range=True,  # as `transpose export` does: the kernels of both graphs saturate differently without VNNI
        activation_type=quantization.QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )
    model = onnx.load(tmp_path / "qdq.onnx")
    kinds = [node.op_type for node in model.graph.node]
    half = to_half(model)
    assert [node.op_type for node in half.graph.node if node.op_type != "Cast"] == [k for k in kinds if k != "Cast"]
    wanted, answer = (
        ort.InferenceSession(form.SerializeToString()).run(["heatmaps"], {"crops": crops[:3]})[0]
        for form in (model, half)
    )
    np.testing.assert_allclose(answer, wanted, rtol=0, atol=5e-2 * np.abs(wanted).max())


def test_weights_beyond_fp16_are_named() -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx: pip install transpose-sdk[tensorrt]")
    from onnx import helper, numpy_helper

    from transpose_sdk.backends.half import to_half

    weight = numpy_helper.from_array(np.full((1, 1, 1, 1), 1e6, np.float32), "weight")
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, 4, 4]) for name in ("x", "y")]
    node = helper.make_node("Conv", ["x", "weight"], ["y"])
    graph = helper.make_graph([node], "large", values[:1], values[1:], [weight])
    with pytest.raises(BackendError, match="weight is too large for FP16"):
        to_half(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))


def has_cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


@pytest.mark.parametrize(
    ("device", "precision", "tolerance"),
    [("CUDA", "fp16", 2e-2), ("CUDA", "fp32", 1e-3), ("TENSORRT", "fp16", 2e-2), ("TENSORRT", "fp32", 1e-3)],
)
def test_nvidia_gpus_give_the_networks_answers(
    bundle: Bundle,
    crops: NDArray[np.uint8],
    expected: tuple[NDArray[np.float32], ...],
    device: str,
    precision: str,
    tolerance: float,
) -> None:
    if not has_cuda():
        pytest.skip("needs an NVIDIA GPU")
    if device == "TENSORRT":
        pytest.importorskip("tensorrt", reason="needs TensorRT: pip install transpose-sdk[tensorrt]")
    backend = open_backend(bundle, device, precision, verify=True)
    for count in (1, 3, 11, 2):  # small batches after large ones: no answer of the padding may show
        outputs = backend.infer(crops[:count], attention=True)
        for answer, wanted in zip(outputs.given, expected, strict=True):
            np.testing.assert_allclose(answer, wanted[:count], rtol=0, atol=tolerance * np.abs(wanted).max())
    backend.close()
