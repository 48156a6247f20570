"""OpenVINO: Intel CPUs, integrated GPUs and NPUs.

Crops run one a request, several requests in flight: on a CPU a batch of people is no faster than one after another,
but two requests on their own cores are, and a batch of one has the static shape that an NPU needs. For each crop that
the device works on another one waits in OpenVINO's own queue, or the device would wait for Python between two crops.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from transpose_sdk.backend import Arrays, Outputs, closed_error, forked_error
from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.errors import BackendError, last_line
from transpose_sdk.process_end import is_forked

DEVICES = ("AUTO", "CPU", "GPU", "NPU")
# By preference where the caller states no precision and INT8 is not known to be faster. FP16 weights are calculated in
# what the device does best: FP16 on GPUs and NPUs, bfloat16 on CPUs with AMX, FP32 on other CPUs.
STORED = {"fp16": "fp16", "fp32": "fp16", "int8": "int8"}  # the graph of each
# What a device must be able to do for a precision; fp16 is only how the weights are stored.
CAPABILITIES = {"int8": "INT8", "fp32": "FP32"}
QUEUED = 2  # crops at the device for each that it works on


class OpenVINOBackend:
    """A bundle's graph, compiled by OpenVINO.

    Args:
        bundle: A pose bundle.
        device: "CPU", "GPU", "NPU", one of several such as "GPU.1", or "AUTO": a GPU if there is one, else the CPU.
        precision: A graph of the bundle, "fp16" or "int8"; or "fp32": the fp16 graph's weights, calculated in FP32.
            None takes fp16 where the bundle has it.
        requests: Crops that the device works on at a time; None lets OpenVINO choose for the device, for the most
            people a second. 1 puts all cores on one crop. TP-M16 in bfloat16 on 2 cores (`transpose bench --requests
            1` and without): one person in 8.2 ms instead of 13.0, eight people in 64 ms instead of 54.
        cache: Folder for compiled graphs; None compiles anew each time.

    Attributes:
        requests: Crops that the device works on at a time.

    Raises:
        BackendError: The device is not there, lacks the precision, or cannot compile the graph.
        BundleError: The bundle lacks the precision, or its files are damaged.
    """

    name = "openvino"
    batches = (1,)

    def __init__(
        self,
        bundle: Bundle,
        device: str = "AUTO",
        precision: str | None = None,
        requests: int | None = None,
        cache: Path | None = None,
    ) -> None:
        self.device = find_device(device)
        self.runtime = describe_runtime(self.device)
        self.precision = precision or next(iter(precisions(bundle)), "fp16")
        check_precision(self.precision, self.device, CORE.get_property(self.device, "OPTIMIZATION_CAPABILITIES"))
        self.input_size = bundle.input_size
        graph = bundle.graph(STORED.get(self.precision, self.precision))
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY" if requests == 1 else "THROUGHPUT"}
        if self.precision == "fp32":
            options["INFERENCE_PRECISION_HINT"] = "f32"
        if requests is not None:
            options["PERFORMANCE_HINT_NUM_REQUESTS"] = str(requests)
        if self.device == "CPU":
            # A thread that is bound to its core waits while another stage or program uses it.
            options["ENABLE_CPU_PINNING"] = False
        # A CPU compiles TP-M in 0.4 s, and from a cache in 0.3; a GPU or an NPU takes seconds to minutes.
        if cache is not None and self.device != "CPU":
            options["CACHE_DIR"] = str(cache)
        try:
            model = CORE.read_model(graph.path)
            model.reshape([1, *self.input_size, 3])
            compiled = CORE.compile_model(model, self.device, options)
            count = requests or int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
            self._requests = [_Request(compiled.create_infer_request(), self.device) for _ in range(QUEUED * count)]
        except RuntimeError as error:
            raise BackendError(
                f"{self.device} cannot run {graph.path} ({last_line(error)}): try device='CPU', or export it again"
            ) from error
        self.requests = count
        self._next = 0
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._names = [output.get_any_name() for output in compiled.outputs]
        self._shapes = [tuple(output.shape)[1:] for output in compiled.outputs]
        self.has_attention = {"queries", "keys"} <= set(self._names)
        self.infer(np.zeros((1, *self.input_size, 3), np.uint8))  # the first inference is slow, so not the user's

    def infer(self, crops: NDArray[np.uint8], attention: bool = False) -> Arrays:
        """Run the network and wait; see `submit`."""
        return self.submit(crops, attention).result()

    def submit(self, crops: NDArray[np.uint8], attention: bool = False) -> CropsInFlight:
        """Start the network on some crops; waits only until the last of them has a request.

        Args:
            crops: (N, H, W, 3) uint8 BGR, C-contiguous; must not change before the result is there.
            attention: Whether to give queries and keys, if the graph has them.

        Raises:
            BackendError: The device failed, or the backend is closed.
        """
        if is_forked(self._process):
            raise forked_error(self, self._process)
        wanted = ("heatmaps", "queries", "keys") if attention and self.has_attention else ("heatmaps",)
        indices = [self._names.index(name) for name in wanted]
        flight = CropsInFlight({index: np.empty((len(crops), *self._shapes[index]), np.float32) for index in indices})
        with self._lock:
            if not self._requests:
                raise closed_error(self)
            for row in range(len(crops)):
                # In turn: crops take equal time, so the request that was started first is free first.
                request = self._requests[self._next]
                self._next = (self._next + 1) % len(self._requests)
                request.start(crops[row : row + 1], row, flight)
        return flight

    def close(self) -> None:
        """Wait for what is in flight and let go of the compiled graph, whose memory only its requests hold."""
        if is_forked(self._process):
            return  # nothing of it is here
        with self._lock:
            for request in self._requests:
                request.release()
            self._requests = []


class CropsInFlight:
    """The answer to some crops, perhaps still on its way."""

    def __init__(self, arrays: dict[int, NDArray[np.float32]]) -> None:
        """Args: arrays: By output index, (N, ...) to be filled."""
        self.arrays = arrays
        self.requests: list[_Request] = []
        self.error: BackendError | None = None

    def result(self) -> Arrays:
        """Wait for the answer.

        Raises:
            BackendError: The device failed on one of the crops.
        """
        for request in self.requests:
            request.collect(self)
        if self.error is not None:
            raise self.error
        return Outputs(*self.arrays.values())


class _Request:
    """One request of the device and the crop it works on.

    Its answer is fetched by whoever needs it first: the one who waits for the answer, or the next crop.
    """

    def __init__(self, request: ov.InferRequest, device: str) -> None:
        self._request: ov.InferRequest | None = request
        self._device = device
        self._lock = threading.Lock()
        self._crop: NDArray[np.uint8] | None = None  # kept alive: the device reads it
        self._row = 0
        self._flight: CropsInFlight | None = None

    def start(self, crop: NDArray[np.uint8], row: int, flight: CropsInFlight) -> None:
        with self._lock:
            self._fetch()
            assert self._request is not None  # the backend starts none once it has let go of them
            try:
                # Apart, for `start_async` takes longer with an input to look through.
                self._request.set_input_tensor(ov.Tensor(crop, shared_memory=True))
                self._request.start_async()
            except RuntimeError as error:
                raise self._failure(error) from error
            self._crop, self._row, self._flight = crop, row, flight
            flight.requests.append(self)

    def release(self) -> None:
        """Wait for the answer and let go of the device."""
        with self._lock:
            self._fetch()
            self._request = None

    def collect(self, flight: CropsInFlight | None = None) -> None:
        """Wait for the answer, if it is still that of `flight`."""
        with self._lock:
            if flight is None or self._flight is flight:
                self._fetch()

    def _fetch(self) -> None:
        if self._flight is None or self._request is None:
            return
        try:
            self._request.wait()
            for index, array in self._flight.arrays.items():
                array[self._row] = self._request.get_output_tensor(index).data[0]
        except RuntimeError as error:
            self._flight.error = self._failure(error)
        self._flight = self._crop = None

    def _failure(self, error: RuntimeError) -> BackendError:
        failure = BackendError(f"{self._device} failed ({last_line(error)}): try device='CPU'")
        failure.__cause__ = error
        return failure


def describe_runtime(device: str) -> str:
    """What answers of a device depend on: OpenVINO's version, the device's full name, an NPU's driver, ..."""
    properties = CORE.get_property(device, "SUPPORTED_PROPERTIES")
    told = [name for name in sorted(properties) if name == "FULL_DEVICE_NAME" or "VERSION" in name]
    return ", ".join([f"OpenVINO {ov.get_version()}", *(f"{name} {CORE.get_property(device, name)}" for name in told)])


def precisions(bundle: Bundle) -> list[str]:
    """What a bundle's graphs can be run in, the most accurate of what is fast first."""
    return [name for name, graph in STORED.items() if graph in bundle.graphs]


def check_precision(precision: str, device: str, capabilities: Sequence[str]) -> None:
    """Check that a device can calculate in a precision.

    Args:
        precision: "fp16", "fp32", "int8", or another graph's name.
        device: For the error.
        capabilities: OpenVINO's OPTIMIZATION_CAPABILITIES of the device.

    Raises:
        BackendError: It lacks it.
    """
    needed = CAPABILITIES.get(precision)
    if needed is not None and needed not in capabilities:
        offered = ", ".join(capabilities)
        raise BackendError(f"{device} lacks the precision {precision} (it has {offered}): use precision='fp16'")


def automatic_devices() -> list[str]:
    """What "AUTO" tries, in this order."""
    return (["GPU"] if any(name.startswith("GPU") for name in CORE.available_devices) else []) + ["CPU"]


def find_device(device: str) -> str:
    """The device that a user's word means on this machine.

    Raises:
        BackendError: It is not a device of OpenVINO, or not there.
    """
    available = CORE.available_devices
    name = device.upper()
    if name == "AUTO":
        return automatic_devices()[0]
    if name.split(".")[0] not in DEVICES:
        raise BackendError(f"no device {device!r}: use one of {', '.join(DEVICES)}; here are {', '.join(available)}")
    if not any(item == name or item.startswith(f"{name}.") for item in available):
        raise BackendError(f"device {name} is not on this machine (or lacks a driver): use {', '.join(available)}")
    return name
