"""What a run is going to be: its data checked, its numbers, and what two steps say of memory and time."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .data.batches import Batch, EpochBatches, drawn_shares
from .data.image_cache import ImageCache, ImageFolder
from .data.persons import Persons
from .data.skeleton_file import load_skeleton
from .data.training_set import load_training_set
from .evaluation.benchmark import Benchmark
from .loop import batch_loader, chosen, set_mode
from .recipe import Recipe
from .run import Run, start_run
from .step import train_step
from .validation import validation_set


def plan(
    recipe: Recipe,
    data: Path,
    *,
    init: Path | None = None,
    device: str = "cpu",
    workers: int = 1,
    cache: Path | None = None,
) -> Iterator[str]:
    """Check the data of a recipe, and try two steps. Only the cache of decoded images is written, for the run to come.

    Each line comes as soon as it is known: a system that kills the two steps for their memory leaves the others.

    Args:
        recipe: Numbers of the run.
        data: Data folder to which the recipe's paths are relative.
        init: Checkpoint or stem to start from.
        device: "cpu" or "cuda".
        workers: Processes that cut batches.
        cache: Where decoded images are kept; by default `data / "cache"`.

    Yields:
        The plan, line by line.

    Raises:
        TransposeError: What would stop the run within its first two steps.
    """
    skeleton = load_skeleton(recipe.skeleton, data)
    benchmark = validation_set(recipe, data, skeleton)
    persons, images = load_training_set(recipe, data, skeleton, cache)
    folder = data if recipe.datasets else data / recipe.train_images
    missing = [name for name in persons.file_names if not (folder / name).is_file()]
    with tempfile.TemporaryDirectory() as temporary:
        run = start_run(recipe, Path(temporary), init, torch.device(device), skeleton)
        batches = EpochBatches(persons, images, skeleton, recipe, 0)
        steps = len(batches)
        yield from _data_lines(recipe, persons, images, missing, benchmark)
        yield from _network_lines(run)
        yield (
            f"schedule: {recipe.epochs} epochs of {steps} steps of {recipe.batch_size} persons; {recipe.optimizer}, "
            f"learning rate {recipe.lr:g} to {recipe.lr_end:g} by {recipe.schedule}, {recipe.warmup_steps} steps "
            f"of warm-up; gradient clipped at {recipe.clip_norm or 'nothing'}, averaged with {recipe.ema or 'nothing'}"
        )
        first, second = _two_steps(run, batches, workers)
    yield f"memory: {_memory(run.device)}"
    yield (
        f"time: the first step took {first:.2f} s, the second {second:.2f} s; at that rate "
        f"{timedelta(seconds=round(second * steps * recipe.epochs))} in all, without evaluation"
    )


def plan_recipe(
    name: str | Path, replaced: list[str], *, device: str | None = None, threads: int | None = None, **options: Any
) -> Iterator[str]:
    """`transpose train --dry-run`; arguments as of `trainers.loop.train_recipe`."""
    recipe, place = chosen(name, replaced, device, threads)
    return plan(recipe, device=place, **options)


def _two_steps(run: Run, batches: EpochBatches, workers: int) -> tuple[float, float]:
    """Seconds of two steps, each with the wait for its batch."""
    set_mode(run)
    seconds = []
    loader: Iterator[Batch] = iter(batch_loader(batches, run.device, workers))
    for _ in range(min(2, len(batches))):
        begin = time.monotonic()
        train_step(run, next(loader), len(batches))
        if run.device.type == "cuda":
            torch.cuda.synchronize(run.device)
        seconds.append(time.monotonic() - begin)
    return seconds[0], seconds[-1]


def _data_lines(
    recipe: Recipe, persons: Persons, images: ImageCache | ImageFolder, missing: list[str], benchmark: Benchmark
) -> list[str]:
    broken = int((~images.readable).sum()) - len(missing)
    sources, shares = Counter(persons.sources.tolist()), drawn_shares(persons, recipe)
    parts = [
        f"{source or 'unnamed'} {count} ({shares[persons.sources == source].sum():.0%} of what is drawn)"
        for source, count in sources.most_common()
    ]
    first = f", the first missing one is {missing[0]}" if missing else ""
    counts = [len(people) for people in benchmark.people.values()]
    return [
        f"data: {len(persons)} persons in {len(np.unique(persons.image_index))} images; of {len(images)} images "
        f"{len(missing)} are missing and {broken} cannot be decoded{first}",
        f"persons by source: {', '.join(parts)}",
        f"joints: {persons.weights.astype(bool).sum(1).mean():.1f} of {persons.weights.shape[1]} known per person",
        f"validation: {sum(counts)} persons in {len(counts)} images, judged by {benchmark.main}",
    ]


def _network_lines(run: Run) -> list[str]:
    recipe, parameters = run.recipe, list(run.model.parameters())
    count, trained = (sum(p.numel() for p in parameters if p.requires_grad or every) for every in (True, False))
    options = f" with {recipe.variant}" if recipe.variant else ""
    lines = [
        f"network: {recipe.model}{options}, {recipe.input_size[0]}x{recipe.input_size[1]}, {run.model.keypoints} "
        f"joints, {count / 1e6:.2f} M parameters, {trained / 1e6:.2f} M of them trained; "
        f"{recipe.precision} on {run.device}"
    ]
    if recipe.teacher:
        lines.append(
            f"teacher: {recipe.teacher}, {recipe.teacher_heatmaps:g} of the loss is the distance to its heatmaps"
            f"{' with flip test' if recipe.teacher_flip else ''}, its joints weigh {recipe.teacher_joints:g}"
        )
    return lines


def _memory(device: torch.device) -> str:
    """The most that was in use."""
    if device.type == "cuda":
        used, there = torch.cuda.max_memory_reserved(device), torch.cuda.get_device_properties(device).total_memory
        return f"{used / 2**30:.1f} of the GPU's {there / 2**30:.1f} GiB"
    if sys.platform == "win32":
        return "not known on this system"
    import resource

    # Linux counts KiB, macOS bytes.
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"{used / 2**30:.1f} GiB in this process, those that cut batches come on top"
