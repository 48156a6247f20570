"""How fast the stream is: rate, latencies, dropped frames and stage times of the last seconds."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from transpose_sdk.stream import Frame

STAGES = ("waiting", "detection", "cropping", "inference", "decoding", "tracking", "delivery", "drawing")
WINDOW = 2.0  # seconds
LONGEST = 240  # frames, so that a window of a fast stream stays small


@dataclass(frozen=True)
class Speed:
    """The last seconds in numbers.

    Attributes:
        fps: Frames shown a second.
        p50: Median latency in ms, from the capture to the finished picture.
        p95: Its 95th percentile.
        p99: Its 99th.
        dropped: Frames that gave way to newer ones, since the source was opened.
        stages: Mean ms of each of STAGES.
    """

    fps: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    dropped: int = 0
    stages: tuple[float, ...] = (0.0,) * len(STAGES)


class SpeedMeter:
    """Collects what `Speed` tells."""

    def __init__(self) -> None:
        self._shown: deque[tuple[float, tuple[float, ...]]] = deque(maxlen=LONGEST)
        self._dropped_before = 0
        self._dropped = 0

    def add(self, frame: Frame, drawing: float) -> None:
        """Count a frame that is shown now; `drawing` are the seconds it took to paint it."""
        stages = (*(getattr(frame.latency, stage) for stage in STAGES[:-1]), drawing)
        self._shown.append((time.monotonic(), stages))
        self._dropped = frame.dropped

    def restart(self) -> None:
        """A new stream on the same source: times start anew, dropped frames count on."""
        self._shown.clear()
        self._dropped_before += self._dropped
        self._dropped = 0

    def speed(self) -> Speed:
        """The numbers now."""
        since = time.monotonic() - WINDOW
        recent = [entry for entry in self._shown if entry[0] >= since]
        dropped = self._dropped_before + self._dropped
        if len(recent) < 2:
            return Speed(dropped=dropped)
        stages = 1000 * np.array([values for _, values in recent])
        p50, p95, p99 = (float(value) for value in np.percentile(stages.sum(axis=1), (50, 95, 99)))
        fps = (len(recent) - 1) / max(recent[-1][0] - recent[0][0], 1e-6)
        return Speed(fps, p50, p95, p99, dropped, tuple(float(value) for value in stages.mean(axis=0)))
