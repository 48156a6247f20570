"""Person boxes to train on: which are people, which are to be ignored, and batches made from them ahead of time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.arrays import Float
from transpose_sdk.errors import DataError
from transpose_sdk.media.coco import read_annotations, stated_sizes
from transpose_sdk.media.image_file import IMAGE_SUFFIXES, read_annotated

from .augmentation import Sample, augment, compose
from .config import DetectorConfig

_PLAIN = 0.03  # share of samples: PicoDet as published sees a person in a black frame, with a score of .7


@dataclass(frozen=True)
class LabelledImage:
    """One training image.

    Attributes:
        path: Its file.
        boxes: (n, 4) people, x, y, w, h in pixels.
        weights: (n,) 1 for a box drawn by a human, else the score of the detector that wrote it.
        ignored: (m, 4) regions that may or may not hold people.
        size: (height, width) in px as the annotations state it; see `read_annotated`.
    """

    path: Path
    boxes: Float
    weights: Float
    ignored: Float
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class DetectorBatch:
    """Training input, padded to the fullest image.

    Attributes:
        images: (B, H, W, 3) uint8 BGR.
        boxes: (B, G, 4) x1, y1, x2, y2 in canvas pixels.
        weights: (B, G) of the boxes, 0 for padding.
        ignored: (B, I, 4) x1, y1, x2, y2, all zero for padding.
    """

    images: NDArray[np.uint8]
    boxes: Float
    weights: Float
    ignored: Float


def _array(rows: list[list[float]], columns: int) -> Float:
    return np.asarray(rows, np.float32).reshape(-1, columns)


def _covered(boxes: Float, others: Float) -> NDArray[np.bool_]:
    """Which of `boxes` (n, 4) overlap one of `others` (m, 4) with an IoU above 0.5; all x, y, w, h."""
    if not len(boxes) or not len(others):
        return np.zeros(len(boxes), bool)
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    far = np.minimum((boxes[:, :2] + boxes[:, 2:])[:, None], (others[:, :2] + others[:, 2:])[None])
    shared = np.prod(np.clip(far - corner, 0, None), axis=2)
    union = np.prod(boxes[:, 2:], axis=1)[:, None] + np.prod(others[:, 2:], axis=1)[None] - shared
    return np.asarray((shared > 0.5 * union).any(axis=1))


def read_labels(annotations: Path, folder: Path, min_label_score: float) -> dict[str, list[LabelledImage]]:
    """Images by source; an annotated person without a person box becomes an ignored region.

    Args:
        annotations: COCO-format file whose images carry `source` and `person_boxes`.
        folder: Where the images lie.
        min_label_score: Boxes with a lower score are ignored regions.

    Raises:
        DataError: The file is missing or has no person boxes.
    """
    try:
        table = read_annotations(annotations)
        sizes = stated_sizes(table)
        people: dict[int, list[list[float]]] = {}
        for annotation in table["annotations"]:
            people.setdefault(annotation["image_id"], []).append(annotation["bbox"])
        sources: dict[str, list[LabelledImage]] = {}
        for image in table["images"]:
            scored = _array(image["person_boxes"], 5)
            sure = scored[:, 4] >= min_label_score
            others = _array(people.get(image["id"], []), 4)
            ignored = np.concatenate([scored[~sure, :4], others[~_covered(others, scored[:, :4])]])
            sources.setdefault(image["source"], []).append(
                LabelledImage(
                    folder / image["file_name"],
                    scored[sure, :4],
                    scored[sure, 4],
                    ignored,
                    sizes.get(image["file_name"]),
                )
            )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{annotations} is not COCO format with 'source' and 'person_boxes' in every image: {error!r}."
        ) from error
    return sources


def read_negatives(folder: Path) -> list[LabelledImage]:
    """Every picture of a folder, as an image without people."""
    nothing = np.zeros((0, 4), np.float32)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return [LabelledImage(path, nothing, nothing[:, 0], nothing) for path in paths]


class TrainingSet:
    """Draws augmented samples; the sample of a step and a place in the batch depends on the seed alone.

    Raises:
        DataError: A source of the configuration has no images.
    """

    def __init__(self, config: DetectorConfig) -> None:
        self.config = config
        sources = read_labels(Path(config.annotations), Path(config.images), config.min_label_score)
        if config.negatives:
            sources["negatives"] = read_negatives(Path(config.negatives))
        self.sources: list[list[LabelledImage]] = []
        weights = []
        for name, weight in config.source_weights:
            if weight > 0 and sources.get(name):
                self.sources.append(sources[name])
                weights.append(weight)
        if not self.sources:
            raise DataError(f"none of the sources {[n for n, _ in config.source_weights]} is in {config.annotations}.")
        self.shares = np.array(weights) / sum(weights)

    def _draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], LabelledImage]:
        source = self.sources[rng.choice(len(self.sources), p=self.shares)]
        label = source[rng.integers(len(source))]
        return read_annotated(label.path, label.size), label

    def sample(self, step: int, place: int, canvas: tuple[int, int], mosaic: float) -> Sample:
        """One augmented image of (height, width) `canvas`, made of four with probability `mosaic`."""
        rng = np.random.default_rng((self.config.seed, step, place))
        if rng.random() < _PLAIN:
            return _nothing(canvas, rng)
        drawn = [self._draw(rng) for _ in range(4 if rng.random() < mosaic else 1)]
        items = [(image, label.boxes, label.weights, label.ignored) for image, label in drawn]
        return augment(compose(items, canvas, rng, self.config.zoom), rng, self.config.color)

    def batch(self, step: int, canvas: tuple[int, int], mosaic: float) -> DetectorBatch:
        """The whole batch of a step."""
        samples = [self.sample(step, place, canvas, mosaic) for place in range(self.config.batch_size)]
        return DetectorBatch(
            images=np.stack([sample.image for sample in samples]),
            boxes=_padded([sample.boxes for sample in samples]),
            weights=_padded([sample.weights for sample in samples]),
            ignored=_padded([sample.ignored for sample in samples]),
        )


def _nothing(canvas: tuple[int, int], rng: np.random.Generator) -> Sample:
    """A picture of one grey, half of them black, without people."""
    level = 0 if rng.random() < 0.5 else int(rng.integers(256))
    boxes = np.zeros((0, 4), np.float32)
    return Sample(np.full((*canvas, 3), level, np.uint8), boxes, boxes[:, 0], boxes)


def _padded(arrays: list[Float]) -> Float:
    longest = max(1, *(len(array) for array in arrays))
    out = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), np.float32)
    for row, array in zip(out, arrays, strict=True):
        row[: len(array)] = array
    return out


def prefetch(
    training_set: TrainingSet, requests: Iterator[tuple[int, tuple[int, int], float]]
) -> Iterator[DetectorBatch]:
    """Batches for (step, canvas, mosaic) requests, the next ones made in threads while the last one trains."""
    workers = training_set.config.workers
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        ahead = []
        for request in requests:
            ahead.append(pool.submit(training_set.batch, *request))
            if len(ahead) > 2 + workers:
                yield ahead.pop(0).result()
        for future in ahead:
            yield future.result()
