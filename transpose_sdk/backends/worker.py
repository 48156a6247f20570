"""What the runtimes share that answer one call at a time: a thread of their own, so that callers need not wait."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.backend import Arrays, Outputs, closed_error, forked_error
from transpose_sdk.lifetime.process_end import is_forked


class _Job(NamedTuple):
    """Crops that wait for the device, and where their answer goes."""

    crops: NDArray[np.uint8]
    attention: bool
    answer: Future[Arrays]


class WorkerBackend:
    """A backend on one thread: calls from several threads wait for each other there, and not for the device.

    What waits is run together as far as it fits into the largest batch: a GPU takes the few people of several frames
    in the time of one frame's.

    Attributes:
        name: The runtime.
        runtime: What its answers depend on; see `Backend`.
        device: Where it runs.
        precision: The graph's precision.
        input_size: (height, width) of a crop.
        has_attention: Whether the graph gives queries and keys.
        requests: Batches that run side by side.
    """

    name: str
    runtime: str
    device: str
    precision: str
    input_size: tuple[int, int]
    has_attention: bool
    requests: int

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"transpose-{self.name}")
        self._waiting: deque[_Job] = deque()  # only the worker takes from it
        self._closing = threading.Lock()
        self._closed = False
        self._process = os.getpid()

    @property
    def batches(self) -> tuple[int, ...]:
        """Numbers of crops that run at once, ascending."""
        raise NotImplementedError

    def infer(self, crops: NDArray[np.uint8], attention: bool = False) -> Arrays:
        """Run the network and wait; arguments and errors as of `submit`."""
        return self.submit(crops, attention).result()

    def submit(self, crops: NDArray[np.uint8], attention: bool = False, ahead: bool = False) -> Future[Arrays]:
        """Run the network.

        Args:
            crops: (N, H, W, 3) uint8 BGR; must not change before the result is there.
            attention: Whether to give queries and keys, if the graph has them.
            ahead: Makes no difference: what waits is run together in any case.

        Returns:
            The answer; its `result` raises BackendError where the device failed.

        Raises:
            BackendError: The backend is closed.
        """
        if is_forked(self._process):
            raise forked_error(self, self._process)
        job = _Job(crops, attention and self.has_attention, Future())
        with self._closing:
            if self._closed:
                raise closed_error(self)
            self._waiting.append(job)
            self._worker.submit(self._run_waiting)
        return job.answer

    def close(self) -> None:
        """Wait for what is in flight, and give the device's memory back."""
        if is_forked(self._process):
            return  # nothing of it is here
        with self._closing:
            self._closed = True
        self._worker.shutdown()
        self._release()

    def _run_waiting(self) -> None:
        """Run the job that has waited longest, with those behind it that fit into its batch."""
        if not self._waiting:  # the last run took this call's job along
            return
        jobs = [self._waiting.popleft()]
        room = self.batches[-1] - len(jobs[0].crops)
        while self._waiting and len(self._waiting[0].crops) <= room:
            jobs.append(self._waiting.popleft())
            room -= len(jobs[-1].crops)
        try:
            crops = np.concatenate([job.crops for job in jobs]) if len(jobs) > 1 else jobs[0].crops
            outputs = self._run(crops, any(job.attention for job in jobs))
        except BaseException as error:  # noqa: BLE001 - those who wait for the answers get it
            for job in jobs:
                job.answer.set_exception(error)
            return
        start = 0
        for job in jobs:
            stop = start + len(job.crops)
            wanted = outputs.given if job.attention else (outputs.heatmaps,)
            job.answer.set_result(Outputs(*(array[start:stop] for array in wanted)))
            start = stop

    def _run(self, crops: NDArray[np.uint8], attention: bool) -> Arrays:
        """Run the network, on the worker's thread."""
        raise NotImplementedError

    def _release(self) -> None:
        """Let go of the network, once nothing runs any more; also when it has been let go of."""
        raise NotImplementedError
