"""Count who walks over a line, with supervision's line: pip install supervision.

    python examples/count_crossings.py clip.mp4 --line 0.5 0 0.5 1

The line is given in shares of the frame's width and height. Over one from top to bottom, in is from left to right.
"""

from __future__ import annotations

import argparse

import supervision as sv

import transpose_sdk as tp


def main() -> None:
    """Print each crossing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--line", nargs=4, type=float, default=[0.5, 0.0, 0.5, 1.0], metavar=("X1", "Y1", "X2", "Y2"))
    args = parser.parse_args()

    line: sv.LineZone | None = None
    with tp.PoseStream(args.source) as stream:
        for frame in stream:
            if line is None:
                height, width = frame.image.shape[:2]
                x1, y1, x2, y2 = args.line
                ends = sv.Point(x1 * width, y1 * height), sv.Point(x2 * width, y2 * height)
                line = sv.LineZone(*ends, triggering_anchors=[sv.Position.BOTTOM_CENTER])
            _, people = frame.poses.to_supervision()
            entered, left = line.trigger(people)
            for crossed, way in ((entered, "in"), (left, "out")):
                for person in people.tracker_id[crossed].tolist():
                    print(f"{frame.time:6.2f} s: person {person} {way}")
    if line is not None:
        print(f"{line.in_count} in, {line.out_count} out")


if __name__ == "__main__":
    main()
