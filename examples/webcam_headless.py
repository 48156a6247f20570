"""The poses of a camera without a window: a line of JSON a frame on stdout, how it keeps up on stderr.

    python examples/webcam_headless.py [0 | clip.mp4 | rtsp://...] > poses.jsonl

Ctrl-C ends it; all lines until then are whole.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import transpose_sdk as tp

EVERY = 100  # frames between two lines on stderr


def main() -> None:
    """Pose until the source ends or Ctrl-C."""
    source = sys.argv[1] if len(sys.argv) > 1 else "0"
    with (
        tp.PoseStream(int(source) if source.isdigit() else source) as stream,
        tp.JsonLinesSink(sys.stdout.buffer) as lines,
    ):
        for count, frame in enumerate(stream, 1):
            lines.write(frame)
            if count % EVERY == 0:
                age = 1e3 * frame.latency.total
                print(f"frame {frame.index}: {age:.0f} ms old, {frame.dropped} dropped so far", file=sys.stderr)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # all lines are written
        main()
