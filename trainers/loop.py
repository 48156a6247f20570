"""Train a pose network.

    transpose train RECIPE --data DIR --out RUN    # starts, or resumes what is in RUN

    torchrun --nproc-per-node 8 --no-python transpose train RECIPE --data DIR --out RUN    # the same on 8 GPUs

RUN gets recipe.json, last.pt (exact state, every few minutes and after each epoch), best.safetensors (averaged weights
with the best AP), log.jsonl and steps.jsonl, and pictures.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from transpose_sdk.checks.folders import require_writable
from transpose_sdk.checks.ranges import COUNT
from transpose_sdk.errors import InputError
from transpose_sdk.models import save_checkpoint

from .data.batches import Batch, EpochBatches
from .data.skeleton_file import load_skeleton
from .data.training_set import load_training_set
from .evaluation.benchmark import Benchmark
from .plain_yaml import parse_yaml
from .previews import batch_picture, validation_batch
from .processes import joined
from .recipe import Recipe, load_recipe
from .run import Run, averaged_weights, start_run
from .step import train_step
from .validation import evaluate, validation_set

LOG_STEPS = 50  # between two lines of steps.jsonl

logger = logging.getLogger(__name__)


def train_one_epoch(run: Run, loader: Iterable[Batch], steps: int, save_seconds: float = 180.0) -> float | None:
    """Go on with the current epoch to its end.

    Args:
        run: The run, changed in place.
        loader: The batches of the epoch that are still to be done.
        steps: Steps of the whole epoch.
        save_seconds: Time between two writes of last.pt.

    Returns:
        Mean loss of these steps, None without one.

    Raises:
        TrainingError: The loss or its gradient is not finite, or the memory does not suffice.
    """
    set_mode(run)
    total, count, recent = 0.0, 0, deque[float](maxlen=LOG_STEPS)
    saved = time.monotonic()
    hidden = None if run.processes.first else True
    title = f"epoch {run.epoch + 1}/{run.recipe.epochs}"
    progress = tqdm(loader, title, steps, initial=run.step, mininterval=5, disable=hidden)
    for batch in progress:
        begin = time.monotonic()
        loss, length = train_step(run, batch, steps)
        total, count = total + loss, count + 1
        recent.append(loss)
        now = time.monotonic()
        run.seconds += now - begin
        # Between two averages of `local_steps` the first process's state is not that of all.
        if now - saved > save_seconds and run.step % max(run.recipe.local_steps, 1) == 0:
            run.save()
            saved = now
        if run.step % LOG_STEPS == 0:
            record = {"epoch": run.epoch + 1, "step": run.step, "loss": float(np.mean(recent))}
            rate = run.optimizer.param_groups[0]["lr"]
            run.log.step({**record, "gradient": length, "rate": rate}, run.epoch * steps + run.step)
        progress.set_postfix_str(f"loss {1e4 * total / count:.3f}e-4", refresh=False)
    return total / count if count else None


def set_mode(run: Run) -> None:
    """Put the network into training mode, all but its frozen parts."""
    run.model.train()
    for name, module in run.model.named_modules():
        if run.recipe.frozen and name.startswith(run.recipe.frozen):
            module.eval()


def train(
    recipe: Recipe,
    data: Path,
    folder: Path,
    *,
    init: Path | None = None,
    device: str = "cpu",
    workers: int = 1,
    cache: Path | None = None,
    save_seconds: float = 180.0,
    changed: bool = False,
    tensorboard: bool = False,
) -> float:
    """Train to the end of the recipe; resumes a run that the folder holds.

    Args:
        recipe: Numbers of the run.
        data: Data folder to which the recipe's paths are relative.
        folder: Where the run writes.
        init: Checkpoint or stem to start from.
        device: "cpu" or "cuda".
        workers: Processes that cut batches, for each process of the run.
        cache: Where decoded images are kept; by default `data / "cache"`.
        save_seconds: Time between two writes of last.pt within an epoch.
        changed: Whether a run that is resumed may go on with another recipe than it began with.
        tensorboard: Whether to write logs for TensorBoard too.

    Returns:
        Best AP on the validation set; in processes that do not evaluate, that of the state they started from.

    Raises:
        BackendError: There are more processes than GPUs.
        CheckpointError: `init` or the state in `folder` does not fit the network, or the recipe is not that of the run.
        DataError: The data cannot be trained or evaluated on.
        InputError: The folder cannot be written, or `init` lies in it.
        TrainingError: The loss is not finite, or the memory does not suffice.
    """
    with joined(device) as (processes, place):
        if processes.first:
            require_writable(folder, "the run")
        if init is not None and folder.resolve() in init.resolve().parents and not (folder / "last.pt").exists():
            raise InputError(f"{init} lies in {folder}, where the run writes its own checkpoints: give another folder")
        skeleton = load_skeleton(recipe.skeleton, data)
        benchmark = validation_set(recipe, data, skeleton)
        with processes.in_turn():
            persons, images = load_training_set(recipe, data, skeleton, cache)
        run = start_run(
            recipe, folder, init, place, skeleton, processes=processes, changed=changed, tensorboard=tensorboard
        )
        logger.info("%d persons, %d epochs", len(persons), recipe.epochs)
        while run.epoch < recipe.epochs:
            steps = len(EpochBatches(persons, images, skeleton, recipe, run.epoch))
            rows = processes.rows(recipe.batch_size)
            batches = EpochBatches(persons, images, skeleton, recipe, run.epoch, run.step, rows)
            loss = train_one_epoch(run, batch_loader(batches, place, workers), steps, save_seconds)
            run.save()
            result = evaluate(run, benchmark, data / recipe.val_images) if processes.first else None
            run.epoch, run.step = run.epoch + 1, 0
            if result is not None:
                _keep(run, benchmark, {"loss": loss, **result})
                # Those of the epoch that is done; the one before it counted from 0.
                shown = EpochBatches(persons, images, skeleton, recipe, run.epoch - 1)[0]
                run.log.picture("training", batch_picture(run, shown, skeleton, True), run.epoch)
                shown = validation_batch(benchmark, data / recipe.val_images, recipe.input_size)
                run.log.picture("validation", batch_picture(run, shown, skeleton, False), run.epoch)
            processes.wait()
        run.log.close()
        return run.best


def batch_loader(batches: EpochBatches, device: torch.device, workers: int) -> DataLoader[Batch]:
    """Batches made ahead by other processes, ready for a fast copy to a GPU."""
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=device.type == "cuda",
    )


def _keep(run: Run, benchmark: Benchmark, numbers: dict[str, float | None]) -> None:
    """Keep what the epoch has brought: the best weights, the state, a line in the log."""
    reached = float(numbers[benchmark.main] or 0)
    seconds = round(run.seconds)
    if reached > run.best:
        run.best = reached
        facts = {"epoch": run.epoch, benchmark.main: round(run.best, 4), "seconds": seconds}
        with averaged_weights(run):
            path = run.folder / "best.safetensors"
            save_checkpoint(run.model, path, {**facts, "skeleton": asdict(benchmark.skeleton)})
    run.save()
    rounded = {name: value if name == "loss" or value is None else round(value, 4) for name, value in numbers.items()}
    run.log.epoch({"epoch": run.epoch, "samples": run.samples, "seconds": seconds, **rounded})
    logger.info("epoch %d: %s %.3f, best %.3f", run.epoch, benchmark.main, reached, run.best)


def train_recipe(
    name: str | Path, replaced: list[str], *, device: str | None = None, threads: int | None = None, **options: Any
) -> float:
    """`transpose train`: read the recipe, choose the device, train.

    Args:
        name: A YAML file, or the name of a packaged recipe.
        replaced: Values of the recipe to replace, as "key=value".
        device: "cpu" or "cuda"; None takes a GPU if there is one.
        threads: CPU threads of the network.
        **options: Of `train`.
    """
    recipe, place = chosen(name, replaced, device, threads)
    return train(recipe, device=place, **options)


def chosen(
    name: str | Path, replaced: list[str], device: str | None = None, threads: int | None = None
) -> tuple[Recipe, str]:
    """The recipe and the device that `train_recipe` is asked for, with the threads set."""
    if threads is not None and threads not in COUNT:
        raise InputError(f"threads={threads!r}: give {COUNT}")
    if threads:
        torch.set_num_threads(threads)
    overrides = {key: parse_yaml(value, f"--set {key}") for key, _, value in (item.partition("=") for item in replaced)}
    return load_recipe(name, overrides), device or ("cuda" if torch.cuda.is_available() else "cpu")
