"""Say when somebody has held a hand above the head for a while: a wave for help, a question in a lecture.

    python examples/raised_hand_alarm.py [0 | clip.mp4 | rtsp://...]

A line is printed for each hand, once until it is down again.
"""

from __future__ import annotations

import sys

import transpose_sdk as tp

HOLD = 0.3  # seconds; shorter is a gesture in passing


def main() -> None:
    """Print an alarm for each raise of a hand, once."""
    source = sys.argv[1] if len(sys.argv) > 1 else "0"
    raised: dict[tuple[int, str], float] = {}  # since when which hand of whom is up
    alarmed: set[tuple[int, str]] = set()
    with tp.PoseStream(int(source) if source.isdigit() else source) as stream:
        for frame in stream:
            people, poses = frame.poses.track_ids.tolist(), frame.poses
            head = poses["nose"][:, 1]  # y grows downwards
            for side in ("left", "right"):
                up = poses[f"{side}_wrist"][:, 1] < head
                for hand, is_up in zip([(person, side) for person in people], up.tolist(), strict=True):
                    if not is_up:
                        raised.pop(hand, None)
                        alarmed.discard(hand)
                    elif frame.time - raised.setdefault(hand, frame.time) >= HOLD and hand not in alarmed:
                        alarmed.add(hand)
                        print(f"{frame.time:6.2f} s: person {hand[0]} raises the {side} hand", flush=True)


if __name__ == "__main__":
    main()
