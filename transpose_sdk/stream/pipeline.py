"""The stages of the stream, each on its own thread: capture, locate (detect and crop), finish (decode, track, smooth).

The network works on several frames between locate and finish. A frame's boxes come from the tracks of the frames that
have passed it, so how far locate may run ahead is a bargain: just so many frames that the network never waits.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transpose_sdk.errors import BackendError, SourceError, TransposeError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.lifetime.process_end import fork_remedy, is_forked
from transpose_sdk.media.frames import Source, SourceFrame, iterating
from transpose_sdk.stream.channel import Channel, Closed
from transpose_sdk.stream.detection import BoxFinder, Candidates
from transpose_sdk.stream.frame import Frame, Latency
from transpose_sdk.topdown import PosesInFlight, without_duplicates
from transpose_sdk.tracking.smoothing import PoseSmoother
from transpose_sdk.tracking.tracker import Tracker, Tracks

logger = logging.getLogger(__name__)

READ_AHEAD = 4  # frames of a file that are decoded before their turn
UNTAKEN = 4  # finished frames that wait for a slow consumer
AHEAD = 4  # frames in the network at most
STOP_SECONDS = 0.9


@dataclass(frozen=True, eq=False)
class _Captured:
    """A frame of the source, and when it came (monotonic seconds)."""

    frame: SourceFrame
    at: float


@dataclass(frozen=True, eq=False)
class _Posing:
    """A frame in the network, since when (monotonic seconds), and where its time went before.

    `sought` is the time of the tracks that its boxes come from.
    """

    captured: _Captured
    candidates: Candidates
    sought: float | None
    flight: PosesInFlight
    since: float
    latency: Latency
    dropped: int


class Pipeline:
    """Runs the stages until the source ends, a stage fails, or it is stopped.

    Args:
        source: Where the frames come from.
        estimator: The detector and the network.
        latest: Whether old frames are dropped when the stages cannot keep up.
        finder: Says where to look.
        tracker: Knows who is who; None gives poses without ids, and lets the detector see every frame.
        smoother: Steadies the keypoints of tracks; None leaves them as they are.
        lent: Whether the source is left open at the end.
    """

    def __init__(
        self,
        source: Source,
        estimator: PoseEstimator,
        latest: bool,
        finder: BoxFinder,
        tracker: Tracker | None,
        smoother: PoseSmoother | None,
        lent: bool = False,
    ) -> None:
        self._process = os.getpid()
        self._source = source
        self._lent = lent
        self._estimator = estimator
        self._wanted = estimator.backend.requests * estimator.backend.batches[-1]  # crops that keep the device busy
        self._latest = latest
        self._finder = finder
        self._tracker = tracker
        self._smoother = smoother
        self._captured: Channel[_Captured] = Channel(1, drop_oldest=True) if latest else Channel(READ_AHEAD)
        self._posing: Channel[_Posing] = Channel(AHEAD)
        self._finished: Channel[tuple[Frame, float]] = Channel(UNTAKEN)
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._clock_start: float | None = None
        # Guards the next four, and is told of every frame that is finished or taken.
        self._passed = threading.Condition()
        self._located = self._done = 0  # frames
        self._crops: deque[int] = deque(maxlen=AHEAD)  # of the frames last located
        self._tracks = deque([Tracks.empty(estimator.skeleton)], maxlen=AHEAD + 1)  # after the frames last done
        self._threads = [
            self._start(self._capture, None, self._captured),
            self._start(self._locate, self._captured, self._posing),
            self._start(self._finish, self._posing, self._finished),
        ]

    def take(self) -> Frame:
        """The next finished frame, once there is one.

        Raises:
            Closed: There are no more.
            TransposeError: A stage failed and all frames before were taken; said once.
        """
        if is_forked(self._process):
            raise BackendError(f"the stream of {self._source.name} cannot be used here: {fork_remedy(self._process)}")
        try:
            frame, captured = self._finished.get()
        except Closed:
            self.stop()
            error, self._error = self._error, None
            if error is not None:
                raise error from error.__cause__
            raise
        with self._passed:
            self._passed.notify_all()
        delivery = time.monotonic() - captured - frame.latency.total
        return replace(frame, latency=replace(frame.latency, delivery=delivery))

    def stop(self) -> None:
        """Stop all stages and wait for their threads; finished frames can still be taken."""
        if is_forked(self._process):
            return  # none of its threads is here
        self._stopping.set()
        for channel in (self._captured, self._posing, self._finished):
            channel.stop()
        with self._passed:
            self._passed.notify_all()
        deadline = time.monotonic() + STOP_SECONDS
        capture = self._threads[0]
        capture.join(0.1)
        if capture.is_alive() and not self._lent:
            # Wakes a source that waits; on its own thread, for close has to wait while a camera's driver is reading.
            threading.Thread(target=self._source.close, name="transpose-close", daemon=True).start()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if stuck:
            logger.warning("%s of %s is still in a call and ends with it", ", ".join(stuck), self._source.name)

    def _start(self, stage: Callable[[], None], inlet: Channel[Any] | None, outlet: Channel[Any]) -> threading.Thread:
        # Daemons, so that a source that never returns from a read cannot keep a program from ending.
        name = f"transpose{stage.__name__.replace('_', '-')}"
        thread = threading.Thread(target=self._run, args=(stage, inlet, outlet), name=name, daemon=True)
        thread.start()
        return thread

    def _run(self, stage: Callable[[], None], inlet: Channel[Any] | None, outlet: Channel[Any]) -> None:
        try:
            stage()
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - the consumer gets it
            if not self._stopping.is_set() and self._error is None:
                self._error = error
        finally:
            # Downstream, what was done before still arrives; upstream has to end.
            if inlet is not None:
                inlet.stop()
            outlet.finish()
            with self._passed:
                self._passed.notify_all()

    def _capture(self) -> None:
        try:
            with _blame(f"reading {self._source.name}", SourceError), iterating(self._source) as frames:
                for frame in frames:
                    if self._latest and self._source.kind == "video":
                        self._keep_time(frame)
                    self._captured.put(_Captured(frame.kept(), time.monotonic()))
        finally:
            if not self._lent:
                self._source.close()

    def _keep_time(self, frame: SourceFrame) -> None:
        """Wait for a frame's time: a video whose frames may be dropped is played at its own speed, as a camera."""
        if self._clock_start is None:
            self._clock_start = time.monotonic() - frame.time
        self._stopping.wait(self._clock_start + frame.time - time.monotonic())

    def _locate(self) -> None:
        while True:
            self._wait_for_turn()
            captured = self._captured.get()
            frame, started, dropped = captured.frame, time.monotonic(), self._captured.dropped
            with _blame(f"detecting people in frame {frame.index}"):
                tracks = None if self._tracker is None else self._known_tracks()
                candidates = self._finder(frame.image, frame.time, tracks)
            detected = time.monotonic()
            with _blame(f"starting the network on frame {frame.index}"):
                # Without tracks a stream is the estimator on every frame, to the last bit.
                flight = self._estimator.top_down.submit(
                    frame.image,
                    candidates.boxes,
                    candidates.scores,
                    whole_pixels=tracks is not None,
                    ahead=not self._latest,
                )
            submitted = time.monotonic()
            latency = Latency(started - captured.at, detected - started, submitted - detected)
            with self._passed:
                self._located += 1
                self._crops.append(len(flight))
            sought = None if tracks is None else tracks.time
            self._posing.put(_Posing(captured, candidates, sought, flight, submitted, latency, dropped))

    def _wait_for_turn(self) -> None:
        """Wait until the next frame should be taken up."""
        with self._passed:
            self._passed.wait_for(lambda: self._posing.stopped or self._may_locate())
        if self._posing.stopped:
            raise Closed

    def _may_locate(self) -> bool:
        if not self._latest:
            return self._located - self._done <= self._allowed_ahead()
        # A frame that would only wait for the network or for the consumer would better be a newer one.
        ahead = self._located - self._done
        busy = sum(list(self._crops)[len(self._crops) - ahead :])
        return not len(self._finished) and ahead < AHEAD and busy < self._wanted

    def _allowed_ahead(self) -> int:
        """Frames that have to be in the network while the next one is located, so that it has enough crops."""
        total = 0
        for frames, crops in enumerate(reversed(self._crops), 1):
            total += crops or self._wanted
            if total >= self._wanted:
                return frames
        return AHEAD

    def _known_tracks(self) -> Tracks:
        """The tracks that the next frame's boxes come from.

        The newest where frames are dropped. Else those after a count of frames that no thread's pace has a say in:
        a file always gives the same poses.
        """
        with self._passed:
            if self._latest:
                return self._tracks[-1]
            known = max(0, self._located - self._allowed_ahead())
            return self._tracks[-1 - (self._done - known)]

    def _finish(self) -> None:
        while True:
            self._finished.wait_for_room()
            posing = self._posing.get()
            frame, flight = posing.captured.frame, posing.flight
            with _blame(f"estimating the poses of frame {frame.index}"):
                flight.wait()
                answered = time.monotonic()
                poses = flight.result()
                decoded = time.monotonic()
                if self._tracker is None:
                    poses = without_duplicates(poses, self._estimator.bundle.input_size)
                else:
                    if posing.candidates.cut:
                        self._tracker.end_tracks()
                        if self._smoother is not None:
                            self._smoother.end_tracks()
                    poses = self._tracker.update(poses, frame.time, flight.box_scores, posing.sought)
                predicted = np.zeros(poses.scores.shape, bool)
                if self._smoother is not None:
                    poses, predicted = self._smoother(poses, frame.time)
            latency = replace(
                posing.latency,
                inference=answered - posing.since,
                decoding=decoded - answered,
                tracking=time.monotonic() - decoded,
            )
            reason, dropped = posing.candidates.reason, posing.dropped
            done = Frame(frame.index, frame.time, frame.image, poses, predicted, reason, latency, dropped)
            self._finished.add((done, posing.captured.at))
            with self._passed:
                self._done += 1
                if self._tracker is not None:
                    self._tracks.append(self._tracker.tracks)
                self._passed.notify_all()


@contextmanager
def _blame(work: str, kind: type[TransposeError] = TransposeError) -> Iterator[None]:
    """Say what was going on when somebody else's error came up; ours say it themselves."""
    try:
        yield
    except (TransposeError, Closed):
        raise
    except Exception as error:
        raise kind(f"{work} failed ({type(error).__name__}: {error}): its cause is in __cause__") from error
