"""The moving picture of the start page: a clip with its skeletons, and what one joint was inferred from.

    python docs/make/moving_picture.py demo.mp4 --out docs/pictures/walker.webp

demo.mp4 is the demonstration clip of Sports2D (BSD-3), which the README's first command fetches.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
from PIL import Image

import transpose_sdk as tp

LARGEST = 1_500_000  # bytes
QUALITIES = range(70, 20, -10)  # tried until it is small enough


def main() -> None:
    """Pose, draw, shrink and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, required=True, help="a .webp")
    parser.add_argument("--joint", default="left_ankle")
    parser.add_argument("--frames", type=int, nargs=2, default=(56, 150), metavar=("FIRST", "STOP"))
    parser.add_argument("--stride", type=int, default=2, help="every so many frames are shown")
    parser.add_argument("--width", type=int, default=720, help="px")
    args = parser.parse_args()

    annotator = tp.PoseAnnotator(boxes=False, labels=False, attention=tp.AttentionOverlay(args.joint))
    pictures, times = [], []
    with tp.PoseEstimator(attention=True) as estimator, tp.PoseStream(args.source, estimator) as stream:
        for frame in stream:
            if frame.index >= args.frames[1]:
                break
            if frame.index >= args.frames[0] and frame.index % args.stride == 0:
                drawn = annotator.annotate(frame.image, frame.poses)
                height = round(args.width * drawn.shape[0] / drawn.shape[1])
                small = cv2.resize(drawn, (args.width, height), interpolation=cv2.INTER_AREA)
                pictures.append(Image.fromarray(small[..., ::-1]))
                times.append(frame.time)
    milliseconds = round(1e3 * (times[-1] - times[0]) / (len(times) - 1))
    for quality in QUALITIES:
        pictures[0].save(
            args.out,
            save_all=True,
            append_images=pictures[1:],
            duration=milliseconds,
            loop=0,
            quality=quality,
            method=4,
        )
        if args.out.stat().st_size <= LARGEST:
            break
    print(f"{args.out}: {len(pictures)} pictures, {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
