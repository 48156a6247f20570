"""Show what one joint of a person was inferred from.

    python examples/explain_joint.py street.jpg --joint left_ankle --out ankle.jpg

The dependency area is a row of the last layer's attention, laid over the image (section 3.3 of the paper).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

import transpose_sdk as tp


def main() -> None:
    """Draw the area, and print the joints that lie where most attention does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--joint", default="left_ankle")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    image = cv2.imread(str(args.image))
    estimator = tp.PoseEstimator(attention=True)
    poses = estimator(image)
    area = estimator.attention(image, poses, person=0, keypoint=args.joint)
    cells = np.argsort(area.grid, axis=None)[::-1][:5]
    for y, x in zip(*np.unravel_index(cells, area.grid.shape), strict=True):
        place = area.transform @ (x, y, 1)  # from cells to image px
        nearest = int(np.linalg.norm(poses.keypoints[0] - place, axis=1).argmin())
        print(f"{area.grid[y, x]:.3f} at {place.round().astype(int)}, near the {poses.skeleton.names[nearest]}")

    annotator = tp.PoseAnnotator(attention=tp.AttentionOverlay(args.joint))
    cv2.imwrite(str(args.out), annotator.annotate(image, poses[:1]))


if __name__ == "__main__":
    main()
