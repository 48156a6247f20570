"""The one road from people's boxes to poses: boxes -> crops -> network -> heatmaps -> joints.

`TopDown.submit` goes as far as the network, `PosesInFlight.result` the rest of the way, so that a stream can prepare
the next frame while the network works on this one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.attention import Attention
from transpose_sdk.backend import Arrays, Backend, InFlight, Outputs
from transpose_sdk.crops import (
    PIXEL_STD,
    boxes_to_centers_scales,
    crop_affines,
    heatmap_to_image,
    invert_affines,
    on_whole_pixels,
    warp_crops,
)
from transpose_sdk.decoding import decode_dark
from transpose_sdk.lifetime.process_end import working
from transpose_sdk.oks import oks_nms
from transpose_sdk.poses import Poses, chosen
from transpose_sdk.scores import ScoreMaps, person_scores
from transpose_sdk.skeletons import Skeleton


@dataclass(frozen=True, eq=False)
class PersonCrops:
    """How people are cut out of a frame; made by `place`.

    Attributes:
        boxes: (N, 4) x, y, width, height in image px.
        box_scores: (N,), of a detector; None for boxes that are known to hold a person.
        centers: (N, 2) of the crops, in image px.
        scales: (N, 2) of the crops, in units of 200 px.
        affines: (N, 2, 3), image px to crop px.
        input_size: (height, width) of a crop.
    """

    boxes: NDArray[np.float32]
    box_scores: NDArray[np.float32] | None
    centers: NDArray[np.float32]
    scales: NDArray[np.float32]
    affines: NDArray[np.float64]
    input_size: tuple[int, int]

    def cut(self, image: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Their crops, (N, H, W, 3) uint8 BGR, written into `out` where it is given."""
        return warp_crops(image, self.affines, self.input_size, out)

    def poses(
        self,
        outputs: Arrays,
        skeleton: Skeleton,
        grid: tuple[int, int] | None = None,
        maps: ScoreMaps | None = None,
    ) -> Poses:
        """Decode the network's answer: one pose a box, in the order of the boxes.

        Args:
            outputs: Of these crops, or of these crops and then their mirror images, which `flip_average` joins.
            skeleton: Of the heatmaps.
            grid: (height, width) of the attention grid; without it the poses carry no attention.
            maps: From scores to probabilities; without them the scores are raw.
        """
        if not len(self.boxes):
            return Poses.empty(skeleton)
        if len(outputs.heatmaps) == 2 * len(self.boxes):
            outputs = flip_average(outputs, skeleton)
        coords, scores = decode_dark(outputs.heatmaps)
        attention = None
        if grid is not None and outputs.queries is not None and outputs.keys is not None:
            to_image = invert_affines(self.affines).astype(np.float32)
            attention = Attention(outputs.queries, outputs.keys, to_image, grid, self.input_size)
        height, width = outputs.heatmaps.shape[2:]
        whole = person_scores(scores, self.box_scores)
        of_people = None if maps is None else maps.given if self.box_scores is None else maps.detected
        return Poses(
            keypoints=heatmap_to_image(coords, self.centers, self.scales, (height, width)),
            scores=scores if maps is None else maps.of_joints(scores),
            boxes=self.boxes,
            person_scores=whole if of_people is None else of_people(whole),
            skeleton=skeleton,
            attention=attention,
            raw_scores=scores,
            raw_person_scores=whole,
        )


def place(
    boxes: NDArray[np.float32],
    box_scores: NDArray[np.float32] | None,
    input_size: tuple[int, int],
    whole_pixels: bool = False,
) -> PersonCrops:
    """Say how people are cut out, as published.

    Args:
        boxes: (N, 4) x, y, width, height in image px, each with an area.
        box_scores: (N,), of a detector; None for boxes that are known to hold a person.
        input_size: (height, width) of a crop.
        whole_pixels: Whether crops go to the nearest whole pixels, where they are cut faster.
    """
    centers, scales = boxes_to_centers_scales(boxes, input_size)
    if whole_pixels:
        centers, scales = on_whole_pixels(centers, scales, input_size)
    return PersonCrops(boxes, box_scores, centers, scales, crop_affines(centers, scales, input_size), input_size)


def estimate_poses(
    infer: Callable[[NDArray[np.uint8]], Arrays],
    image: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    input_size: tuple[int, int],
    skeleton: Skeleton,
) -> Poses:
    """One pose a box, in the order of the boxes, by any network; its scores are raw.

    Args:
        infer: Maps (N, H, W, 3) uint8 BGR crops to the network's outputs; N is not 0.
        image: (H, W, 3) uint8 BGR.
        boxes: (N, 4) x, y, width, height in image px, each with an area.
        input_size: (height, width) of a crop.
        skeleton: Of the heatmaps.
    """
    if not len(boxes):
        return Poses.empty(skeleton)
    people = place(boxes, None, input_size)
    return people.poses(infer(people.cut(image)), skeleton)


def flip_average(outputs: Arrays, skeleton: Skeleton) -> Arrays:
    """The published flip test: mean of the heatmaps and of the mirrored crop's mirrored heatmaps, without a shift.

    Args:
        outputs: Of 2 N crops, the second half of which are the first half's mirror images.
        skeleton: Says which heatmaps change places.

    Returns:
        Outputs of the N crops; queries and keys are those of the crops as they were.
    """
    heatmaps, count = outputs.heatmaps, len(outputs.heatmaps) // 2
    averaged = 0.5 * (heatmaps[:count] + heatmaps[count:, skeleton.mirrored, :, ::-1])
    return Outputs(averaged, *(array[:count] for array in outputs.given[1:]))


def without_duplicates(poses: Poses, input_size: tuple[int, int]) -> Poses:
    """The poses left by OKS-NMS as published, best first.

    Args:
        poses: All poses of a frame.
        input_size: (height, width) of the network's input: a pose's area is that of its padded box.
    """
    _, scales = boxes_to_centers_scales(poses.boxes, input_size)
    areas = (scales * PIXEL_STD).prod(axis=1)
    return chosen(poses, oks_nms(poses.keypoints, poses.person_scores, areas, poses.skeleton))


class TopDown:
    """Poses of boxes by a backend. Safe to call from several threads.

    Args:
        backend: The network.
        skeleton: What its keypoints are.
        grid: (height, width) of the attention grid; None where the network gives no attention.
        flip_test: Whether the mirrored crops are inferred too and averaged.
        attention: Whether the poses carry attention where a call says nothing else.
        maps: From scores to probabilities; None leaves the scores raw.

    Attributes:
        backend: The network.
    """

    def __init__(
        self,
        backend: Backend,
        skeleton: Skeleton,
        grid: tuple[int, int] | None = None,
        flip_test: bool = False,
        attention: bool = False,
        maps: ScoreMaps | None = None,
    ) -> None:
        self.backend = backend
        self._skeleton = skeleton
        self._grid = grid
        self._flip_test = flip_test
        self._attention = attention
        self._maps = maps
        self._buffers = CropBuffers(backend.input_size)

    def submit(
        self,
        image: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        box_scores: NDArray[np.float32] | None,
        attention: bool | None = None,
        whole_pixels: bool = False,
        ahead: bool = False,
    ) -> PosesInFlight:
        """Cut the crops and start the network on them.

        Args:
            image: (H, W, 3) uint8 BGR.
            boxes: (N, 4) x, y, width, height in px, each with an area.
            box_scores: (N,), of a detector; None for boxes that are known to hold a person.
            attention: Whether the poses carry attention; None leaves it at what the constructor was told.
            whole_pixels: Whether crops go to the nearest whole pixels, up to half a pixel away, where they are cut
                faster: tracked boxes are no surer than that.
            ahead: Whether more people follow before these poses are taken; see `Backend.submit`.

        Raises:
            BackendError: The device failed.
        """
        people, count = place(boxes.copy(), box_scores, self.backend.input_size, whole_pixels), len(boxes)
        buffer = self._buffers.take(count * (1 + self._flip_test))
        with working():
            crops = people.cut(image, buffer[:count])
            if self._flip_test:
                np.copyto(buffer[count : 2 * count], crops[:, :, ::-1])
                crops = buffer[: 2 * count]
            flight = self.backend.submit(crops, self._attention if attention is None else attention, ahead)
        decode = partial(people.poses, skeleton=self._skeleton, grid=self._grid, maps=self._maps)
        return PosesInFlight(people, flight, decode, partial(self._buffers.give_back, buffer))

    def clear(self) -> None:
        """Let go of the memory that is kept for the next crops."""
        self._buffers.clear()


class PosesInFlight:
    """The poses of some boxes, perhaps still in the network; made by `TopDown.submit`."""

    def __init__(
        self,
        people: PersonCrops,
        flight: InFlight,
        decode: Callable[[Arrays], Poses],
        release: Callable[[], None],
    ) -> None:
        self._people = people
        self._flight = flight
        self._decode = decode
        self._release: Callable[[], None] | None = release  # of the crops' memory

    def __len__(self) -> int:
        return len(self._people.boxes)

    @property
    def box_scores(self) -> NDArray[np.float32]:
        """Scores of the boxes as they were given, (N,); 1 where none were."""
        given = self._people.box_scores
        return np.ones(len(self), np.float32) if given is None else given

    def wait(self) -> Arrays:
        """Wait for the network.

        Raises:
            BackendError: The device failed.
        """
        with working():
            outputs = self._flight.result()
        if self._release is not None:  # the network has read the crops
            self._release()
            self._release = None
        return outputs

    def result(self) -> Poses:
        """Wait for the network and decode: one pose a box, in the order of the boxes.

        Raises:
            BackendError: The device failed.
        """
        with working():
            return self._decode(self.wait())


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

    def clear(self) -> None:
        """Let go of the memory that nobody uses now."""
        with self._lock:
            self._free = []
