"""The detector that ships: our own network from its bundle."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.checks.images import to_bgr
from transpose_sdk.detectors.cells import BINS, cell_count, decode_cells
from transpose_sdk.detectors.detector import Detections, closed_error, require_own_process
from transpose_sdk.detectors.graph import (
    DetectorFormat,
    GraphDetector,
    compile_graph,
    output_shapes,
    read_graph,
    take_images,
)
from transpose_sdk.detectors.nms import non_maximum_suppression, vote
from transpose_sdk.errors import DetectorError
from transpose_sdk.lifetime.process_end import is_forked, working

VOTERS = 0.65  # IoU from which another cell's box has a say in where a person's lies


def decode_person(outputs: list[NDArray[Any]], size: tuple[int, int], threshold: float) -> Detections:
    """Scores (1, A) and logits of the sides (1, A, 4, bins) of all cells to boxes."""
    boxes, scores = decode_cells(outputs[0][0], outputs[1][0], size[0], size[1], threshold)
    kept = non_maximum_suppression(boxes, scores)
    return vote(boxes, scores, kept, VOTERS), scores[kept]


class PersonDetector:
    """Our network, with its input turned on end for frames that are; see `Detector`.

    Args:
        name: What to call it.
        graph: OpenVINO file, (1, H, W, 3) uint8 BGR in, scores (1, A) and sides (1, A, 4, 8) out, for any H and W.
        input_size: (height, width) to run it at, multiples of 32.
        device: OpenVINO's name of the device.
        score_threshold: Lowest score of a person.

    Raises:
        DetectorError: The graph is another one, or the device cannot run it.
    """

    def __init__(
        self, name: str, graph: Path, *, input_size: tuple[int, int], device: str, score_threshold: float
    ) -> None:
        self.name = name
        self._graph = graph
        self._size = input_size
        self._device = device
        self._threshold = score_threshold
        self._turned: GraphDetector | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._straight: GraphDetector | None = self._open(input_size)

    def _open(self, size: tuple[int, int]) -> GraphDetector:
        recipe = DetectorFormat(self.name, size, None, decode_person, stretched=True)
        model = read_graph(self._graph)
        cells = cell_count(*size)
        try:
            model = take_images(model, recipe)
        except RuntimeError as error:
            raise DetectorError(f"the graph {self._graph} cannot run at {size}; export the detector again.") from error
        if output_shapes(model) != [(1, cells), (1, cells, 4, BINS)]:
            raise DetectorError(
                f"the graph {self._graph} gives {output_shapes(model)} instead of scores and sides of {cells} "
                "cells; export the detector again."
            )
        return GraphDetector(self.name, compile_graph(model, self._device, self._graph), recipe, self._threshold)

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """Boxes and scores of the people in an image; arguments and errors as of every `Detector`."""
        image = to_bgr(image)
        require_own_process(self.name, self._process)
        height, width = image.shape[:2]
        with working(), self._lock:
            network = self._straight
            if network is None:
                raise closed_error(self.name)
            if (height > width) != (self._size[0] > self._size[1]):
                # Compiled when the first such frame comes: most sources have one shape only.
                network = self._turned = self._turned or self._open((self._size[1], self._size[0]))
        return network(image)

    def close(self) -> None:
        """Let go of the network; harmless when called again."""
        if is_forked(self._process):
            return  # nothing of it is here
        with self._lock:
            for network in (self._straight, self._turned):
                if network is not None:
                    network.close()  # waits for a frame that it is looking at
            self._straight = self._turned = None
