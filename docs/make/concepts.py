"""The pictures of the concept pages, of a clip and of what the shipped network says to it.

    python docs/make/concepts.py demo.mp4 --out docs/pictures

demo.mp4 is the demonstration clip of Sports2D (BSD-3), which the README's first command fetches.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

import transpose_sdk as tp
from transpose_sdk.crops import apply_affine, invert_affines
from transpose_sdk.decoding import decode_dark
from transpose_sdk.drawing.annotator import TRACK_COLORS
from transpose_sdk.drawing.overlay import draw_star
from transpose_sdk.topdown import place

mpl.use("Agg")
from matplotlib import pyplot as plt

JOINT = "left_ankle"
AREAS = ("nose", "right_wrist", "left_ankle")
FRAME, CLIP = 110, (60, 150)  # where both people are well in the picture
STAGES = {
    "waiting": "lightgrey",
    "detection": "tab:purple",
    "cropping": "tab:orange",
    "inference": "tab:blue",
    "decoding": "tab:green",
    "tracking": "tab:olive",
    "delivery": "silver",
}


def draw_crop(image: NDArray[np.uint8], estimator: tp.PoseEstimator, box: NDArray[np.float32], out: Path) -> None:
    """The detector's box, the crop around it, and the crop as it goes to the network."""
    crops = place(box[None], np.ones(1, np.float32), estimator.bundle.input_size)
    cut = crops.cut(image)[0]
    height, width = cut.shape[:2]
    corners = apply_affine([[0, 0], [width, 0], [width, height], [0, height], [0, 0]], invert_affines(crops.affines)[0])
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained", width_ratios=(2, 1))
    x, y, w, h = box
    middle, reach = (x + w / 2, y + h / 2), 0.95 * h
    left.imshow(image[..., ::-1])
    left.plot([x, x + w, x + w, x, x], [y, y, y + h, y + h, y], "--", color="white", label="the detector's box")
    left.plot(*corners.T, color="tab:orange", linewidth=2, label="the crop")
    left.set(xlim=(middle[0] - 1.6 * reach, middle[0] + 1.6 * reach), ylim=(middle[1] + reach, middle[1] - reach))
    left.legend(loc="upper left", facecolor="0.25", labelcolor="white")
    right.imshow(cut[..., ::-1])
    right.set_title(f"{width}x{height} px, as the network gets it", fontsize=9)
    save(figure, (left, right), out / "crop.jpg")


def heatmap(image: NDArray[np.uint8], estimator: tp.PoseEstimator, box: NDArray[np.float32], out: Path) -> None:
    """One joint's heatmap over the crop, and its peak with DARK's step."""
    cut = place(box[None], np.ones(1, np.float32), estimator.bundle.input_size).cut(image)
    maps = np.array(estimator.backend.infer(cut).heatmaps)
    joint = estimator.skeleton.index(JOINT)
    found = decode_dark(maps)[0][0, joint]
    one = maps[0, joint]
    peak = np.unravel_index(one.argmax(), one.shape)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4.2), layout="constrained")
    height, width = cut.shape[1:3]
    left.imshow(cut[0][..., ::-1])
    left.imshow(cv2.resize(one, (width, height)), cmap="inferno", alpha=0.6)
    left.set_title(f"{JOINT.replace('_', ' ')}, {one.shape[1]}x{one.shape[0]} cells", fontsize=9)
    right.imshow(one, cmap="inferno")
    right.plot(peak[1], peak[0], "x", color="white", markersize=12, markeredgewidth=2, label="largest cell")
    right.plot(*found, "o", color="tab:cyan", markersize=9, label="DARK")
    right.set(xlim=(peak[1] - 5.5, peak[1] + 5.5), ylim=(peak[0] + 5.5, peak[0] - 5.5))
    right.legend(loc="upper left")
    save(figure, (left, right), out / "heatmap.png")


def areas(image: NDArray[np.uint8], poses: tp.Poses, out: Path) -> None:
    """The dependency areas of some joints of the largest person, side by side."""
    person = poses[[int(poses.boxes[:, 3].argmax())]]
    x, y, w, h = person.boxes[0]
    margin, pictures = 0.25 * h, []
    for joint in AREAS:
        drawn = image.copy()
        overlay = tp.AttentionOverlay(joint)
        overlay.paint(drawn, person, 0.0)
        draw_star(drawn, person[joint][0], 0.03 * h)
        cut = drawn[int(max(0, y - margin)) : int(y + h + margin), int(max(0, x - margin)) : int(x + w + margin)]
        cut = cv2.resize(cut, (round(480 * cut.shape[1] / cut.shape[0]), 480))
        cv2.putText(cut, joint.replace("_", " "), (10, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (24, 24, 24), 4, cv2.LINE_AA)
        cv2.putText(cut, joint.replace("_", " "), (10, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255,) * 3, 2, cv2.LINE_AA)
        pictures.append(cut)
    cv2.imwrite(str(out / "dependency_area.jpg"), cv2.hconcat(pictures), [cv2.IMWRITE_JPEG_QUALITY, 85])


def tracks(frames: list[tp.Frame], out: Path) -> None:
    """The ways of the hips on the last frame, in the colours of the ids."""
    last = frames[-1]
    picture = tp.PoseAnnotator().annotate(last.image, last.poses)
    for before, after in pairwise(frames):
        for track_id in set(before.poses.track_ids) & set(after.poses.track_ids):
            points = [
                tuple(np.rint(one.poses["left_hip"][one.poses.track_ids == track_id][0]).astype(int).tolist())
                for one in (before, after)
            ]
            cv2.line(picture, *points, TRACK_COLORS[track_id % len(TRACK_COLORS)], 5, cv2.LINE_AA)
    height = round(960 * picture.shape[0] / picture.shape[1])
    small = cv2.resize(picture, (960, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(out / "tracks.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 82])


def one_euro(raw: list[tp.Frame], smoothed: list[tp.Frame], out: Path) -> None:
    """The height of a joint of the longest track, as inferred and as filtered."""
    walker = most_frequent(smoothed)
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    for frames, look in ((raw, {"color": "silver", "label": "as inferred"}), (smoothed, {"label": "filtered"})):
        points = [
            (frame.time, frame.poses[JOINT][frame.poses.track_ids == walker][0, 1])
            for frame in frames
            if walker in frame.poses.track_ids
        ]
        axes.plot(*np.transpose(points), linewidth=2, **look)
    axes.invert_yaxis()
    axes.set(xlabel="seconds", ylabel=f"{JOINT.replace('_', ' ')}, y in px")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(out / "one_euro.png", dpi=110)


def threads(frames: list[tuple[float, tp.Frame]], out: Path) -> None:
    """Frames with the times at which they were delivered, as rows of their stages."""
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    start = frames[0][0] - frames[0][1].latency.total
    for row, (delivered, frame) in enumerate(frames):
        left = delivered - frame.latency.total - start
        for stage, color in STAGES.items():
            seconds = getattr(frame.latency, stage)
            axes.barh(row, 1e3 * seconds, left=1e3 * left, color=color, label=stage if row == 0 else None)
            left += seconds
    axes.invert_yaxis()
    axes.set(xlabel="ms", ylabel="frame", yticks=range(len(frames)), yticklabels=[frame.index for _, frame in frames])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=len(STAGES), loc="upper center", bbox_to_anchor=(0.5, 1.12))
    figure.savefig(out / "threads.png", dpi=110)


def most_frequent(frames: list[tp.Frame]) -> int:
    """The id that most frames have; of two the one that moves more."""
    ids = np.concatenate([frame.poses.track_ids for frame in frames]).tolist()

    def weight(track_id: int) -> tuple[float, int]:
        way = [frame.poses["left_hip"][frame.poses.track_ids == track_id] for frame in frames]
        return float(np.ptp(np.concatenate(way)[:, 0])), ids.count(track_id)

    return max(set(ids), key=weight)


def save(figure: Any, axes: tuple[Any, ...], path: Path) -> None:
    """Write pictures without ticks."""
    for one in axes:
        one.set_axis_off()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Draw them all."""
    import time

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with tp.PoseEstimator(attention=True) as estimator:
        with tp.open_source(args.source, start=CLIP[0], stop=CLIP[1]) as source:
            raw = list(tp.PoseStream(source, estimator, smooth=False))
        smoothed, timed = [], []
        with (
            tp.open_source(args.source, start=CLIP[0], stop=CLIP[1]) as source,
            tp.PoseStream(source, estimator, policy="latest") as stream,
        ):
            for frame in stream:
                timed.append((time.perf_counter(), frame))
                smoothed.append(frame)
        image = raw[FRAME - CLIP[0]].image
        poses = estimator(image)
        boxes = estimator.detector(image)[0]
        box = boxes[boxes[:, 3].argmax()]
        draw_crop(image, estimator, box, args.out)
        heatmap(image, estimator, box, args.out)
        areas(image, poses, args.out)
    tracks(smoothed, args.out)
    one_euro(raw, smoothed, args.out)
    threads(timed[40:52], args.out)


if __name__ == "__main__":
    main()
