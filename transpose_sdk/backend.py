"""What every backend offers: a compiled graph that turns crops into heatmaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.errors import BackendError
from transpose_sdk.lifetime.process_end import fork_remedy

Array = TypeVar("Array")

Precision = Literal["fp32", "fp16", "int8"]
# One of several devices of a kind is no word of its own: "GPU.1", "CUDA:0".
Device = Literal["AUTO", "CPU", "GPU", "NPU", "CUDA", "TENSORRT"] | str


@dataclass(frozen=True, eq=False)
class Outputs(Generic[Array]):
    """What a network gives for N crops, as NumPy arrays or torch tensors.

    Attributes:
        heatmaps: (N, K, h, w) float32, raw.
        queries: (N, heads, L, d_head) float32 of the last attention layer, not scaled; None where not asked for.
        keys: As `queries`.
    """

    heatmaps: Array
    queries: Array | None = None
    keys: Array | None = None

    @property
    def given(self) -> tuple[Array, ...]:
        """Those that are there, in the order of the attributes, which is that of a graph's outputs."""
        return tuple(array for array in (self.heatmaps, self.queries, self.keys) if array is not None)


Arrays = Outputs[NDArray[np.float32]]


def closed_error(backend: Backend) -> BackendError:
    """What a backend raises that is used after its `close`."""
    return BackendError(
        f"the network on {backend.device} ({backend.name}, {backend.precision}) is closed: open the estimator again"
    )


def forked_error(backend: Backend, process: int) -> BackendError:
    """What a backend raises in a forked child of the process that opened it."""
    return BackendError(f"the network on {backend.device} ({backend.name}) cannot be used here: {fork_remedy(process)}")


class InFlight(Protocol):
    """The answer to some crops, perhaps still on its way."""

    def result(self) -> Arrays:
        """Wait for it. Raises BackendError where the device failed."""
        ...


class Backend(Protocol):
    """A compiled graph. Safe to call from several threads.

    Attributes:
        name: The runtime: "openvino", "onnxruntime", "torch" or "tensorrt".
        runtime: What its answers depend on beside graph and device: versions of the runtime and the driver, in words.
        device: Where it runs, such as "CPU" or "CUDA:0".
        precision: The graph's precision, such as "fp16".
        input_size: (height, width) of a crop.
        has_attention: Whether the graph gives queries and keys.
        batches: Numbers of crops that run at once, ascending; other numbers are padded and split. (1,) means that
            people run one by one.
        requests: How many of these run side by side: a CPU or NPU is busiest with several single crops in flight, a
            GPU with one large batch.
    """

    name: str
    runtime: str
    device: str
    precision: str
    input_size: tuple[int, int]
    has_attention: bool

    @property
    def batches(self) -> tuple[int, ...]:
        """Numbers of crops that run at once, ascending."""
        ...

    @property
    def requests(self) -> int:
        """How many batches run side by side."""
        ...

    def infer(self, crops: NDArray[np.uint8], attention: bool = False) -> Arrays:
        """Run the network on (N, H, W, 3) uint8 BGR crops, N from 0 on, and wait for the answer.

        Raises:
            BackendError: The device failed, or the backend is closed.
        """
        ...

    def submit(self, crops: NDArray[np.uint8], attention: bool = False, ahead: bool = False) -> InFlight:
        """Run it without waiting; the crops must not change before the result is there. Errors as of `infer`.

        With `ahead` more crops follow before the answer is taken, so that how many people a second counts; without, how
        long this answer takes. The answers are the same.
        """
        ...

    def close(self) -> None:
        """Wait for what is in flight and give the device's memory back; harmless when called again."""
        ...
