"""The thread that runs PoseStream: one stream after another, on whatever source, network and options there are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from transpose_sdk.errors import TransposeError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.stream import Frame, Latency, PoseStream
from transpose_sdk.tracking.smoothing import SmoothingOptions

from .painter import Shown
from .playback import Playback
from .settings import Streaming


class Ending(Protocol):
    """Called when a stream is over by itself, with its error or None."""

    def __call__(self, playback: Playback, error: Exception | None) -> None: ...


class Player:
    """Plays.

    Args:
        shown: Called with every frame.
        began: Called when a stream begins.
        ended: See `Ending`.
    """

    def __init__(self, shown: Callable[[Shown], None], began: Callable[[], None], ended: Ending) -> None:
        self._shown = shown
        self._began = began
        self._ended = ended
        self._changed = threading.Condition()  # guards all that follows
        self._playback: Playback | None = None
        self._estimator: PoseEstimator | None = None
        self._streaming = Streaming()
        self._stream: PoseStream | None = None
        self._run = 0  # number of the stream that is wanted
        self._done = 0  # number of the last one that was begun
        self._held: Frame | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="viewer-player", daemon=True)
        self._thread.start()

    @property
    def playback(self) -> Playback | None:
        """What is played."""
        return self._playback

    @property
    def estimator(self) -> PoseEstimator | None:
        """What poses."""
        return self._estimator

    @property
    def run(self) -> int:
        """Number of the stream that is wanted: frames of an earlier one are not of this playback and estimator."""
        return self._run

    def use(
        self,
        playback: Playback | None = None,
        estimator: PoseEstimator | None = None,
        streaming: Streaming | None = None,
    ) -> None:
        """Go on with another source, network or options; what is None stays. Waits for the stream before to end.

        What comes when the player is closed already is closed as well.
        """
        with self._changed:
            late, before = self._closing, self._playback
            if not late:
                if playback is not None:
                    self._playback, self._held = playback, None
                self._estimator = estimator or self._estimator
                self._streaming = streaming or self._streaming
                self._run += 1
            stream = self._stream
            self._changed.notify_all()
        if late:
            for opened in (playback, estimator):
                if opened is not None:
                    opened.close()
            return
        if stream is not None:
            stream.source.close()
            stream.close()
        if before is not None and playback is not None:
            before.close()

    def close(self) -> None:
        """End the stream, and begin no more."""
        with self._changed:
            self._closing = True
            stream, playback = self._stream, self._playback
            self._changed.notify_all()
        if playback is not None:
            playback.wake()
        if stream is not None:
            stream.source.close()
            stream.close()
        if playback is not None:
            playback.close()

    def join(self, timeout: float) -> None:
        """Wait for the thread, and let go of the network."""
        self._thread.join(timeout)
        if self._estimator is not None:
            self._estimator.close()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closing or (self._run > self._done and self._playback and self._estimator)
                )
                if self._closing or self._playback is None or self._estimator is None:
                    return
                run = self._done = self._run
                playback, estimator, streaming = self._playback, self._estimator, self._streaming
            error: Exception | None = None
            try:
                self._play(playback, estimator, streaming, run)
            except Exception as failure:  # noqa: BLE001 - shown in the window, which must stay usable
                error = failure
            with self._changed:
                self._stream = None
                replaced = self._closing or self._run != run
                discarded = self._estimator is not estimator
            if discarded:
                estimator.close()
            if not replaced:
                self._ended(playback, error)

    def _play(self, playback: Playback, estimator: PoseEstimator, streaming: Streaming, run: int) -> None:
        if self._held is not None and (playback.paused or playback.exhausted):
            self._pose_again(self._held, estimator, run)
        stream = PoseStream(
            playback.segment(),
            estimator,
            track=playback.source.kind != "images",
            smooth=streaming.smoothing is not None,
            smoothing=SmoothingOptions(min_cutoff=streaming.smoothing or SmoothingOptions.min_cutoff),
            detection=streaming.detection,
        )
        with self._changed:
            if self._closing or self._run != run:
                return
            self._stream = stream
        self._began()
        with stream.source, stream:
            for frame in stream:
                if self._run != run:
                    return  # finished before the change, and taken after it: it belongs to what was before
                self._held = frame
                self._shown(Shown(frame, estimator, run))

    def _pose_again(self, frame: Frame, estimator: PoseEstimator, run: int) -> None:
        """What another network says about the frame that stands still."""
        poses = estimator(frame.image)
        predicted = np.zeros(poses.scores.shape, bool)
        again = replace(frame, poses=poses, predicted=predicted, look="always", latency=Latency())
        self._held = again
        self._shown(Shown(again, estimator, run))


def described(error: Exception) -> str:
    """An error as a sentence for the window."""
    if isinstance(error, TransposeError):
        return str(error)
    return f"something unexpected failed ({type(error).__name__}: {error}): try again, and report it if it stays"
