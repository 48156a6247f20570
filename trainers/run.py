"""A training run in memory: the network, its optimizer, its averaged weights, and its place in the recipe."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from transpose_sdk.disk.whole_file import whole_file
from transpose_sdk.errors import CheckpointError, DataError, first_line
from transpose_sdk.models import TransPose, create_model
from transpose_sdk.models.preprocessing import Preprocessing
from transpose_sdk.skeletons import COCO17, Skeleton

from .frozen_stem import FrozenStem, frozen_stem
from .initialisation import freeze, initialise, parameter_groups
from .logs import Log
from .processes import ALONE, Processes, share_statistics
from .recipe import Recipe
from .state import AveragedWeights, check_settings, load_state, moved, save_state
from .teacher import Teacher

logger = logging.getLogger(__name__)

PROGRESS = ("epoch", "step", "samples", "best", "seconds")


@dataclass
class Run:
    """What a training run holds in memory.

    Attributes:
        recipe: Its numbers.
        folder: Where it writes.
        device: Where the network lives.
        model: The network.
        optimizer: Of its weights that are not frozen.
        averaged: Averaged weights, None without an EMA.
        network: The network as training steps call it: compiled, or shared by several processes, where asked for.
        scaler: Keeps the gradients of fp16 above its smallest numbers; does nothing in other precisions.
        preprocessing: From pixels to the network's input.
        processes: Who else takes part.
        teacher: A network to learn from, None without one.
        stem: TP-L's stem while it is frozen.
        log: Where the run's numbers are written.
        epoch: Epochs done.
        step: Steps done within the current epoch.
        samples: Crops so far, of all processes.
        best: Best AP so far.
        seconds: Time spent in training steps, over all starts.
    """

    recipe: Recipe
    folder: Path
    device: torch.device
    model: TransPose
    optimizer: torch.optim.Optimizer
    averaged: AveragedWeights | None
    network: nn.Module
    scaler: torch.amp.GradScaler
    preprocessing: Preprocessing
    processes: Processes
    teacher: Teacher | None
    stem: FrozenStem | None
    log: Log
    epoch: int = 0
    step: int = 0
    samples: int = 0
    best: float = -1.0
    seconds: float = 0.0

    def autocast(self) -> torch.autocast:
        """The network's precision, as a context."""
        kind = torch.float16 if self.recipe.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, kind, enabled=self.recipe.precision != "fp32")

    def save(self) -> None:
        """Write last.pt, if this is the process that writes."""
        if not self.processes.first:
            return
        save_state(
            self.folder / "last.pt",
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "averaged": self.averaged.state if self.averaged else None,
                "scaler": self.scaler.state_dict(),
                "progress": {name: getattr(self, name) for name in PROGRESS},
            },
        )

    def resume(self) -> bool:
        """Go on from last.pt, if it is there.

        Raises:
            CheckpointError: It cannot be read, or holds another network or optimizer.
        """
        path = self.folder / "last.pt"
        # The other processes may lie on machines that do not see the folder.
        state = self.processes.shared(load_state(path) if self.processes.first and path.exists() else None)
        if state is None:
            return False
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path} belongs to another recipe ({first_line(error)}): resume it with the one in "
                "recipe.json, or train into another folder"
            ) from error
        if self.averaged and state["averaged"]:
            self.averaged.state = moved(state["averaged"], self.device)
        if self.scaler.is_enabled() and state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        for name, value in state["progress"].items():
            setattr(self, name, value)
        return True


def start_run(
    recipe: Recipe,
    folder: Path,
    init: Path | None,
    device: torch.device,
    skeleton: Skeleton = COCO17,
    *,
    processes: Processes = ALONE,
    changed: bool = False,
    tensorboard: bool = False,
) -> Run:
    """Build the network and its optimizer, and resume if the folder holds a state.

    Args:
        recipe: Numbers of the run.
        folder: Where it writes.
        init: Checkpoint of the same network, or weights of its stem; None for fresh weights.
        device: Where to train.
        skeleton: What the network's heatmaps are.
        processes: Who takes part.
        changed: Whether a run that is resumed may go on with another recipe than it began with.
        tensorboard: Whether to write logs for TensorBoard too.

    Raises:
        BundleError: The teacher is a bundle that is missing or damaged.
        CheckpointError: The folder holds a run of another recipe or network, or `init` does not fit.
        DataError: `frozen` names no part of the network, `new_final` has no `init`, or the teacher knows other joints.
        MissingDependencyError: TensorBoard is wanted and not installed.
    """
    if processes.first:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "last.pt").exists():
            defaults = Recipe(recipe.model).to_dict()
            check_settings(folder / "recipe.json", recipe.to_dict(), changed, free=("about",), defaults=defaults)
    model = _network(recipe, init, len(skeleton))
    if init is None and recipe.new_final and processes.first and not (folder / "last.pt").exists():
        raise DataError("new_final keeps all but the final layer of a trained network: give its checkpoint by --init")
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # every step has the same shapes: the fastest kernels are looked for once
    groups = parameter_groups(model, recipe)
    optimizer = torch.optim.AdamW(groups, fused=True) if recipe.optimizer == "adamw" else torch.optim.Adam(groups)
    averaged = AveragedWeights(model, recipe.ema) if recipe.ema else None
    stem = frozen_stem(model, recipe) if device.type == "cpu" else None
    apart = recipe.teacher and not (stem and stem.teaches)
    run = Run(
        recipe=recipe,
        folder=folder,
        device=device,
        model=model,
        optimizer=optimizer,
        averaged=averaged,
        network=model,
        scaler=torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16"),
        preprocessing=Preprocessing().to(device),
        processes=processes,
        teacher=Teacher(recipe.teacher, device, skeleton, recipe.precision, recipe.teacher_flip) if apart else None,
        stem=stem,
        log=Log(folder if processes.first else None, tensorboard),
    )
    if run.resume():
        logger.info("resumed at epoch %d, step %d", run.epoch, run.step)
    if processes.count > 1 and not recipe.local_steps:
        share_statistics(model, device)
        run.network = nn.parallel.DistributedDataParallel(model, [device] if device.type == "cuda" else None)
    if recipe.compile:
        run.network = torch.compile(run.network)  # type: ignore[assignment]
    if processes.first:
        with whole_file(folder / "recipe.json") as unfinished:
            unfinished.write_text(json.dumps(recipe.to_dict(), indent=2) + "\n")
    return run


def _network(recipe: Recipe, init: Path | None, keypoints: int) -> TransPose:
    """The network with the weights it starts from, its frozen parts frozen."""
    torch.manual_seed(recipe.seed)
    model = create_model(recipe.model, **{"keypoints": keypoints, "input_size": recipe.input_size, **recipe.variant})
    if init:
        initialise(model, init, recipe.new_final)
    freeze(model, recipe)
    return model


@contextmanager
def averaged_weights(run: Run) -> Iterator[None]:
    """Put the averaged weights into the network for a while."""
    if run.averaged is None:
        yield
        return
    current = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.model.load_state_dict(run.averaged.state)
    try:
        yield
    finally:
        run.model.load_state_dict(current)
