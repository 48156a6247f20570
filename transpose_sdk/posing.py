"""A pose network with its surroundings: crops go to the backend in reused memory, poses come back when ready."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.backends.protocol import Backend, InFlight, Outputs
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import Skeleton
from transpose_sdk.topdown import People, flip_average, place


class TopDown:
    """Poses of boxes by a backend. Safe to call from several threads.

    Args:
        backend: The network.
        skeleton: What its keypoints are.
        flip_test: Whether the mirrored crops are inferred too and averaged.
    """

    def __init__(self, backend: Backend, skeleton: Skeleton, flip_test: bool = False) -> None:
        self._backend = backend
        self._skeleton = skeleton
        self._flip_test = flip_test
        self._buffers = CropBuffers(backend.input_size)

    def submit(
        self,
        image: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        box_scores: NDArray[np.float32],
        attention: bool = False,
        whole_pixels: bool = False,
    ) -> PosesInFlight:
        """Cut the crops and start the network on them.

        Args:
            image: (H, W, 3) uint8 BGR.
            boxes: (N, 4) x, y, width, height in px, each with an area.
            box_scores: (N,).
            attention: Whether the poses carry queries and keys.
            whole_pixels: See `transpose_sdk.topdown.place`.

        Raises:
            BackendError: The device failed.
        """
        people, count = place(boxes, box_scores, self._backend.input_size, whole_pixels), len(boxes)
        buffer = self._buffers.take(count * (1 + self._flip_test))
        crops = people.cut(image, buffer[:count])
        if self._flip_test:
            np.copyto(buffer[count : 2 * count], crops[:, :, ::-1])
            crops = buffer[: 2 * count]
        return PosesInFlight(self, people, buffer, self._backend.submit(crops, attention))

    def finish(self, people: People, outputs: Outputs) -> Poses:
        """Decode the network's answer."""
        if not len(people.boxes):
            return Poses.empty(self._skeleton)
        return people.poses(flip_average(outputs, self._skeleton) if self._flip_test else outputs, self._skeleton)

    def recycle(self, buffer: NDArray[np.uint8]) -> None:
        """Take back the memory of crops that the network has read."""
        self._buffers.give_back(buffer)


class PosesInFlight:
    """The poses of some boxes, perhaps still in the network."""

    def __init__(self, top_down: TopDown, people: People, buffer: NDArray[np.uint8], flight: InFlight) -> None:
        self._top_down = top_down
        self._people = people
        self._buffer: NDArray[np.uint8] | None = buffer
        self._flight = flight

    def __len__(self) -> int:
        return len(self._people.boxes)

    @property
    def box_scores(self) -> NDArray[np.float32]:
        """(N,), as they were given."""
        return self._people.box_scores

    def wait(self) -> Outputs:
        """Wait for the network.

        Raises:
            BackendError: The device failed.
        """
        outputs = self._flight.result()
        if self._buffer is not None:
            self._top_down.recycle(self._buffer)
            self._buffer = None
        return outputs

    def result(self) -> Poses:
        """Wait for the network and decode: one pose a box, in the order of the boxes.

        Raises:
            BackendError: The device failed.
        """
        return self._top_down.finish(self._people, self.wait())


class CropBuffers:
    """Memory for crops that is used again: a fresh array would be paged in by the kernel for every frame."""

    def __init__(self, input_size: tuple[int, int]) -> None:
        self._input_size = input_size
        self._free: list[NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def take(self, count: int) -> NDArray[np.uint8]:
        """An array of at least `count` crops, (C, H, W, 3) uint8."""
        with self._lock:
            for index, buffer in enumerate(self._free):
                if len(buffer) >= count:
                    return self._free.pop(index)
        return np.empty((1 << max(count - 1, 0).bit_length(), *self._input_size, 3), np.uint8)

    def give_back(self, buffer: NDArray[np.uint8]) -> None:
        """The buffer may be handed out again; the smallest are let go first when there are many."""
        with self._lock:
            self._free = sorted([*self._free, buffer], key=len)[-8:]
