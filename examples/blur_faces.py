"""Blur the faces of a clip by the joints of the head.

    python examples/blur_faces.py clip.mp4 --out blurred.mp4

A face that the network does not find is not blurred: look the video over before you publish it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import transpose_sdk as tp

HEAD = ["nose", "left_eye", "right_eye", "left_ear", "right_ear"]
LARGER = 0.9  # radius in distances from nose or ears to the shoulders' middle: chin and hair are inside


def faces(poses: tp.Poses) -> Iterator[tuple[tuple[int, int], int]]:
    """Centre and radius of each head, in px."""
    heads = np.stack([poses[name] for name in HEAD], axis=1).mean(axis=1)
    necks = (poses["left_shoulder"] + poses["right_shoulder"]) / 2
    for head, neck in zip(heads, necks, strict=True):
        yield (round(float(head[0])), round(float(head[1]))), max(2, round(LARGER * float(np.linalg.norm(head - neck))))


def blur(image: NDArray[np.uint8], poses: tp.Poses) -> NDArray[np.uint8]:
    """A copy of the image whose heads are blurred beyond recognition."""
    small = cv2.resize(image, None, fx=1 / 24, fy=1 / 24, interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    mask = np.zeros(image.shape[:2], np.uint8)
    for center, radius in faces(poses):
        cv2.circle(mask, center, radius, 255, cv2.FILLED)
    return np.where(mask[..., None] > 0, blurred, image)


def main() -> None:
    """Blur and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with tp.PoseStream(args.source) as stream:
        writer = None
        for frame in stream:
            picture = blur(frame.image, frame.poses)
            if writer is None:
                codec, size = cv2.VideoWriter.fourcc(*"mp4v"), picture.shape[1::-1]
                writer = cv2.VideoWriter(str(args.out), codec, stream.source.fps or 30.0, size)
            writer.write(picture)
        if writer is not None:
            writer.release()
            print(f"{frame.index + 1} frames in {args.out}")


if __name__ == "__main__":
    main()
