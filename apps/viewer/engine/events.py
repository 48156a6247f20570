"""What the worker tells the window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.media.sources import SourceSpec
from transpose_sdk.poses import Poses

from .following import Following
from .settings import Network
from .statistics import Speed

STATES = ("idle", "playing", "paused", "ended")


@dataclass(frozen=True)
class SourceInfo:
    """What is played.

    Attributes:
        spec: As it was opened.
        name: For people.
        kind: "video", "images" or "camera".
        frame_count: None where unknown.
        fps: None where unknown.
        seekable: Whether any frame can be gone to.
        size: (width, height), None where unknown.
    """

    spec: SourceSpec
    name: str
    kind: str
    frame_count: int | None
    fps: float | None
    seekable: bool
    size: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class FrameView:
    """A finished picture and what belongs to it.

    Attributes:
        index: Of the frame.
        time: Of the frame, in seconds.
        image: (H, W, 3) uint8 BGR, fitted into the size asked for.
        scale: Its px for one px of the frame.
        poses: In px of the frame.
        following: The joint that is followed.
        person: Index of its person, None if not on the frame.
        problem: Why nothing glows though it should.
        speed: Of the stream.
    """

    index: int
    time: float
    image: NDArray[np.uint8]
    scale: float
    poses: Poses
    following: Following | None
    person: int | None
    problem: str | None
    speed: Speed


class Listener(Protocol):
    """Is told what happens, on the worker's threads; must return at once."""

    def view_ready(self) -> None: ...

    def source_opened(self, info: SourceInfo) -> None: ...

    def network_loaded(self, network: Network, description: dict[str, Any]) -> None: ...

    def state_changed(self, state: str) -> None: ...

    def busy(self, what: str) -> None: ...

    def failed(self, message: str) -> None: ...

    def saved(self, path: Path) -> None: ...

    def recording_changed(self, path: Path | None) -> None: ...
