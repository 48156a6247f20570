"""Train a pose network.

    transpose train RECIPE --data DIR --out RUN    # starts, or resumes what is in RUN

RUN gets recipe.json, last.pt (exact state, every few minutes and after each epoch), best.safetensors (averaged weights
with the best AP) and log.jsonl.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from transpose_sdk.coco import read_annotations
from transpose_sdk.errors import DataError
from transpose_sdk.models import save_checkpoint
from transpose_sdk.models.preprocessing import Preprocessing
from transpose_sdk.skeletons import Skeleton

from .batches import Batch, EpochBatches
from .evaluation import annotated_boxes, evaluate_boxes, image_reader
from .recipe import Recipe, load_recipe
from .run import Run, averaged_weights, start_run
from .skeleton_file import load_skeleton
from .targets import heatmap_loss, heatmap_targets
from .training_set import load_training_set

logger = logging.getLogger(__name__)


def learning_rate(recipe: Recipe, epoch: int, step: int, steps: int) -> float:
    """Cosine from `lr` to `lr_end`, constant within an epoch as published or falling with each step.

    Args:
        recipe: Numbers of the run.
        epoch: Counted from 0.
        step: Within the epoch, counted from 0.
        steps: Steps an epoch.
    """
    done = epoch + (step / steps if recipe.schedule == "step" else 0.0)
    share = min(done / max(recipe.epochs, 1), 1.0)
    rate = recipe.lr_end + (recipe.lr - recipe.lr_end) * 0.5 * (1 + math.cos(math.pi * share))
    warmup = (epoch * steps + step + 1) / recipe.warmup_steps if recipe.warmup_steps else 1.0
    return rate * min(warmup, 1.0)


def prepare(batch: Batch, run: Run, preprocessing: Preprocessing) -> tuple[Tensor, Tensor, Tensor]:
    """Images, targets and weights of a batch on the network's device."""
    recipe = run.recipe
    crops, joints, weights = (part.to(run.device, non_blocking=True) for part in batch)
    images = preprocessing(crops).contiguous(memory_format=torch.channels_last)
    if recipe.color:
        # In normalised units: gains of the channels around one of the whole crop.
        shape = (len(images), 1, 1, 1)
        brightness = 1 + recipe.color * (2 * torch.rand(shape, device=run.device) - 1)
        gains = 1 + recipe.color * (torch.rand((len(images), 3, 1, 1), device=run.device) - 0.5)
        shift = recipe.color * (2 * torch.rand(shape, device=run.device) - 1)
        images = images * (brightness * gains) + shift
    size = (recipe.input_size[0] // 4, recipe.input_size[1] // 4)
    targets, weights = heatmap_targets(joints, weights, size, recipe.sigma)
    return images, targets, weights


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
        DataError: The loss or its gradient is not finite; the weights are those before the step.
    """
    recipe, model = run.recipe, run.model
    preprocessing = Preprocessing().to(run.device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    total, count, saved = 0.0, 0, time.monotonic()
    model.train()
    for name, module in model.named_modules():
        if recipe.frozen and name.startswith(recipe.frozen):
            module.eval()
    progress = tqdm(loader, f"epoch {run.epoch + 1}/{recipe.epochs}", steps, initial=run.step, mininterval=5)
    for batch in progress:
        begin = time.monotonic()
        # Dropout and colour follow from the place in the run, so that a resumed run draws the same numbers.
        torch.manual_seed(hash((recipe.seed, run.epoch, run.step)) & 0x7FFFFFFF)
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, run.epoch, run.step, steps)
        images, targets, weights = prepare(batch, run, preprocessing)
        with torch.autocast(run.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            heatmaps = model(images)
        loss = heatmap_loss(heatmaps.float(), targets, weights)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(trained, recipe.clip_norm or math.inf)
        value, length = torch.stack((loss.detach(), norm)).tolist()
        # Before the step: after it the weights, and with them the next last.pt, would not be finite either.
        if not (math.isfinite(value) and math.isfinite(length)):
            raise DataError(
                f"the loss is {value} and its gradient {length} long in epoch {run.epoch + 1}, step {run.step + 1}: "
                "lower the learning rate, or clip the gradient (clip_norm), and go on from last.pt"
            )
        run.optimizer.step()
        run.step += 1
        if run.averaged:
            run.averaged.update(model, run.epoch * steps + run.step)
        total, count = total + value, count + 1
        now = time.monotonic()
        run.seconds += now - begin
        if now - saved > save_seconds:
            run.save()
            saved = now
        progress.set_postfix_str(f"loss {1e4 * total / count:.3f}e-4", refresh=False)
    return total / count if count else None


def validation_set(recipe: Recipe, data: Path) -> dict[str, Any]:
    """Content of the validation file, checked before training so that no run stops after its first epoch.

    Raises:
        DataError: It is no COCO keypoint file, has no labelled person, or an image is missing.
    """
    truth = read_annotations(data / recipe.val_annotations)
    boxes, folder = annotated_boxes(truth), data / recipe.val_images
    names = [image["file_name"] for image in truth["images"] if image["id"] in boxes]
    if not names:
        raise DataError(f"{data / recipe.val_annotations} has no person with a labelled joint to evaluate on")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise DataError(
            f"{len(missing)} of {len(names)} validation images are not in {folder}, the first is {missing[0]}: "
            "set val_images to their folder"
        )
    return truth


def evaluate(run: Run, truth: dict[str, Any], folder: Path, skeleton: Skeleton) -> dict[str, float]:
    """COCO's ten numbers of the averaged weights, ground-truth boxes, no flip test.

    Args:
        run: The run.
        truth: Content of a COCO keypoint file.
        folder: Its images.
        skeleton: Of the network.
    """
    recipe, preprocessing = run.recipe, Preprocessing().to(run.device)

    @torch.inference_mode()
    def infer(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = preprocessing(torch.from_numpy(crops).to(run.device)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(run.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            heatmaps = run.model(images)
        return np.ascontiguousarray(heatmaps.float().cpu().numpy())

    with averaged_weights(run):
        run.model.eval()
        return evaluate_boxes(infer, truth, image_reader(folder), skeleton, recipe.input_size)


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
) -> float:
    """Train to the end of the recipe; resumes a run that the folder holds.

    Args:
        recipe: Numbers of the run.
        data: Data folder to which the recipe's paths are relative.
        folder: Where the run writes.
        init: Checkpoint or stem to start from.
        device: "cpu" or "cuda".
        workers: Processes that cut batches.
        cache: Where decoded images are kept; by default `data / "cache"`.
        save_seconds: Time between two writes of last.pt within an epoch.

    Returns:
        Best AP on the validation set.

    Raises:
        CheckpointError: `init` or the state in `folder` does not fit the network.
        DataError: The data cannot be trained or evaluated on, or the loss is not finite.
    """
    skeleton = load_skeleton(recipe.skeleton, data)
    truth = validation_set(recipe, data)
    persons, images = load_training_set(recipe, data, skeleton, cache)
    run = start_run(recipe, folder, init, torch.device(device), len(skeleton))
    logger.info("%d persons, %d epochs", len(persons), recipe.epochs)
    while run.epoch < recipe.epochs:
        steps = len(EpochBatches(persons, images, skeleton, recipe, run.epoch))
        batches = EpochBatches(persons, images, skeleton, recipe, run.epoch, run.step)
        loader: DataLoader[Batch] = DataLoader(
            batches, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None
        )
        loss = train_one_epoch(run, loader, steps, save_seconds)
        run.save()
        result = evaluate(run, truth, data / recipe.val_images, skeleton)
        run.epoch, run.step = run.epoch + 1, 0
        if result["AP"] > run.best:
            run.best = result["AP"]
            with averaged_weights(run):
                facts: dict[str, Any] = {"epoch": run.epoch, "AP": round(run.best, 4), "seconds": round(run.seconds)}
                facts["skeleton"] = asdict(skeleton)
                save_checkpoint(run.model, run.folder / "best.safetensors", facts)
        run.save()
        samples = run.epoch * steps * recipe.batch_size
        rounded = {name: round(value, 4) for name, value in result.items()}
        run.log({"epoch": run.epoch, "samples": samples, "seconds": round(run.seconds), "loss": loss, **rounded})
        logger.info("epoch %d: AP %.3f, AR %.3f, best %.3f", run.epoch, result["AP"], result["AR"], run.best)
    return run.best


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
    if threads:
        torch.set_num_threads(threads)
    overrides = {key: yaml.safe_load(value) for key, _, value in (item.partition("=") for item in replaced)}
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return train(load_recipe(name, overrides), device=device, **options)
