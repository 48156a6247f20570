"""Padded batches of fixed sizes for NVIDIA GPUs, each recorded once as a CUDA graph and replayed.

A network of this family is some hundred small kernels: at batch 1 their launches from Python take longer than their
work. A graph launches them all at once, but only for the shape and the memory it was recorded with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transpose_sdk.backend import Arrays, Outputs
from transpose_sdk.backends.worker import WorkerBackend
from transpose_sdk.errors import BackendError, first_line

SIZES = (1, 2, 4, 8, 16)
WARM_UPS = 3  # cuDNN and cuBLAS choose their kernels in the first runs, which must not happen while recording

Run = Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True, eq=False)
class _Recording:
    """A batch size with its own memory; host memory is page-locked, so that copies need no second copy."""

    crops: Tensor
    host_crops: NDArray[np.uint8]
    host: Tensor
    outputs: tuple[Tensor, ...]
    host_outputs: tuple[Tensor, ...]
    replay: Callable[[], object]


class FixedBatches:
    """A function of uint8 crops, for any number of them; one call at a time.

    Args:
        run: Maps (B, H, W, 3) uint8 on the device to float32 tensors whose first axis is B, for the given sizes.
        sizes: Batch sizes B.
        input_size: (height, width) of a crop in px.
        device: "cuda" with CUDA graphs, or "cpu" without: the same padding, for comparison and tests.
    """

    def __init__(self, run: Run, sizes: Sequence[int], input_size: tuple[int, int], device: torch.device) -> None:
        self.sizes = tuple(sorted(sizes))
        self._run = run  # a recorded graph reads the weights where they lay while it was recorded
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        # All graphs share one pool of memory, which is safe because never two of them run at once and the outputs of
        # one are copied before the next one starts. The largest comes first, so that the others fit into its memory.
        self._pool: Any = None
        self._recordings = {size: self._record(run, size, input_size) for size in reversed(self.sizes)}

    def __call__(self, crops: NDArray[np.uint8], outputs: int) -> tuple[NDArray[np.float32], ...]:
        """Run.

        Args:
            crops: (N, H, W, 3) uint8.
            outputs: How many of the outputs to give, from the first on; the others are not copied from the device.

        Returns:
            Arrays whose first axis is N.
        """
        first = self._recordings[self.sizes[0]]
        arrays = tuple(np.empty((len(crops), *output.shape[1:]), np.float32) for output in first.outputs[:outputs])
        start = 0
        for size in split(len(crops), self.sizes):
            count = min(size, len(crops) - start)
            part = slice(start, start + count)
            for array, values in zip(arrays, self._replay(size, crops[part], outputs), strict=True):
                array[part] = values[:count].numpy()
            start += count
        return arrays

    def _record(self, run: Run, size: int, input_size: tuple[int, int]) -> _Recording:
        on_gpu = self._stream is not None
        host = torch.zeros((size, *input_size, 3), dtype=torch.uint8, pin_memory=on_gpu)
        crops = host.to(self._device) if on_gpu else host
        if self._stream is None:
            outputs = run(crops)

            def rerun() -> None:
                for output, fresh in zip(outputs, run(crops), strict=True):
                    output.copy_(fresh)

            return _Recording(crops, host.numpy(), host, outputs, outputs, rerun)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                run(crops)
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            outputs = run(crops)
        self._pool = graph.pool()
        host_outputs = tuple(torch.empty(output.shape, dtype=output.dtype, pin_memory=True) for output in outputs)
        return _Recording(crops, host.numpy(), host, outputs, host_outputs, graph.replay)

    def _replay(self, size: int, crops: NDArray[np.uint8], outputs: int) -> tuple[Tensor, ...]:
        """Run up to `size` crops; the rest of the batch is what was there before, and nobody looks at its answers."""
        recording = self._recordings[size]
        recording.host_crops[: len(crops)] = crops
        if self._stream is None:
            recording.replay()
            return recording.outputs[:outputs]
        with torch.cuda.stream(self._stream):
            recording.crops.copy_(recording.host, non_blocking=True)
            recording.replay()
            for host, output in zip(recording.host_outputs[:outputs], recording.outputs, strict=False):
                host.copy_(output, non_blocking=True)
        self._stream.synchronize()
        return recording.host_outputs[:outputs]


def split(count: int, sizes: Sequence[int]) -> list[int]:
    """Batch sizes to run `count` crops with: the smallest that holds them all, after as many of the largest as needed.

    Padding is cheap on a GPU and a second launch is not, so 11 crops are one batch of 16, not 8 + 2 + 1.

    Args:
        count: Crops.
        sizes: Batch sizes, ascending.
    """
    parts = [sizes[-1]] * (count // sizes[-1])
    rest = count % sizes[-1]
    return parts + ([next(size for size in sizes if size >= rest)] if rest else [])


class FixedBatchBackend(WorkerBackend):
    """What the runtimes share that run padded batches on a GPU.

    Attributes:
        device: Where it runs, such as "CUDA:0".
        requests: One: a GPU is busiest with one large batch.
    """

    device: str
    requests = 1

    def __init__(self, batches: FixedBatches) -> None:
        """Args: batches: The network at its batch sizes; the outputs are heatmaps, queries and keys."""
        super().__init__()
        self._batches: FixedBatches | None = batches
        self._sizes = batches.sizes

    @property
    def batches(self) -> tuple[int, ...]:
        """Numbers of crops that run at once, ascending."""
        return self._sizes

    def _release(self) -> None:
        """Let go of the network and its recordings, and of their memory that PyTorch would keep for the next one."""
        self._batches = None
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def _run(self, crops: NDArray[np.uint8], attention: bool) -> Arrays:
        assert self._batches is not None  # the worker runs nothing once it is let go of
        try:
            with torch.inference_mode():
                return Outputs(*self._batches(crops, 3 if attention else 1))
        except RuntimeError as error:
            raise BackendError(f"{self.device} failed ({first_line(error)}): open the estimator again") from error
