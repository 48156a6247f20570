"""OpenVINO: Intel CPUs, integrated GPUs and NPUs.

Crops run one a request, several requests in flight: on a CPU a batch of people is no faster than one after another,
but two requests on their own cores are, and a batch of one has the static shape that an NPU needs. For each crop that
the device works on another one waits in OpenVINO's own queue, or the device would wait for Python between two crops.

A person who is alone would leave all cores but one idle. So a CPU has the graph twice: one core a crop for those side
by side, all cores on a crop for what is left over. Both give the same answers.
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
from transpose_sdk.lifetime.process_end import is_forked

DEVICES = ("AUTO", "CPU", "GPU", "NPU")
# By preference where the caller states no precision and INT8 is not known to be faster. FP16 weights are calculated in
# what the device does best: FP16 on GPUs and NPUs, bfloat16 on CPUs with AMX, FP32 on other CPUs.
STORED = {"fp16": "fp16", "fp32": "fp16", "int8": "int8"}  # the graph of each
# What a device must be able to do for a precision; fp16 is only how the weights are stored.
CAPABILITIES = {"int8": "INT8", "fp32": "FP32"}
QUEUED = 2  # crops at the device for each that it works on
# Of a crop's work, which all cores do no faster than one: on two cores they are 1.6 to 1.8 times as fast, and how much
# faster more are follows from that (Amdahl 1967).
SERIAL = 0.15


class OpenVINOBackend:
    """A bundle's graph, compiled by OpenVINO.

    Args:
        bundle: A pose bundle.
        device: "CPU", "GPU", "NPU", one of several such as "GPU.1", or "AUTO": a GPU if there is one, else the CPU.
        precision: A graph of the bundle, "fp16" or "int8"; or "fp32": the fp16 graph's weights, calculated in FP32.
            None takes fp16 where the bundle has it.
        requests: Crops that the device works on at a time. None lets OpenVINO choose for the device, for the most
            people a second, and on a CPU crops that would leave cores idle get all of them (`python
            examples/benchmarks/benchmark_people.py`). 1 puts all cores on one crop after the other.
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
        options: dict[str, Any] = {}
        if self.precision == "fp32":
            options["INFERENCE_PRECISION_HINT"] = "f32"
        if self.device == "CPU":
            # A thread that is bound to its core waits while another stage or program uses it.
            options["ENABLE_CPU_PINNING"] = False
        # A CPU compiles TP-M in 0.4 s, and from a cache in 0.3; a GPU or an NPU takes seconds to minutes.
        if cache is not None and self.device != "CPU":
            options["CACHE_DIR"] = str(cache)
        try:
            model = CORE.read_model(graph.path)
            model.reshape([1, *self.input_size, 3])
            compiled = _compile(model, self.device, options, requests)
            self._side_by_side = _Requests(compiled, requests, self.device)
            self._alone: _Requests | None = None
            if requests is None and self.device == "CPU" and self._side_by_side.count > 1:
                self._alone = _Requests(_compile(model, self.device, options, 1), 1, self.device)
        except RuntimeError as error:
            raise BackendError(
                f"{self.device} cannot run {graph.path} ({last_line(error)}): try device='CPU', or export it again"
            ) from error
        self.requests = self._side_by_side.count
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._names = [output.get_any_name() for output in compiled.outputs]
        self._shapes = [tuple(output.shape)[1:] for output in compiled.outputs]
        self.has_attention = {"queries", "keys"} <= set(self._names)
        # The first inference of each is slow, so not the user's; the last crop is one that is left over.
        self.infer(np.zeros((self.requests + 1, *self.input_size, 3), np.uint8))

    def infer(self, crops: NDArray[np.uint8], attention: bool = False) -> Arrays:
        """Run the network and wait; see `submit`."""
        return self.submit(crops, attention).result()

    def submit(self, crops: NDArray[np.uint8], attention: bool = False, ahead: bool = False) -> CropsInFlight:
        """Start the network on some crops; waits only until the last of them has a request.

        Args:
            crops: (N, H, W, 3) uint8 BGR, C-contiguous; must not change before the result is there.
            attention: Whether to give queries and keys, if the graph has them.
            ahead: Whether more crops follow before the answer is taken: then all go side by side, whatever the device
                is doing, so that what happens does not depend on time.

        Raises:
            BackendError: The device failed, or the backend is closed.
        """
        if is_forked(self._process):
            raise forked_error(self, self._process)
        wanted = ("heatmaps", "queries", "keys") if attention and self.has_attention else ("heatmaps",)
        indices = [self._names.index(name) for name in wanted]
        flight = CropsInFlight({index: np.empty((len(crops), *self._shapes[index]), np.float32) for index in indices})
        with self._lock:
            if self._closed:
                raise closed_error(self)
            idle = self._alone is not None and not self._alone.busy and not self._side_by_side.busy
            left = left_over(len(crops), self.requests) if idle and not ahead else 0
            for row in range(len(crops)):
                alone = row >= len(crops) - left
                requests = self._alone if alone and self._alone is not None else self._side_by_side
                requests.start(crops[row : row + 1], row, flight)
        return flight

    def close(self) -> None:
        """Wait for what is in flight and let go of the compiled graphs, whose memory only their requests hold."""
        if is_forked(self._process):
            return  # nothing of it is here
        with self._lock:
            self._closed = True
            for requests in (self._side_by_side, self._alone):
                if requests is not None:
                    requests.release()


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


class _Requests:
    """The requests of a compiled graph, which are used in turn.

    Attributes:
        count: Crops that the device works on at a time.
    """

    def __init__(self, compiled: ov.CompiledModel, count: int | None, device: str) -> None:
        """Args: count: None for what OpenVINO chose."""
        self.count = count or int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._requests = [_Request(compiled.create_infer_request(), device) for _ in range(QUEUED * self.count)]
        self._next = 0

    @property
    def busy(self) -> bool:
        """Whether the device works for one of them."""
        return any(request.busy for request in self._requests)

    def start(self, crop: NDArray[np.uint8], row: int, flight: CropsInFlight) -> None:
        """Run a crop (1, H, W, 3); its answer becomes a row of the flight's."""
        # In turn: crops take equal time, so the request that was started first is free first.
        request = self._requests[self._next]
        self._next = (self._next + 1) % len(self._requests)
        request.start(crop, row, flight)

    def release(self) -> None:
        """Wait for the answers and let go of the graph."""
        for request in self._requests:
            request.release()


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

    @property
    def busy(self) -> bool:
        """Whether the device works for it; also while somebody waits for the answer."""
        if not self._lock.acquire(blocking=False):
            return True
        try:
            return self._flight is not None and self._request is not None and not self._request.wait_for(0)
        except RuntimeError:
            return False  # it failed, as whoever fetches the answer is told
        finally:
            self._lock.release()

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


def left_over(count: int, cores: int) -> int:
    """How many of some crops should get all cores, one after the other, because they would leave most of them idle.

    Args:
        count: Crops.
        cores: Crops that run side by side, each on its own.
    """
    faster = cores / (1 + (cores - 1) * SERIAL)  # all cores on a crop than one
    left = count % cores
    return left if left < faster else 0


def _compile(model: ov.Model, device: str, options: dict[str, Any], requests: int | None) -> ov.CompiledModel:
    """A graph for so many requests at a time; None for as many as are fastest."""
    hints: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY" if requests == 1 else "THROUGHPUT"}
    if requests is not None:
        hints["PERFORMANCE_HINT_NUM_REQUESTS"] = str(requests)
    return CORE.compile_model(model, device, options | hints)


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
