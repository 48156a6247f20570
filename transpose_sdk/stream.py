"""The stream: frames in, tracked and smoothed poses out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.sources import SourceSpec, open_source
from transpose_sdk.poses import Poses


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame with the people in it."""

    index: int
    time: float
    image: NDArray[np.uint8]
    poses: Poses
    latency: float
    dropped: int


class PoseStream:
    """Poses of all frames of a source, in order."""

    def __init__(self, source: SourceSpec, estimator: PoseEstimator) -> None:
        self._source = open_source(source)
        self._estimator = estimator

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            started = time.monotonic()
            poses = self._estimator(frame.image)
            yield Frame(frame.index, frame.time, frame.image, poses, time.monotonic() - started, 0)

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()

    def __enter__(self) -> PoseStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
