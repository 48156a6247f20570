"""Plot the knees of who walks through a clip, with pandas and matplotlib: pip install pandas matplotlib.

    python examples/plot_gait.py walk.mp4 --out gait.png

The angle in the picture is the knee's own where the person is seen from the side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

import transpose_sdk as tp

COLORS = {"left": "tab:blue", "right": "tab:orange"}
SURE = 0.5  # joints that are more likely wrong than right leave a gap


def read(source: str) -> pd.DataFrame:
    """All joints of all frames: person, track_id, person_score, keypoint, x, y, score, raw scores, time."""
    with tp.PoseStream(source) as stream:
        return pd.concat([frame.poses.to_pandas().assign(time=frame.time) for frame in stream])


def knee(joints: pd.DataFrame, side: str) -> pd.Series:
    """How far the knee is bent over time, in degrees; 0 is stretched."""
    x, y = (joints.pivot_table(index="time", columns="keypoint", values=axis) for axis in ("x", "y"))
    hip, middle, ankle = f"{side}_hip", f"{side}_knee", f"{side}_ankle"
    thigh = np.arctan2(y[hip] - y[middle], x[hip] - x[middle])
    shin = np.arctan2(y[ankle] - y[middle], x[ankle] - x[middle])
    return (180 - np.degrees(thigh - shin) % 360).abs()


def main() -> None:
    """Plot and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    table = read(args.source)
    # Who moved furthest across the picture walks.
    way = table[table.keypoint == "left_hip"].groupby("track_id").x.agg(np.ptp)
    walker = way.idxmax()
    joints = table[(table.track_id == walker) & (table.score >= SURE)]
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    for side, color in COLORS.items():
        knee(joints, side).plot(ax=axes, color=color, label=f"{side} knee")
    axes.set(xlabel="seconds", ylabel="bent by, degrees", title=f"Person {walker} of {Path(args.source).name}")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(args.out, dpi=120)
    print(f"person {walker} walks {way.max():.0f} px: {args.out}")


if __name__ == "__main__":
    main()
