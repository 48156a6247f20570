"""One step of training: a batch in, one update of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from transpose_sdk.errors import TrainingError, first_line
from transpose_sdk.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

from .data.batches import Batch
from .data.targets import heatmap_loss, heatmap_targets
from .data.warp import Regions, warp_regions
from .recipe import Recipe
from .run import Run
from .teacher import distillation_loss, taught_joints


class Inputs(NamedTuple):
    """What a step works on, on the network's device.

    Attributes:
        images: (N, 3, H, W) normalised.
        targets: (N, K, h, w).
        weights: (N, K).
        taught: (N, K, h, w) heatmaps of the teacher, None where they don't count.
    """

    images: Tensor
    targets: Tensor
    weights: Tensor
    taught: Tensor | None


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


def train_step(run: Run, batch: Batch, steps: int) -> tuple[float, float]:
    """Update the weights once.

    Args:
        run: The run, changed in place.
        batch: This process's rows of the batch.
        steps: Steps of the whole epoch.

    Returns:
        The loss over the whole batch, and the length of its gradient before clipping; with `local_steps` those of this
        process's rows.

    Raises:
        TrainingError: The loss or its gradient is not finite, and the weights are those before the step; or the
            device has too little memory.
    """
    recipe, processes = run.recipe, run.processes
    together = processes.count > 1 and not recipe.local_steps
    trained = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
    # Dropout and colour follow from the place in the run, so that a resumed run draws the same numbers.
    seed = (recipe.seed, run.epoch, run.step)
    torch.manual_seed(hash(seed) & 0x7FFFFFFF)
    rate = learning_rate(recipe, run.epoch, run.step, steps)
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)  # runs of older versions have no scale
    with memory_explained(run, len(batch.joints)):
        whole = recipe.batch_size if processes.count > 1 else len(batch.joints)
        inputs = prepare(batch, run, (whole, processes.rows(whole)))
        if processes.rank > 0:  # dropout of its own
            torch.manual_seed(hash((*seed, processes.rank)) & 0x7FFFFFFF)
        with run.autocast():
            heatmaps = run.network(inputs.images)
        if run.stem and run.stem.teaches:
            inputs = inputs._replace(taught=run.stem.heatmaps())
        # The processes' gradients are averaged: where one has more rows than another it counts more.
        share = len(batch.joints) * processes.count / whole if together else 1.0
        loss = step_loss(recipe, heatmaps.float(), inputs) * share
        run.optimizer.zero_grad(set_to_none=True)
        run.scaler.scale(loss).backward()
        run.scaler.unscale_(run.optimizer)
        norm = nn.utils.clip_grad_norm_(trained, recipe.clip_norm or math.inf)
        total = processes.total(loss.detach() / processes.count) if together else loss.detach()
        value, length = torch.stack((total, norm)).tolist()
        # Before the step: after it the weights, and with them the next last.pt, would not be finite either.
        check_finite(run, value, length)
        run.scaler.step(run.optimizer)
        run.scaler.update()
    run.step += 1
    run.samples += recipe.batch_size
    if run.averaged:
        run.averaged.update(run.model, run.epoch * steps + run.step)
    if recipe.local_steps and (run.step % recipe.local_steps == 0 or run.step == steps):
        agree(run)
    return value, length


def agree(run: Run) -> None:
    """Average the weights, their moving average and the optimizer's moments over the processes.

    Local SGD (Stich 2019; Lin et al. 2020): between two averages each process trains alone on its rows, with the batch
    statistics of its rows. For processes that exchange gradients too slowly to do it at every step, such as the cores
    of one CPU, of which each is fastest alone.
    """
    states = [run.model.state_dict(), *run.optimizer.state.values()]
    if run.averaged:
        states.append(run.averaged.state)
    # The optimizer counts its steps in a float, alike everywhere.
    run.processes.average([value for state in states for value in state.values() if value.is_floating_point()])


def prepare(batch: Batch, run: Run, place: tuple[int, slice] | None = None) -> Inputs:
    """Warp, colour and teach a batch on the network's device.

    Args:
        batch: Some rows of a batch.
        run: The run.
        place: Rows of the whole batch, and which of them are given; None leaves the colours as they are.
    """
    recipe = run.recipe
    crops, joints, weights = batch.to(run.device)
    if isinstance(crops, Regions):
        crops = warp_regions(crops, recipe.input_size)
    images = run.preprocessing(crops).contiguous(memory_format=torch.channels_last)
    if place and recipe.color:
        images = colored(images, recipe.color, *place)
    size = (recipe.input_size[0] // 4, recipe.input_size[1] // 4)
    taught = None
    if run.teacher:
        seen = run.teacher.heatmaps(crops)
        if recipe.teacher_joints:
            found = run.teacher.joints(seen, size)
            joints, weights = taught_joints(joints, weights, found, recipe.teacher_joints, recipe.teacher_min_score)
        if recipe.teacher_heatmaps:
            taught = run.teacher.on_grid(seen, size)
    targets, weights = heatmap_targets(joints, weights, size, recipe.sigma)
    return Inputs(images, targets, weights, taught)


def colored(images: Tensor, change: float, whole: int, rows: slice) -> Tensor:
    """Change brightness and colours at random: gains of the channels around one of the whole crop, and a shift.

    Args:
        images: (N, 3, H, W) normalised.
        change: Largest relative change.
        whole: Rows of the batch in all processes, which draw the same numbers.
        rows: Those that are given.
    """
    device = images.device
    brightness = 1 + change * (2 * torch.rand((whole, 1, 1, 1), device=device) - 1)
    gains = 1 + change * (torch.rand((whole, 3, 1, 1), device=device) - 0.5)
    shift = change * (2 * torch.rand((whole, 1, 1, 1), device=device) - 1)
    # No brighter or darker than pixels can be: beyond that PP-TinyPose's features grow without bound. With a change of
    # .2 it gave heatmaps above 1.6, some above 1000, for 2.9 % of the crops; within, for none.
    darkest, brightest = (((value - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)) for value in (0, 1))
    low, high = (limit.view(1, 3, 1, 1).to(device) for limit in (darkest, brightest))
    return (images * (brightness * gains)[rows] + shift[rows]).clamp(low, high)


def step_loss(recipe: Recipe, heatmaps: Tensor, inputs: Inputs) -> Tensor:
    """The published loss, mixed with the distance to the teacher's heatmaps where there is a teacher."""
    loss = heatmap_loss(heatmaps, inputs.targets, inputs.weights)
    if inputs.taught is None:
        return loss
    share = recipe.teacher_heatmaps
    return (1 - share) * loss + share * distillation_loss(heatmaps, inputs.taught)


def check_finite(run: Run, loss: float, length: float) -> None:
    """Stop a run before it spoils its weights.

    In fp16 a gradient that is too large only means that the step is left out and the scale lowered; an error it is
    where the scale has come down to 1.

    Raises:
        TrainingError: See above.
    """
    if math.isfinite(loss) and (math.isfinite(length) or run.scaler.get_scale() > 1):
        return
    half = "take precision bf16, " if run.scaler.is_enabled() else ""
    raise TrainingError(
        f"the loss is {loss} and its gradient {length} long in epoch {run.epoch + 1}, step {run.step + 1}: "
        f"{half}lower the learning rate, or clip the gradient (clip_norm), and go on from last.pt"
    )


@contextmanager
def memory_explained(run: Run, rows: int) -> Iterator[None]:
    """Say what to do where the memory does not suffice.

    Raises:
        TrainingError: It does not.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        first = first_line(error)
        if not (isinstance(error, MemoryError) or "out of memory" in first or "allocate memory" in first):
            raise
        recipe = run.recipe
        raise TrainingError(
            f"{run.device} has too little memory for a step of {rows} crops of {recipe.input_size[0]}x"
            f"{recipe.input_size[1]} in {recipe.precision} ({first}): lower batch_size, take precision bf16, or share "
            "the batch among several processes with torchrun; last.pt is sound"
        ) from error
