"""The thread that draws: always the newest frame, again when what is to be drawn has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.stream import Frame

from .events import FrameView
from .following import Following
from .picture import Picture, paint
from .settings import Look
from .statistics import Speed, SpeedMeter


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame to draw, the estimator that made it, and the number of the stream that gave it."""

    frame: Frame
    estimator: PoseEstimator
    run: int


class Painter:
    """Draws frames and keeps one finished view for whoever shows it.

    Args:
        ready: Called when there is a view and the one before was taken.
        failed: Called with an error of the drawing.
    """

    def __init__(self, ready: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        self._ready = ready
        self._failed = failed
        self._meter = SpeedMeter()
        self._changed = threading.Condition()  # guards all that follows
        self._shown: Shown | None = None
        self._look = Look()
        self._following: Following | None = None
        self._size: tuple[int, int] | None = None
        self._stale = self._closing = False
        self._view: FrameView | None = None
        self._thread = threading.Thread(target=self._work, name="viewer-painter", daemon=True)
        self._thread.start()

    @property
    def shown(self) -> Shown | None:
        """The newest frame."""
        return self._shown

    @property
    def following(self) -> Following | None:
        """Whom and which joint."""
        return self._following

    @property
    def look(self) -> Look:
        """What is drawn."""
        return self._look

    def show(self, shown: Shown) -> None:
        """Draw a new frame."""
        self._change(_shown=shown)

    def use_look(self, look: Look) -> None:
        """Draw something else of the frame."""
        self._change(_look=look)

    def follow(self, following: Following | None) -> None:
        """Follow another joint, or none."""
        self._change(_following=following)

    def resize(self, size: tuple[int, int]) -> None:
        """Fit the pictures into (width, height) px."""
        if size != self._size:
            self._change(_size=size)

    def restart_meter(self, forget: bool = False) -> None:
        """A new stream begins; `forget` starts the count of dropped frames anew as well."""
        with self._changed:
            if forget:
                self._meter = SpeedMeter()
            self._meter.restart()

    def take(self) -> FrameView | None:
        """The newest view, if it was not taken before."""
        with self._changed:
            view, self._view = self._view, None
            return view

    def close(self) -> None:
        """Draw no more."""
        self._change(_closing=True)

    def join(self, timeout: float) -> None:
        """Wait for the picture at work."""
        self._thread.join(timeout)

    def _change(self, **values: object) -> None:
        with self._changed:
            for name, value in values.items():
                setattr(self, name, value)
            self._stale = True
            self._changed.notify_all()

    def _work(self) -> None:
        counted: Frame | None = None
        run = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or (self._stale and self._shown is not None))
                if self._closing or self._shown is None:
                    return
                self._stale = False
                shown, look, size, chosen = self._shown, self._look, self._size, self._following
            following = chosen
            if following is not None:
                # Another stream numbers people anew.
                following = (following if shown.run == run else following.renumbered()).seen(shown.frame.poses)
            run = shown.run
            started = time.monotonic()
            try:
                picture = paint(shown.frame, shown.estimator, following, look, size)
            except Exception as error:  # noqa: BLE001 - shown in the window; the next frame gets its chance
                self._failed(error)
                continue
            drawing = time.monotonic() - started
            with self._changed:
                if self._following is chosen:
                    self._following = following
                if shown.frame is not counted:
                    self._meter.add(shown.frame, drawing)
                    counted = shown.frame
                waiting = self._view is not None
                self._view = _view(shown.frame, picture, following, self._meter.speed())
            if not waiting:
                self._ready()


def _view(frame: Frame, picture: Picture, following: Following | None, speed: Speed) -> FrameView:
    return FrameView(
        index=frame.index,
        time=frame.time,
        image=picture.image,
        scale=picture.scale,
        poses=frame.poses,
        following=following,
        person=picture.person,
        problem=picture.problem,
        speed=speed,
    )
