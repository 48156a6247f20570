"""Top-down pose estimation in two halves: crops handed to the network, and its answer made into poses.

Between the halves the caller is free to prepare the next frame, so that the network never waits for it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transpose_sdk import decoding
from transpose_sdk.backends.protocol import Backend, InFlight, Outputs
from transpose_sdk.crops import boxes_to_centers_scales, crop_affines, heatmap_to_image, invert_affines, warp_crops
from transpose_sdk.poses import Poses, person_scores
from transpose_sdk.skeletons import Skeleton


class TopDown:
    """A pose network together with what surrounds it. Safe to call from several threads.

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
    ) -> PosesInFlight:
        """Cut the crops and start the network on them.

        Args:
            image: (H, W, 3) uint8 BGR.
            boxes: (N, 4) x, y, width, height in px, each with an area.
            box_scores: (N,).
            attention: Whether the poses carry queries and keys.

        Raises:
            BackendError: The device failed.
        """
        count, input_size = len(boxes), self._backend.input_size
        centers, scales = boxes_to_centers_scales(boxes, input_size)
        affines = crop_affines(centers, scales, input_size)
        buffer = self._buffers.take(count * (1 + self._flip_test))
        crops = warp_crops(image, affines, input_size, out=buffer[:count])
        if self._flip_test:
            np.copyto(buffer[count : 2 * count], crops[:, :, ::-1])
            crops = buffer[: 2 * count]
        people = _People(boxes, box_scores, centers, scales, affines)
        return PosesInFlight(self, people, buffer, self._backend.submit(crops, attention))

    def finish(self, people: _People, outputs: Outputs) -> Poses:
        """Decode the network's answer."""
        heatmaps, queries, keys = outputs
        if self._flip_test:
            count = len(people.boxes)
            mirrored = heatmaps[count:, self._skeleton.mirrored, :, ::-1]
            heatmaps = 0.5 * (heatmaps[:count] + mirrored)
            queries, keys = (None if array is None else array[:count] for array in (queries, keys))
        coords, scores = decoding.decode_dark(heatmaps)
        return Poses(
            keypoints=heatmap_to_image(coords, people.centers, people.scales, heatmaps.shape[2:]),
            scores=scores,
            boxes=people.boxes,
            person_scores=person_scores(scores, people.box_scores),
            skeleton=self._skeleton,
            queries=queries,
            keys=keys,
            crop_affines=invert_affines(people.affines).astype(np.float32),
        )

    def recycle(self, buffer: NDArray[np.uint8]) -> None:
        """Take back the memory of crops that the network has read."""
        self._buffers.give_back(buffer)


@dataclass(frozen=True, eq=False)
class _People:
    """Whose crops they are: boxes (N, 4), box scores (N,), and the geometry of their crops."""

    boxes: NDArray[np.float32]
    box_scores: NDArray[np.float32]
    centers: NDArray[np.float32]
    scales: NDArray[np.float32]
    affines: NDArray[np.float64]


class PosesInFlight:
    """The poses of some boxes, perhaps still in the network."""

    def __init__(self, top_down: TopDown, people: _People, buffer: NDArray[np.uint8], flight: InFlight) -> None:
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
            for place, buffer in enumerate(self._free):
                if len(buffer) >= count:
                    return self._free.pop(place)
        return np.empty((1 << max(count - 1, 0).bit_length(), *self._input_size, 3), np.uint8)

    def give_back(self, buffer: NDArray[np.uint8]) -> None:
        """The buffer may be handed out again; the smallest are let go first when there are many."""
        with self._lock:
            self._free = sorted([*self._free, buffer], key=len)[-8:]
