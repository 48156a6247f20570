"""Draw the people of a photo or a clip and save what was drawn.

    python examples/draw_and_save.py street.jpg --out out.jpg
    python examples/draw_and_save.py clip.mp4 --out out.mp4

The suffix of the output decides whether it is a picture or a video.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import transpose_sdk as tp


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a photo, clip, folder, camera's index or URL")
    parser.add_argument("--out", type=Path, required=True, help="a picture or a video, by its suffix")
    args = parser.parse_args()

    annotator = tp.PoseAnnotator(boxes=False)
    moving = args.out.suffix in (".mp4", ".mkv", ".avi")
    sink = tp.VideoSink(args.out, annotator=annotator) if moving else tp.ImageSink(args.out, annotator=annotator)
    with tp.PoseStream(args.source) as stream, sink:
        for frame in stream:
            sink.write(frame)
            print(f"{frame.time:6.2f} s: {len(frame.poses)} people")


if __name__ == "__main__":
    main()
