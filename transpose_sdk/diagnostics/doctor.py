"""Does it work here? Every bundle on every device and precision of this machine, against its stored FP32 answers."""

from __future__ import annotations

import importlib.util
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from transpose_sdk.backend import Backend
from transpose_sdk.backends import first_check
from transpose_sdk.backends.choose import choose_backend, open_backend
from transpose_sdk.backends.fastest import Choice
from transpose_sdk.backends.openvino import precisions
from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.bundles.probe import Probe, ProbeReport, check
from transpose_sdk.errors import TransposeError

# What each extra brings, by the name of its distribution.
PACKAGES = {
    "needed": ("numpy", "opencv-python-headless", "numba", "openvino"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "cuda": ("torch", "safetensors"),
    "tensorrt": ("tensorrt",),
    "convert": ("onnx", "onnxscript", "nncf", "pooch"),
}
PEOPLE = 8
MEASURING_TIME = 0.5  # s for each of one person and eight


@dataclass(frozen=True)
class Finding:
    """A bundle on a device in a precision.

    Attributes:
        device: As `open_backend` takes it.
        precision: As `open_backend` takes it.
        report: Its distance from the FP32 network; None where it could not run.
        one: Time of one crop in ms.
        each_of_eight: Time per crop of eight at once, in ms.
        problem: Why it cannot run, or is refused; empty where all is well.
    """

    device: str
    precision: str
    report: ProbeReport | None = None
    one: float | None = None
    each_of_eight: float | None = None
    problem: str = ""


def package_versions() -> dict[str, dict[str, str | None]]:
    """Version of each package by extra; None where it is not installed."""
    return {extra: {name: _version(name) for name in names} for extra, names in PACKAGES.items()}


def device_names() -> dict[str, str]:
    """What the devices that can be asked for are called by their makers."""
    names = {name: str(CORE.get_property(name, "FULL_DEVICE_NAME")).strip() for name in CORE.available_devices}
    return names | {f"CUDA:{index}": name for index, name in enumerate(_cuda_names())}


def system() -> str:
    """Operating system, machine and Python in a line."""
    return f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}"


def examine(bundle: Bundle) -> Iterator[Finding]:
    """Run a bundle's probe on everything here that it has a graph for.

    Raises:
        BundleError: It has no probe, or the probe is damaged.
    """
    probe = Probe.load(bundle)
    for device, precision in _combinations(bundle):
        try:
            backend = open_backend(bundle, device, precision, verify=False)
        except TransposeError as error:
            yield Finding(device, precision, problem=str(error))
            continue
        try:
            report = check(backend, probe)
            one, eight = (_milliseconds(backend, probe, count) for count in (1, PEOPLE))
            yield Finding(device, precision, report, one, eight / PEOPLE, ", ".join(report.failures))
        except TransposeError as error:
            yield Finding(device, precision, problem=str(error))
        finally:
            backend.close()


@dataclass(frozen=True)
class DefaultPath:
    """What a user gets who leaves device and precision open.

    Attributes:
        device: That is taken.
        precision: That is taken.
        choice: How the precision was chosen; None where the bundle has one graph for the device.
        milliseconds: What asking the probe costs at the first opening.
    """

    device: str
    precision: str
    choice: Choice | None
    milliseconds: float


def default_path(bundle: Bundle) -> DefaultPath:
    """Open a bundle as a user does who asks for nothing; checked, timed and remembered anew.

    Raises:
        TransposeError: Nothing here runs it with the right answers.
    """
    backend, choice = choose_backend(bundle, verify=True)
    try:
        start = time.perf_counter()
        first_check.verify(backend, bundle, anew=True)
        cost = 1000 * (time.perf_counter() - start)
        return DefaultPath(backend.device, backend.precision, choice, cost)
    finally:
        backend.close()


def _combinations(bundle: Bundle) -> Iterator[tuple[str, str]]:
    for device in CORE.available_devices:
        for precision in precisions(bundle):
            yield device, precision
    onnx = [precision for precision, graph in (("fp32", "onnx"), ("int8", "onnx_int8")) if graph in bundle.graphs]
    cuda = [f"CUDA:{index}" for index in range(len(_cuda_names()))]
    if importlib.util.find_spec("onnxruntime"):
        for device in ["CPU", *cuda]:
            for precision in onnx:
                yield f"ONNXRUNTIME:{device}", precision
    for device in cuda:
        if "torch" in bundle.graphs:
            yield from ((device, precision) for precision in ("fp16", "fp32"))
        if importlib.util.find_spec("tensorrt") and "onnx" in bundle.graphs:
            yield from ((f"TENSORRT:{device}", name) for name in ("fp16", "int8") if name == "fp16" or "int8" in onnx)


def _cuda_names() -> list[str]:
    """NVIDIA GPUs that PyTorch can use; none where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _milliseconds(backend: Backend, probe: Probe, count: int) -> float:
    """Median time of `count` crops at once."""
    crops = probe.crops[[index % len(probe.crops) for index in range(count)]]
    times: list[float] = []
    backend.infer(crops)
    end = time.perf_counter() + MEASURING_TIME
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        backend.infer(crops)
        times.append(time.perf_counter() - start)
    return 1000 * sorted(times)[len(times) // 2]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
