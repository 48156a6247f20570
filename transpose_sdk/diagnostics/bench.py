"""How fast it is here: each part alone and the whole stream, one after the other in every round.

The stream is compared with the work that it cannot do without: the network on the very crops that the stream gave it,
with as many requests in flight, and the detector on the very frames that it saw, alone, one after another. The share
of the stream's time that this work takes is what the runtime leaves: 100 % would be a stream whose file decoding,
cropping, pose decoding, tracking and smoothing cost nothing. The detector's time is taken alone and not inside the
stream, where it shares the cores with the network and would look longer than it is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from transpose_sdk.arrays import Image
from transpose_sdk.attention import dependency_rows
from transpose_sdk.backend import Arrays, Backend, InFlight
from transpose_sdk.decoding import decode_dark
from transpose_sdk.errors import InputError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.frames import Source
from transpose_sdk.stream import PoseStream
from transpose_sdk.topdown import place

BATCH = 8
REPEATS = 5  # of the parts that take less than a millisecond or so, in each round


class WatchedBackend:
    """Another backend, whose crops are counted and kept; see `Backend`.

    Attributes:
        submitted: Crops so far.
        crops: Of every frame, (N, H, W, 3) uint8, where they are kept.
    """

    def __init__(self, backend: Backend, keep: bool = False) -> None:
        self._backend = backend
        self._keep = keep
        self.name, self.runtime = backend.name, backend.runtime
        self.device, self.precision = backend.device, backend.precision
        self.input_size, self.has_attention = backend.input_size, backend.has_attention
        self.batches, self.requests = backend.batches, backend.requests
        self.submitted = 0
        self.crops: list[Image] = []

    def submit(self, crops: Image, attention: bool = False, ahead: bool = False) -> InFlight:
        """Start the network on the crops, counted; arguments and errors as of every `Backend`."""
        self.submitted += len(crops)
        if self._keep:
            self.crops.append(crops.copy())  # their memory is used again
        return self._backend.submit(crops, attention, ahead)

    def infer(self, crops: Image, attention: bool = False) -> Arrays:
        """Run the network and wait; arguments and errors as of every `Backend`."""
        return self.submit(crops, attention).result()

    def close(self) -> None:
        """Leave the other one open: it is lent."""


@contextmanager
def watched(estimator: PoseEstimator, keep: bool = False) -> Iterator[WatchedBackend]:
    """An estimator's backend, watched within the block."""
    network = WatchedBackend(estimator.backend, keep)
    estimator.top_down.backend = network
    try:
        yield network
    finally:
        estimator.top_down.backend = estimator.backend


@dataclass(frozen=True, eq=False)
class Work:
    """What a stream has to have done for a clip.

    Attributes:
        crops: Of each frame, (N, H, W, 3) uint8, as the network got them.
        seen: Frames that the detector looked at.
    """

    crops: list[Image]
    seen: list[Image]

    @property
    def people(self) -> int:
        """How many crops there are in all frames."""
        return sum(map(len, self.crops))


@dataclass(frozen=True)
class Timing:
    """A way through a clip.

    Attributes:
        frames: Of the clip.
        people: Crops that the network had.
        seconds: By the clock.
        processor: Seconds of all cores.
    """

    frames: int
    people: int
    seconds: float
    processor: float

    @property
    def people_rate(self) -> float:
        """How many crops it did in a second."""
        return self.people / self.seconds

    @property
    def frame_rate(self) -> float:
        """How many frames it did in a second."""
        return self.frames / self.seconds


@dataclass
class Figure:
    """One number of the report, once a round."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    def to_dict(self) -> dict[str, Any]:
        """The figure as plain values, for JSON."""
        values = {"median": self.median, "lowest": min(self.values), "highest": max(self.values)}
        return {"name": self.name, "unit": self.unit, **{key: round(value, 4) for key, value in values.items()}}


def record_work(open_clip: Callable[[], Source], estimator: PoseEstimator) -> Work:
    """Run a clip once, untimed, and keep what the network and the detector saw. A file does the same every time."""
    with (
        watched(estimator, keep=True) as network,
        open_clip() as clip,
        PoseStream(clip, estimator, policy="every", track=True) as stream,
    ):
        seen = [frame.image for frame in stream if frame.look is not None]
    work = Work(network.crops, seen)
    if not work.people:
        raise InputError("nobody was found in the clip, so there is nothing to measure: give one with people in it")
    return work


def time_stream(open_clip: Callable[[], Source], estimator: PoseEstimator) -> Timing:
    """End to end: file decoding, detector, crops, network, pose decoding, tracking, smoothing."""
    with (
        watched(estimator) as network,
        Stopwatch() as watch,
        open_clip() as clip,
        PoseStream(clip, estimator, policy="every", track=True) as stream,
    ):
        frames = sum(1 for _ in stream)
    return Timing(frames, network.submitted, watch.seconds, watch.processor)


def time_network(work: Work, estimator: PoseEstimator) -> Timing:
    """The graph alone on a clip's crops, always one frame ahead, so that the device never waits."""
    submit = partial(estimator.backend.submit, ahead=True)
    crops = [each for each in work.crops if len(each)]
    with Stopwatch() as watch:
        flights: list[InFlight] = [submit(crops[0])]
        for _, following in pairwise(crops):
            flights.append(submit(following))
            flights.pop(0).result()
        flights.pop().result()
    return Timing(len(work.crops), work.people, watch.seconds, watch.processor)


def time_detector(work: Work, estimator: PoseEstimator) -> Timing:
    """The detector alone on the frames that it saw."""
    with Stopwatch() as watch:
        for image in work.seen:
            estimator.detector(image)
    return Timing(len(work.seen), 0, watch.seconds, watch.processor)


def time_reading(open_clip: Callable[[], Source]) -> Timing:
    """The clip alone, decoded and thrown away: what no runtime can save."""
    with Stopwatch() as watch, open_clip() as source:
        frames = sum(1 for _ in source)
    return Timing(frames, 0, watch.seconds, watch.processor)


def stream_round(open_clip: Callable[[], Source], work: Work, estimator: PoseEstimator) -> dict[tuple[str, str], float]:
    """The stream and its work alone, measured once; (name, unit) to value."""
    network, detector, reading = time_network(work, estimator), time_detector(work, estimator), time_reading(open_clip)
    stream = time_stream(open_clip, estimator)
    beside = stream.people / network.people  # 1, but for backends that round otherwise from run to run
    return {
        ("network, crops in flight", "persons/s"): network.people_rate,
        ("stream, end to end", "persons/s"): stream.people_rate,
        ("stream, end to end", "frames/s"): stream.frame_rate,
        ("stream / network", "%"): 100 * stream.people_rate / network.people_rate,
        ("network and detector / stream", "%"): 100 * (beside * network.seconds + detector.seconds) / stream.seconds,
        ("network and detector / stream, processor time", "%"): 100
        * (beside * network.processor + detector.processor)
        / stream.processor,
        ("reading the clip / stream, processor time", "%"): 100 * reading.processor / stream.processor,
        ("frames that the detector saw", "%"): 100 * len(work.seen) / stream.frames,
    }


def parts_round(work: Work, estimator: PoseEstimator) -> dict[tuple[str, str], float]:
    """The parts alone, measured once; (name, unit) to value in milliseconds."""
    backend, image = estimator.backend, work.seen[0]
    batch = np.resize(np.concatenate(work.crops), (BATCH, *backend.input_size, 3))
    height, width = image.shape[:2]
    boxes = np.tile(np.array([width / 4, height / 4, width / 4, height / 2], np.float32), (BATCH, 1))
    people, buffer = place(boxes, None, backend.input_size), np.empty_like(batch)
    outputs = backend.infer(batch, attention=backend.has_attention)
    figures = {
        ("network, one person", "ms"): _milliseconds(lambda: backend.infer(batch[:1])),
        (f"network, {BATCH} people", "ms"): _milliseconds(lambda: backend.infer(batch)),
        ("crop, a person", "ms"): _milliseconds(lambda: people.cut(image, buffer)) / BATCH,
        ("pose decoding, a person", "ms"): _milliseconds(lambda: decode_dark(outputs.heatmaps)) / BATCH,
        ("detector, a frame", "ms"): _milliseconds(lambda: estimator.detector(image)),
    }
    queries, keys = outputs.queries, outputs.keys
    if queries is not None and keys is not None:
        figures["attention of one joint, a person", "ms"] = _milliseconds(
            lambda: dependency_rows(queries[0], keys[0], [0])
        )
    return figures


def measure(open_clip: Callable[[], Source], estimator: PoseEstimator, rounds: int, parts: bool = True) -> list[Figure]:
    """All figures, every one measured once a round, so that whatever else the machine does hits all of them.

    Args:
        open_clip: Opens the same clip every time.
        estimator: What to measure.
        rounds: How often.
        parts: Whether the parts are measured too, or the stream and its work only.

    Raises:
        InputError: Nobody is found in the clip.
        TransposeError: The clip or the device fails.
    """
    work = record_work(open_clip, estimator)
    figures: dict[tuple[str, str], Figure] = {}
    for _ in range(rounds):
        values = (parts_round(work, estimator) if parts else {}) | stream_round(open_clip, work, estimator)
        for key, value in values.items():
            figures.setdefault(key, Figure(*key)).values.append(value)
    return list(figures.values())


def table(figures: Sequence[Figure]) -> str:
    """The figures as lines of text: median, and the range of the rounds."""
    lines = [f"{'':48}{'median':>10}   range\n"]
    for figure in figures:
        low, high = min(figure.values), max(figure.values)
        lines.append(f"{f'{figure.name}, {figure.unit}':48}{figure.median:10.2f}   {low:.2f} .. {high:.2f}\n")
    return "".join(lines)


class Stopwatch:
    """Seconds of a with block, by the clock and of the processor."""

    seconds = processor = 0.0

    def __enter__(self) -> Stopwatch:
        self._started, self._processor = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.processor = time.perf_counter() - self._started, time.process_time() - self._processor


def _milliseconds(call: Callable[[], object]) -> float:
    """The median time of some calls."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)
