"""What the runtimes share that answer one call at a time: a thread of their own, so that callers need not wait."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.backends.protocol import Outputs


class WorkerBackend:
    """A backend on one thread: calls from several threads wait for each other there, and not for the device.

    Attributes:
        name: The runtime.
        has_attention: Whether the graph gives queries and keys.
    """

    name: str
    has_attention: bool

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"transpose-{self.name}")

    def infer(self, crops: NDArray[np.uint8], attention: bool = False) -> Outputs:
        """Run the network and wait; see `submit`."""
        return self.submit(crops, attention).result()

    def submit(self, crops: NDArray[np.uint8], attention: bool = False) -> Future[Outputs]:
        """Run the network.

        Args:
            crops: (N, H, W, 3) uint8 BGR; must not change before the result is there.
            attention: Whether to give queries and keys, if the graph has them.

        Returns:
            The answer; its `result` raises BackendError where the device failed.
        """
        return self._worker.submit(self._run, crops, attention and self.has_attention)

    def close(self) -> None:
        """Wait for what is in flight."""
        self._worker.shutdown()

    def _run(self, crops: NDArray[np.uint8], attention: bool) -> Outputs:
        """Run the network, on the worker's thread."""
        raise NotImplementedError


def first_line(error: Exception) -> str:
    """The first line of a runtime's error, which often goes on for a page; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
