"""The validation set of a run, and the network's numbers on it after each epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from transpose_sdk.errors import DataError
from transpose_sdk.skeletons import Skeleton

from .evaluation.benchmark import Benchmark, read_benchmark
from .evaluation.evaluate import evaluate_boxes, image_reader
from .recipe import Recipe
from .run import Run, averaged_weights


def validation_set(recipe: Recipe, data: Path, skeleton: Skeleton) -> Benchmark:
    """The people of the validation file, checked before training so that no run stops after its first epoch.

    Raises:
        DataError: The file can't be used, has no labelled person, or an image is missing.
    """
    benchmark = read_benchmark(data / recipe.val_annotations, skeleton)
    folder = data / recipe.val_images
    names = [name for key, name in benchmark.file_names.items() if key in benchmark.people]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise DataError(
            f"{len(missing)} of {len(names)} validation images are not in {folder}, the first is {missing[0]}: "
            "set val_images to their folder"
        )
    return benchmark


def evaluate(run: Run, benchmark: Benchmark, folder: Path) -> dict[str, float]:
    """The benchmark's numbers of the averaged weights, annotated boxes, no flip test.

    Args:
        run: The run.
        benchmark: Of `validation_set`.
        folder: Its images.
    """

    @torch.inference_mode()
    def infer(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = run.preprocessing(torch.from_numpy(crops).to(run.device))
        with run.autocast():
            heatmaps = run.model(images.contiguous(memory_format=torch.channels_last))
        return np.ascontiguousarray(heatmaps.float().cpu().numpy())

    with averaged_weights(run):
        run.model.eval()
        return evaluate_boxes(infer, benchmark, image_reader(folder, benchmark), run.recipe.input_size)
