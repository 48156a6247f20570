"""What is shown, written to a video and a JSON document beside it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from transpose_sdk.errors import InputError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.sinks import JsonSink, VideoSink
from transpose_sdk.poses import Poses
from transpose_sdk.stream import Frame

from .following import Following
from .picture import paint
from .settings import Look

WAITING = 8  # frames between the stream and the encoder; then the stream waits, which costs frames but no memory

Entry = tuple[Frame, Following | None, Look]


class Recording:
    """Writes frames on a thread of its own.

    Args:
        path: The video; the JSON document has its name with .json.
        fps: Of the source; None if unknown.
        source: The "source" of the JSON document.
        estimator: The one that makes the poses.
        run: Number of the first stream whose frames are recorded (see `Player.run`).
        ended: Called once, whatever happens: with None when both files are complete, or with the error that ended it.

    Raises:
        SinkError: A file cannot be created.
    """

    def __init__(
        self,
        path: Path,
        fps: float | None,
        source: dict[str, Any],
        estimator: PoseEstimator,
        run: int,
        ended: Callable[[Path, Exception | None], None],
    ) -> None:
        self.path = path
        self.run = run
        self._estimator = estimator
        self._ended = ended
        self._document = path.with_suffix(".json")
        with ExitStack() as opened:
            self._video = opened.enter_context(VideoSink(path, fps))
            self._json = JsonSink(
                self._document, source=source, model=estimator.describe(), skeleton=estimator.skeleton
            )
            opened.pop_all()
        self._written = 0
        self._frames: queue.Queue[Entry | None] = queue.Queue(WAITING)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="viewer-recording", daemon=True)
        self._thread.start()

    def add(self, frame: Frame, following: Following | None, look: Look) -> None:
        """Write a frame; waits while the encoder is behind."""
        while not self._stopping.is_set():
            try:
                self._frames.put((frame, following, look), timeout=0.1)
                return
            except queue.Full:
                continue

    def stop(self) -> None:
        """Finish the files; `ended` follows."""
        self._stopping.set()

    def join(self, timeout: float) -> bool:
        """Wait until they are finished; whether they are."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _write_all(self) -> None:
        error: Exception | None = None
        try:
            with self._video, self._json:
                while (entry := self._next()) is not None:
                    self._write(*entry)
            if not self._written:
                raise InputError("nothing was recorded, for no picture came meanwhile: let the clip play and try again")
        except Exception as failure:  # noqa: BLE001 - shown in the window, which must stay usable
            error = failure
        finally:
            self._stopping.set()  # whoever waits in `add` must not wait for a thread that has ended
            if not self._written:
                with suppress(OSError):
                    self._document.unlink()  # a video without frames leaves no file either
            self._ended(self.path, error)

    def _next(self) -> Entry | None:
        """The next frame; None once all are written and no more will come."""
        while True:
            try:
                return self._frames.get(timeout=0.1)
            except queue.Empty:
                if self._stopping.is_set():
                    return None

    def _write(self, frame: Frame, following: Following | None, look: Look) -> None:
        drawn = paint(frame, self._estimator, following, look).image
        # Drawn already; the video's own annotator has nothing left to add.
        self._video.write(replace(frame, image=drawn, poses=Poses.empty(frame.poses.skeleton)))
        self._json.write(frame)
        self._written += 1
