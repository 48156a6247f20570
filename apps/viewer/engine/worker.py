"""The viewer's engine, without Qt: what a window can ask for, and the threads that do it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import cv2

from transpose_sdk.errors import InputError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.files import sink_errors, write_whole
from transpose_sdk.media.frames import Source, source_record
from transpose_sdk.media.sources import SourceSpec, open_source

from .events import FrameView, Listener, SourceInfo
from .following import Following
from .loader import Loader
from .painter import Painter, Shown
from .picture import paint
from .playback import Playback
from .player import Player, described
from .recording import Recording
from .settings import Look, Network, Streaming

JOIN_SECONDS, GRACE_SECONDS = 5.0, 0.3


class ViewerWorker:
    """Plays, poses, draws and records on threads of its own; no method here waits for them, except `close`.

    Args:
        listener: Is told what happens.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._painter = Painter(listener.view_ready, self._report)
        self._player = Player(self._show, self._stream_began, self._stream_ended)
        # A network that compiles must not hold up a source, nor a camera that does not answer a network.
        self._loader = Loader("viewer-loader", self._report)
        self._compiler = Loader("viewer-compiler", self._report)
        self._lock = threading.Lock()
        self._changing = threading.Lock()  # what is recorded stays the same while a recording begins
        self._spec: SourceSpec | None = None
        self._info: SourceInfo | None = None
        self._loop = False
        self._recording: Recording | None = None
        self._last_frame = time.monotonic()
        self._closed = False

    # What is played

    def open(self, spec: SourceSpec) -> None:
        """Play a file, folder, glob, camera's index or URL; what plays now goes on until the new source is there."""
        self._loader.ask("open", lambda: self._open(spec, 0))

    def seek(self, index: int) -> None:
        """Go to a frame of a file."""
        info, spec = self._info, self._spec
        if info is not None and spec is not None and info.seekable:
            self._loader.ask("open", lambda: self._open(spec, index))

    def play(self) -> None:
        """Go on; from the start where the source had ended, and with a new connection where it was lost."""
        playback, spec = self._player.playback, self._spec
        if playback is None or spec is None:
            return
        if playback.exhausted or playback.closed:
            self._loader.ask("open", lambda: self._open(spec, 0, paused=False))
        else:
            playback.pause(False)
            self._listener.state_changed("playing")

    def pause(self) -> None:
        """Hold the picture."""
        playback = self._player.playback
        if playback is not None and not playback.exhausted:
            playback.pause(True)
            self._listener.state_changed("paused")

    def step(self) -> None:
        """One frame on, then hold."""
        playback = self._player.playback
        if playback is not None and not playback.exhausted:
            playback.step()
            self._listener.state_changed("paused")

    def set_loop(self, loop: bool) -> None:
        """Whether a file begins again at its end."""
        self._loop = loop

    # How

    def use_network(self, network: Network) -> None:
        """Pose with another network, once it is compiled; where that fails the one before stays."""
        self._compiler.ask("network", lambda: self._load(network))

    def use_streaming(self, streaming: Streaming) -> None:
        """Smooth or detect otherwise."""
        self._loader.ask("streaming", lambda: self._player.use(streaming=streaming))

    def use_look(self, look: Look) -> None:
        """Draw otherwise."""
        self._painter.use_look(look)

    def follow(self, following: Following | None) -> None:
        """Explain a joint, or none."""
        self._painter.follow(following)

    def resize(self, width: int, height: int) -> None:
        """Give pictures that fit into so many px."""
        self._painter.resize((max(16, width), max(16, height)))

    def take_view(self) -> FrameView | None:
        """The newest picture, if it was not taken before."""
        return self._painter.take()

    @property
    def silent_for(self) -> float:
        """Seconds since the last frame came or was asked for."""
        return time.monotonic() - self._last_frame

    # Files

    def record(self, path: Path) -> None:
        """Write what is shown from now on to a video, and the poses to a JSON document beside it."""
        self._loader.ask("record", lambda: self._record(path))

    def stop_recording(self) -> None:
        """Finish both files."""
        with self._lock:
            recording = self._recording
        if recording is not None:
            recording.stop()

    def screenshot(self, path: Path) -> None:
        """Write the frame at hand, in its own size with all that is drawn on it."""
        self._loader.ask("screenshot", lambda: self._screenshot(path))

    def close(self, timeout: float = JOIN_SECONDS) -> None:
        """End all threads; harmless when called again.

        A network that is just being compiled and a camera that does not answer cannot be interrupted: they are not
        waited for (see `ended`), and what they give is closed when it comes.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        deadline = time.monotonic() + timeout
        self.stop_recording()
        self._loader.close()
        self._compiler.close()
        self._player.close()
        self._painter.close()
        for part in (self._player, self._painter, self._recording):
            if part is not None:
                part.join(max(0.1, deadline - time.monotonic()))
        for loader in (self._loader, self._compiler):
            loader.join(GRACE_SECONDS)

    @property
    def ended(self) -> bool:
        """Whether nothing is being opened or compiled any more after `close`."""
        return self._loader.ended and self._compiler.ended

    # On the loader's thread

    def _open(self, spec: SourceSpec, start: int, paused: bool | None = None) -> None:
        self._listener.busy("Opening the source…" if start == 0 else "Seeking…")
        again = spec is self._spec
        try:
            source = open_source(spec, start=start)
        finally:
            self._listener.busy("")
        before = self._player.playback
        playback = Playback(source)
        if paused is None:
            paused = again and before is not None and (before.paused or before.exhausted)
        if paused:
            playback.step()  # shows the frame and holds it
        with self._changing:
            self._finish_recording()
            self._spec = spec
            if not again:
                self._info = _describe(spec, source)
                self._painter.restart_meter(forget=True)
                self._painter.follow(None if (f := self._painter.following) is None else Following(f.keypoint))
                self._listener.source_opened(self._info)
            self._last_frame = time.monotonic()
            self._player.use(playback=playback)

    def _load(self, network: Network) -> None:
        self._listener.busy(f"Loading {Path(network.model).stem}…")
        try:
            estimator = PoseEstimator(
                network.model, network.device, network.precision, network.detector, attention=True
            )
        finally:
            self._listener.busy("")
        with self._changing:
            self._finish_recording()
            self._player.use(estimator=estimator)
        facts = {"has_attention": estimator.backend.has_attention, "precisions": sorted(estimator.bundle.graphs)}
        self._listener.network_loaded(network, {**estimator.describe(), **facts})

    def _record(self, path: Path) -> None:
        with self._changing:
            playback, estimator = self._player.playback, self._player.estimator
            if playback is None or estimator is None or playback.exhausted:
                raise InputError("there is nothing to record: open a clip or a camera and let it play")
            if not self._finish_recording():
                raise InputError(f"the recording before is still being written: wait for it, then record {path.name}")
            source = playback.source
            record, run = source_record(source), self._player.run
            recording = Recording(path, source.fps, record, estimator, run, self._recording_ended)
            with self._lock:
                self._recording = recording
                closed = self._closed
        if closed:
            recording.stop()
        else:
            self._listener.recording_changed(path)

    def _finish_recording(self) -> bool:
        """Finish the files before what they show changes, and while its network is open; whether they are finished."""
        with self._lock:
            recording = self._recording
        if recording is None:
            return True
        recording.stop()
        return recording.join(JOIN_SECONDS)

    def _screenshot(self, path: Path) -> None:
        shown, look = self._painter.shown, self._painter.look
        if shown is None:
            raise InputError("there is no picture yet: open a clip or a camera first")
        picture = paint(shown.frame, shown.estimator, self._painter.following, look)
        _, data = cv2.imencode(".png", picture.image)
        with sink_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data.tobytes())
        self._listener.saved(path)

    # On the other threads

    def _show(self, shown: Shown) -> None:
        self._last_frame = time.monotonic()
        self._painter.show(shown)
        with self._lock:
            recording = self._recording
        if recording is not None and shown.run >= recording.run:
            recording.add(shown.frame, self._painter.following, self._painter.look)

    def _stream_began(self) -> None:
        self._painter.restart_meter()
        playback = self._player.playback
        if playback is not None and not playback.exhausted:
            self._listener.state_changed("paused" if playback.paused else "playing")

    def _stream_ended(self, playback: Playback, error: Exception | None) -> None:
        self.stop_recording()
        if error is not None:
            playback.close()
            self._report(error)
        elif self._loop and self._info is not None and self._info.seekable and self._info.frame_count != 1:
            spec = self._info.spec
            self._loader.ask("open", lambda: self._open(spec, 0, paused=False))
            return
        self._listener.state_changed("ended")

    def _recording_ended(self, path: Path, error: Exception | None) -> None:
        with self._lock:
            self._recording = None
        self._listener.recording_changed(None)
        if error is None:
            self._listener.saved(path)
        else:
            self._report(error)

    def _report(self, error: Exception) -> None:
        if not self._closed:
            self._listener.failed(described(error))


def _describe(spec: SourceSpec, source: Source) -> SourceInfo:
    name = source.name if source.live or "://" in source.name else Path(source.name).name
    seekable = not source.live and isinstance(spec, str | Path)
    return SourceInfo(spec, name or source.name, source.kind, source.frame_count, source.fps, seekable, source.size)
