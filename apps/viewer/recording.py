"""What is shown, written to a video and a JSON document beside it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from transpose_sdk.errors import TransposeError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.sinks import JsonSink, VideoSink
from transpose_sdk.poses import Poses
from transpose_sdk.stream import Frame

from .following import Following
from .picture import paint
from .settings import Look

WAITING = 8  # frames between the stream and the encoder; then the stream waits, which costs frames but no memory

Shown = tuple[Frame, Following | None, Look]


class Recording:
    """Writes frames on a thread of its own.

    Args:
        path: The video; the JSON document has its name with .json.
        fps: Of the source; None if unknown.
        source: The "source" of the JSON document.
        estimator: The one that makes the poses.
        ended: Called once when both files are complete, with the error or None.

    Raises:
        SinkError: A file cannot be created.
    """

    def __init__(
        self,
        path: Path,
        fps: float | None,
        source: dict[str, Any],
        estimator: PoseEstimator,
        ended: Callable[[Path, TransposeError | None], None],
    ) -> None:
        self.path = path
        self.estimator = estimator
        self._ended = ended
        self._video = VideoSink(path, fps)
        self._json = JsonSink(
            path.with_suffix(".json"), source=source, model=estimator.describe(), skeleton=estimator.skeleton
        )
        self._frames: queue.Queue[Shown | None] = queue.Queue(WAITING)
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

    def join(self, timeout: float) -> None:
        """Wait until they are finished."""
        self._thread.join(timeout)

    def _write_all(self) -> None:
        error: TransposeError | None = None
        try:
            with self._video, self._json:
                while (shown := self._next()) is not None:
                    self._write(*shown)
        except TransposeError as failure:
            error = failure
            self._stopping.set()
        self._ended(self.path, error)

    def _next(self) -> Shown | None:
        """The next frame; None once all are written and no more will come."""
        while True:
            try:
                return self._frames.get(timeout=0.1)
            except queue.Empty:
                if self._stopping.is_set():
                    return None

    def _write(self, frame: Frame, following: Following | None, look: Look) -> None:
        drawn = paint(frame, self.estimator, following, look).image
        # Drawn already; the video's own annotator has nothing left to add.
        self._video.write(replace(frame, image=drawn, poses=Poses.empty(frame.poses.skeleton)))
        self._json.write(frame)
