"""The figures 6 and 7 of the paper: a person's skeleton, then for every joint the area it was inferred from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from transpose_sdk.crops import apply_affine, invert_affines
from transpose_sdk.dependency import DependencyArea, Threshold
from transpose_sdk.disk.whole_file import whole_file
from transpose_sdk.drawing.annotator import PoseAnnotator
from transpose_sdk.drawing.overlay import DEFAULT_THRESHOLD, draw_star, paint_area, palette
from transpose_sdk.errors import InputError, SinkError
from transpose_sdk.poses import Poses

PIXELS = 360  # width of a panel's picture
OUTSIDE = (238, 238, 238)  # of the image, where the crop reaches beyond it
OPACITY = 0.95
INK, FAINT = "#222222", "#707070"
# All 17 joints and the skeleton fill three rows of six; of several layers each is to be seen at one glance.
COLUMNS, COLUMNS_OF_LAYERS = 6, 9
# Inches.
PANEL, GAP, ROW_GAP, MARGIN, NAME, HEADING, TITLE, SCALE = 1.7, 0.08, 0.16, 0.2, 0.19, 0.34, 0.4, 0.75


def explain_figure(
    image: NDArray[np.uint8],
    poses: Poses,
    person: int,
    layers: Mapping[str, Sequence[DependencyArea]],
    *,
    threshold: Threshold = DEFAULT_THRESHOLD,
    title: str = "",
) -> Figure:
    """Draw the skeleton, then one map a joint with a star at the joint; a block of rows for every layer.

    The colours of a map span its own attention; beside its name stands its largest value, in multiples of uniform.

    Args:
        image: (H, W, 3) uint8 BGR.
        poses: Poses in the image.
        person: Index of the person.
        layers: By a layer's heading, its areas of one person, one a joint; all layers of the same joints.
        threshold: The smallest attention that is drawn.
        title: Over all.

    Raises:
        InputError: There is nothing to draw, or no such person.
    """
    if not layers or not all(layers.values()):
        raise InputError("there is nothing to draw: give at least one layer and one joint")
    first = next(iter(layers.values()))
    to_panel, size = _panel_view(first[0])
    pose = poses[person]
    pose = replace(pose, keypoints=apply_affine(pose.keypoints, to_panel).astype(np.float32), attention=None)
    # A box as high as the panel makes lines that suit it.
    pose = replace(pose, boxes=np.array([[0, 0, *size]], np.float32))
    picture = cv2.warpAffine(image, to_panel, size, flags=cv2.INTER_CUBIC, borderValue=OUTSIDE).astype(np.uint8)
    inside = cv2.warpAffine(np.ones(image.shape[:2], np.uint8), to_panel, size) > 0
    faded = _fade(picture, inside)

    count = 1 + len(first)
    columns = min(count, COLUMNS if len(layers) == 1 else COLUMNS_OF_LAYERS)
    rows = -(-count // columns)
    height = PANEL * size[1] / size[0]
    block = HEADING + rows * (NAME + height + ROW_GAP) + GAP
    width = max(2 * MARGIN + columns * (PANEL + GAP) - GAP, 5.0)
    figure = Figure(figsize=(width, MARGIN + TITLE + len(layers) * block + SCALE), facecolor="white")
    FigureCanvasAgg(figure)
    _write(figure, MARGIN, MARGIN, title, size=min(13, 1.9 * width), weight="bold")
    top = MARGIN + TITLE
    for heading, areas in layers.items():
        _write(figure, MARGIN, top, heading, size=10.5)
        for index in range(count):
            left = MARGIN + index % columns * (PANEL + GAP)
            upper = top + HEADING + index // columns * (NAME + height + ROW_GAP)
            panel = _axes(figure, left, upper + NAME, PANEL, height)
            if index == 0:
                drawn = PoseAnnotator(boxes=False, labels=False).annotate(picture, pose)
                _write(figure, left, upper, "skeleton", size=9)
            else:
                area = areas[index - 1]
                drawn = _joint_map(faded, area, pose, to_panel, threshold)
                _write(figure, left, upper, area.keypoint.replace("_", " "), size=9)
                peak = f"{area.grid.max() * area.grid.size:.0f}x"
                _write(figure, left + PANEL, upper, peak, size=8, color=FAINT, align="right")
            panel.imshow(drawn[..., ::-1])
        top += block
    _draw_scale(figure, top + GAP, threshold)
    return figure


def save_figure(figure: Figure, path: str | Path, dpi: int = 130) -> None:
    """Write a figure as the file's suffix says: .png, .jpg, .pdf, .svg, ...

    Raises:
        SinkError: The suffix is no picture's, or the file cannot be written.
    """
    target = Path(path)
    formats = sorted(figure.canvas.get_supported_filetypes())
    if target.suffix[1:].lower() not in formats:
        raise SinkError(f"cannot write a figure to {path}: give a name that ends in .{', .'.join(formats)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as unfinished:
            figure.savefig(unfinished, dpi=dpi, format=target.suffix[1:].lower())
    except OSError as error:
        raise SinkError(f"cannot write {path} ({error.strerror}): give a file in a writable folder") from error


def _panel_view(area: DependencyArea) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Image px to panel px, (2, 3), and the panel's (width, height): just the cells of the grid."""
    height, width = area.grid.shape
    step = PIXELS / width
    to_panel = np.array([[step, 0, step / 2 - 0.5], [0, step, step / 2 - 0.5]])  # from cells; whole cells are centres
    to_cells = invert_affines(area.transform)
    linear = to_panel[:, :2] @ to_cells[:, :2]
    offset = apply_affine(to_cells[:, 2], to_panel)
    return np.concatenate((linear, offset[:, None]), axis=1), (PIXELS, round(step * height))


def _fade(picture: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture with little colour and contrast left, so that the glow stands out; `inside` is (H, W)."""
    gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[..., None]
    faded = 14 + 0.5 * gray + 0.18 * picture
    return np.where(inside[..., None], faded, OUTSIDE).astype(np.uint8)


def _joint_map(
    faded: NDArray[np.uint8], area: DependencyArea, pose: Poses, to_panel: NDArray[np.float64], threshold: Threshold
) -> NDArray[np.uint8]:
    """The map of a joint on the faded picture, with a star at the joint."""
    canvas = faded.copy()
    linear = to_panel[:, :2] @ area.transform[:, :2]
    offset = apply_affine(area.transform[:, 2], to_panel)
    there = replace(area, transform=np.concatenate((linear, offset[:, None]), axis=1))
    paint_area(canvas, there, threshold, OPACITY)
    draw_star(canvas, pose.keypoints[0, pose.skeleton.index(area.keypoint)], 0.038 * PIXELS)
    return canvas


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without ticks and frame, placed in inches from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    axes.set_axis_off()
    return axes


def _write(
    figure: Figure,
    left: float,
    top: float,
    text: str,
    *,
    size: float,
    color: str = INK,
    weight: str = "normal",
    align: str = "left",
) -> None:
    across, down = figure.get_size_inches()
    figure.text(left / across, 1 - top / down, text, fontsize=size, color=color, weight=weight, ha=align, va="top")


def _draw_scale(figure: Figure, top: float, threshold: Threshold) -> None:
    """What the colours mean: from the threshold to a map's largest value."""
    glow, left = palette(round(256 * OPACITY))
    strip = (glow + 60 * left[:, None]) // 256  # on the darkness of a faded picture
    _axes(figure, MARGIN, top, 2.4, 0.13).imshow(strip[None, :, ::-1].astype(np.uint8), aspect="auto")
    _write(figure, MARGIN, top + 0.18, f"{threshold}", size=8, color=FAINT)
    _write(figure, MARGIN + 2.4, top + 0.18, "largest", size=8, color=FAINT, align="right")
    _write(figure, MARGIN, top + 0.36, "Nx: a map's largest attention, in multiples of uniform", size=8, color=FAINT)
