"""The worst cases of an evaluation as pictures: what was found, in colours, over the truth in white.

The truth's joints are in the colours of their sides too, so that one sees where left and right are exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.crops import apply_affine
from transpose_sdk.drawing.annotator import PoseAnnotator, skeleton_colors
from transpose_sdk.errors import SinkError
from transpose_sdk.media.files import write_whole
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import Skeleton

from .pairs import Pairs

TILE = (320, 240)  # height and width of a picture in px
CAPTION = 20  # px under it
COLUMNS = 4
LEAST_JOINTS = 5  # labelled ones: of a person with fewer, a low OKS says little
TRUTH_COLOR = (255, 255, 255)


def worst_persons(pairs: Pairs, count: int) -> NDArray[np.intp]:
    """Indices of the persons with the lowest OKS, worst first, among those with several labelled joints."""
    counted = np.flatnonzero(pairs.labelled.sum(1) >= min(LEAST_JOINTS, pairs.labelled.sum(1).max(initial=0)))
    order: NDArray[np.intp] = counted[np.argsort(pairs.oks[counted], kind="stable")]
    return order[:count]


def draw_person(pairs: Pairs, person: int, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A person of an evaluation as a picture with a caption.

    Args:
        pairs: The evaluation.
        person: Index into it.
        image: (H, W, 3) uint8 BGR, the person's.

    Returns:
        `TILE` with `CAPTION`, uint8 BGR.
    """
    truth, labelled, found = pairs.truth[person], pairs.labelled[person], pairs.found[person]
    missed = bool(np.isnan(found).any())
    x, y, width, height = pairs.boxes[person]
    corners = np.array([(x, y), (x + width, y + height)])
    shown = np.concatenate((corners, truth[labelled], found[:0] if missed else found))
    # A joint thrown far away must not make the person a dot: twice the box is enough.
    reach = corners.mean(0) + np.array((-1, 1))[:, None] * (corners[1] - corners[0])
    low, high = np.clip(shown.min(0), reach[0], reach[1]) - 4, np.clip(shown.max(0), reach[0], reach[1]) + 4
    factor = float(min(TILE[1] / (high[0] - low[0]), TILE[0] / (high[1] - low[1])))
    shift = np.array((TILE[1], TILE[0])) / 2 - factor * (low + high) / 2
    affine = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
    picture = np.asarray(cv2.warpAffine(image, affine, (TILE[1], TILE[0]), flags=cv2.INTER_LINEAR), np.uint8)
    _draw_truth(picture, apply_affine(truth, affine), labelled, pairs.skeleton)
    if not missed:
        one = Poses(
            keypoints=apply_affine(found, affine)[None].astype(np.float32),
            scores=np.ones((1, len(found)), np.float32),
            boxes=np.array([[0, 0, TILE[1], TILE[0]]], np.float32),
            person_scores=np.ones(1, np.float32),
            skeleton=pairs.skeleton,
        )
        PoseAnnotator(boxes=False, labels=False, scale=0.6).annotate(picture, one, in_place=True)
    caption = np.full((CAPTION, TILE[1], 3), 32, np.uint8)
    text = f"{'missed' if missed else f'OKS {pairs.oks[person]:.2f}'}  {Path(pairs.file_names[person]).name}"
    cv2.putText(caption, text, (4, CAPTION - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, TRUTH_COLOR, 1, cv2.LINE_AA)
    return np.concatenate((picture, caption))


def write_worst(
    pairs: Pairs, read_image: Callable[[str], NDArray[np.uint8]], count: int, path: Path
) -> list[tuple[str, float]]:
    """Write the worst persons as one page or, into a folder, as one picture each.

    Args:
        pairs: The evaluation.
        read_image: Gives the (H, W, 3) BGR image of a file name.
        count: How many at most.
        path: A picture's file; without a suffix, a folder.

    Returns:
        File name and OKS of each, worst first.

    Raises:
        DataError: An image cannot be read.
        SinkError: The picture cannot be written.
    """
    persons = worst_persons(pairs, count)
    pictures = [draw_person(pairs, int(person), read_image(pairs.file_names[person])) for person in persons]
    if path.suffix:
        rows = -(-max(len(pictures), 1) // COLUMNS)
        page = np.full((rows * (TILE[0] + CAPTION), COLUMNS * TILE[1], 3), 32, np.uint8)
        for number, picture in enumerate(pictures):
            top, left = number // COLUMNS * len(picture), number % COLUMNS * TILE[1]
            page[top : top + len(picture), left : left + TILE[1]] = picture
        _write(path, page)
    else:
        for number, (person, picture) in enumerate(zip(persons, pictures, strict=True), 1):
            _write(path / f"{number:03d}_{Path(pairs.file_names[person]).stem}.png", picture)
    return [(pairs.file_names[person], round(float(pairs.oks[person]), 4)) for person in persons]


def _draw_truth(
    picture: NDArray[np.uint8], joints: NDArray[np.floating], labelled: NDArray[np.bool_], skeleton: Skeleton
) -> None:
    colors = skeleton_colors(skeleton)[1]
    points = [(int(x), int(y)) for x, y in np.rint(np.where(labelled[:, None], joints, 0))]
    for first, second in skeleton.edges:
        if labelled[first] and labelled[second]:
            cv2.line(picture, points[first], points[second], (0, 0, 0), 5, cv2.LINE_AA)
            cv2.line(picture, points[first], points[second], TRUTH_COLOR, 3, cv2.LINE_AA)
    for joint in np.flatnonzero(labelled):
        cv2.circle(picture, points[joint], 6, TRUTH_COLOR, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(picture, points[joint], 4, colors[joint], cv2.FILLED, cv2.LINE_AA)


def _write(path: Path, picture: NDArray[np.uint8]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, cv2.imencode(path.suffix, picture)[1].tobytes())
    except (OSError, cv2.error) as error:
        raise SinkError(f"cannot write the picture {path} ({error}): give a .png in a writable folder") from error
