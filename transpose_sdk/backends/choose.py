"""From a user's words to a backend: "AUTO", "CPU", "CUDA", "tensorrt:cuda:1", ..., with or without a check.

| word | runs on |
|---|---|
| AUTO | OpenVINO, on a GPU of Intel if there is one, else on the CPU |
| CPU, GPU, GPU.1, NPU | OpenVINO |
| CUDA, CUDA:1 | PyTorch on an NVIDIA GPU |
| TENSORRT, TENSORRT:1 | TensorRT on an NVIDIA GPU |
| ONNXRUNTIME:CPU, ONNXRUNTIME:CUDA | ONNX Runtime |
| TORCH:CPU | PyTorch on the CPU: slow, for comparison |

Only OpenVINO comes with the package; the others are imported when they are asked for.
"""

from __future__ import annotations

import importlib
import logging
import platform
import sys
from functools import partial
from typing import Any

from transpose_sdk.backend import Backend
from transpose_sdk.backends import first_check, openvino
from transpose_sdk.backends.fastest import QUANTIZED, Choice, recall_choice, take_faster
from transpose_sdk.backends.openvino import OpenVINOBackend
from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.checks.ranges import COUNT
from transpose_sdk.disk.user_folder import compiled_folder
from transpose_sdk.errors import BackendError, BundleError, InputError, MissingDependencyError

# Module and class of a runtime, and the extra that brings what it imports.
RUNTIMES = {
    "onnxruntime": ("onnxruntime", "OnnxRuntimeBackend", "convert"),
    "torch": ("pytorch", "TorchBackend", "cuda"),
    "tensorrt": ("tensorrt", "TensorRTBackend", "tensorrt"),
}
WORDS = "AUTO, CPU, GPU, NPU, CUDA, TENSORRT, ONNXRUNTIME:CPU or ONNXRUNTIME:CUDA"
JETSON = (
    "on a Jetson, TensorRT comes with JetPack (sudo apt install nvidia-jetpack, and an environment with "
    "--system-site-packages), PyTorch and ONNX Runtime as NVIDIA's wheels for your JetPack (pypi.jetson-ai-lab.io)"
)

log = logging.getLogger(__name__)


def open_backend(
    bundle: Bundle,
    device: str = "AUTO",
    precision: str | None = None,
    requests: int | None = None,
    *,
    verify: bool | None = None,
) -> Backend:
    """Compile a bundle's graph on a device.

    What the caller left open ("AUTO", no precision) is tried in turn, the fastest first: where one fails, or gives
    other answers than the FP32 network, the next one is taken and a warning says why. What the caller names is not
    exchanged: then it is an error. Where a bundle has INT8 beside FP16, OpenVINO times the two the first time on this
    machine (`transpose_sdk.backends.fastest`); NVIDIA's runtimes take FP16.

    Args:
        bundle: A pose bundle.
        device: A word of the table above, upper or lower case.
        precision: "fp16", "int8" or "fp32"; None takes the fastest that gives the right answers.
        requests: Crops in flight, for OpenVINO; None lets it choose.
        verify: Whether to run the bundle's probe before the backend counts: None does so the first time on this
            machine and remembers that the answers were right, for this device, runtime, driver, precision and bundle;
            True takes nothing from memory, and times precisions anew; False neither asks nor times: fp16 is taken where
            no precision is named.

    Raises:
        InputError: `requests` is no count.
        BackendError: There is no such device, it lacks the precision or cannot run the graph, or its answers are wrong.
        BundleError: The bundle has no graph for it, or with `verify=True` no probe, or is damaged.
        MissingDependencyError: The runtime is not installed.
    """
    return choose_backend(bundle, device, precision, requests, verify=verify)[0]


def choose_backend(
    bundle: Bundle,
    device: str = "AUTO",
    precision: str | None = None,
    requests: int | None = None,
    *,
    verify: bool | None = None,
) -> tuple[Backend, Choice | None]:
    """As `open_backend`, and how the precision was chosen; None where there was nothing to choose between."""
    if requests is not None and requests not in COUNT:
        raise InputError(f"requests={requests!r}; give {COUNT}, or None for the device's own choice")
    runtime, place = parse_device(device)
    places = openvino.automatic_devices() if (runtime, place) == ("openvino", "AUTO") else [place]
    free = runtime == "openvino" and precision is None
    refused: dict[str, BackendError] = {}  # by what it says: a device that is missing is so for every precision
    for one in places:
        open_in = partial(_open_right, bundle, runtime, one, requests=requests, verify=verify)
        timed = free and verify is not False and _has_rivals(bundle)
        choice = _recall(bundle, one) if timed and verify is None else None
        names = _by_preference(bundle, choice) if free else [precision]
        for name in names:
            try:
                backend = open_in(name)
                if timed and choice is None and name == names[0]:
                    backend, choice = take_faster(backend, partial(open_in, QUANTIZED), bundle)
            except BackendError as error:
                refused.setdefault(str(error), error)
                choice = None
                continue
            if refused:
                reasons = "; ".join(refused)
                log.warning("%s runs on %s in %s instead: %s", bundle.name, backend.device, backend.precision, reasons)
            return backend, choice
    if len(refused) == 1:
        raise next(iter(refused.values()))
    raise BackendError(f"nothing here runs {bundle.name}: {'; '.join(refused)}")


def parse_device(device: str) -> tuple[str, str]:
    """Runtime and its device, such as ("torch", "CUDA:1"), of a word of the table above.

    Raises:
        BackendError: It is none.
    """
    word, _, rest = device.upper().partition(":")
    if word in ("TORCH", "ONNXRUNTIME", "OPENVINO") and rest:
        return word.lower(), rest
    if word == "CUDA":
        return "torch", device.upper()
    if word == "TENSORRT":
        index = rest.removeprefix("CUDA").removeprefix(":")
        return "tensorrt", f"CUDA:{index}" if index else "CUDA"
    if not rest and word.split(".")[0] in openvino.DEVICES:
        return "openvino", word
    raise BackendError(f"no device {device!r}: use {WORDS}")


def runtime_class(runtime: str) -> Any:
    """The backend's class of a runtime that is not OpenVINO.

    Raises:
        MissingDependencyError: What it imports is not installed.
    """
    module, name, extra = RUNTIMES[runtime]
    try:
        return getattr(importlib.import_module(f"transpose_sdk.backends.{module}"), name)
    except ImportError as error:
        remedy = f"pip install 'transpose-sdk[{extra}]'"
        if sys.platform == "linux" and platform.machine() == "aarch64":
            remedy = f"{remedy}; {JETSON}"
        raise MissingDependencyError(
            f"the {runtime} backend needs what is not installed ({error}): {remedy}"
        ) from error


def _has_rivals(bundle: Bundle) -> bool:
    """Whether a bundle has an INT8 graph beside a more accurate one, and a probe by which it can be trusted."""
    return bundle.probe is not None and {"fp16", QUANTIZED} <= set(bundle.graphs)


def _recall(bundle: Bundle, place: str) -> Choice | None:
    """The choice that was made on a device of OpenVINO before."""
    try:
        device = openvino.find_device(place)
    except BackendError:
        return None  # which opening it says as well
    return recall_choice(bundle, device, openvino.describe_runtime(device))


def _by_preference(bundle: Bundle, choice: Choice | None) -> list[str]:
    """The precisions that OpenVINO may be tried in, best first.

    Raises:
        BundleError: There is none.
    """
    names = openvino.precisions(bundle)
    if not names:
        offered = ", ".join(bundle.graphs) or "none"
        raise BundleError(f"{bundle.folder.name} has no graph for OpenVINO: it offers {offered}")
    return sorted(names, key=lambda name: choice is None or name != choice.precision)


def _open_right(
    bundle: Bundle, runtime: str, place: str, precision: str | None, *, requests: int | None, verify: bool | None
) -> Backend:
    """Open a graph and check its answers; the device is let go of where they are wrong."""
    backend = _open(bundle, runtime, place, precision, requests)
    if verify is not False:
        try:
            first_check.verify(backend, bundle, anew=verify is True)
        except (BackendError, BundleError):
            backend.close()
            raise
    return backend


def _open(bundle: Bundle, runtime: str, place: str, precision: str | None, requests: int | None) -> Backend:
    if runtime == "openvino":
        return OpenVINOBackend(bundle, place, precision, requests, compiled_folder(runtime))
    options: dict[str, Any] = {"cache": compiled_folder(runtime)} if runtime == "tensorrt" else {}
    backend: Backend = runtime_class(runtime)(bundle, place, precision, **options)
    return backend
