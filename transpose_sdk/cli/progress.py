"""A line on stderr that says how far a command is."""

from __future__ import annotations

import sys
import time
from collections import deque
from types import TracebackType
from typing import TextIO

# Seconds between two lines: a terminal's line is refreshed in place, a log file gets a line now and then.
TERMINAL_INTERVAL, LOG_INTERVAL = 0.1, 5.0
# The rate shown is that of the last seconds, so that it tells what happens now.
RATE_WINDOW = 3.0


class Progress:
    """Counts frames and people and shows them, with the rate and the time left, as a context manager."""

    def __init__(self, total: int | None, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        """Start the clock.

        Args:
            total: Number of frames, None where unknown.
            quiet: Show nothing.
            stream: Where to; stderr if None.
        """
        self.frames = 0
        self.people = 0
        self.dropped = 0
        self._total = total
        self._quiet = quiet
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._started = self._shown = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque([(self._started, 0)])
        self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._width:
            self._stream.write("\n")
            self._stream.flush()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def update(self, people: int, dropped: int = 0) -> None:
        """Count one more frame, the people on it, and the total of dropped frames so far."""
        now = time.monotonic()
        self.frames += 1
        self.people += people
        self.dropped = dropped
        self._recent.append((now, self.frames))
        while len(self._recent) > 2 and now - self._recent[0][0] > RATE_WINDOW:
            self._recent.popleft()
        if self._quiet or now - self._shown < (TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL):
            return
        self._shown = now
        self._show(self._line(now, people))

    def _line(self, now: float, people: int) -> str:
        then, before = self._recent[0]
        rate = (self.frames - before) / max(now - then, 1e-6)
        parts = [f"{self.frames}/{self._total} frames" if self._total else f"{self.frames} frames"]
        parts += [f"{rate:.1f} fps", f"{people} people"]
        if self.dropped:
            parts.append(f"{self.dropped} dropped")
        if self._total:
            left = round(max(0, self._total - self.frames) / max(rate, 1e-6))
            parts.append(f"{left // 60}:{left % 60:02d} left")
        return "  ".join(parts)

    def _show(self, line: str) -> None:
        if self._terminal:
            self._stream.write(f"\r{line:<{self._width}}")
            self._width = len(line)
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()
