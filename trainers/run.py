"""A training run in memory: the network, its optimizer, its averaged weights, and its place in the recipe."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from transpose_sdk.errors import CheckpointError, DataError, TransposeError
from transpose_sdk.models import TransPose, create_model, load_checkpoint, load_stem

from .recipe import Recipe
from .state import AveragedWeights, load_state, moved, save_state

logger = logging.getLogger(__name__)


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
        epoch: Epochs done.
        step: Steps done within the current epoch.
        best: Best AP so far.
        seconds: Time spent in training steps, over all starts.
    """

    recipe: Recipe
    folder: Path
    device: torch.device
    model: TransPose
    optimizer: torch.optim.Optimizer
    averaged: AveragedWeights | None
    epoch: int = 0
    step: int = 0
    best: float = -1.0
    seconds: float = 0.0

    def save(self) -> None:
        """Write last.pt."""
        save_state(
            self.folder / "last.pt",
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "averaged": self.averaged.state if self.averaged else None,
                "progress": {name: getattr(self, name) for name in ("epoch", "step", "best", "seconds")},
            },
        )

    def resume(self) -> bool:
        """Go on from last.pt, if it is there.

        Raises:
            CheckpointError: It cannot be read, or holds another network or optimizer.
        """
        path = self.folder / "last.pt"
        if not path.exists():
            return False
        state = load_state(path)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path} belongs to another recipe ({str(error).splitlines()[0]}): resume it with the one in "
                "recipe.json, or train into another folder"
            ) from error
        if self.averaged and state["averaged"]:
            self.averaged.state = moved(state["averaged"], self.device)
        for name, value in state["progress"].items():
            setattr(self, name, value)
        return True

    def log(self, record: dict[str, Any]) -> None:
        """Append a record to log.jsonl."""
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")


def start_run(recipe: Recipe, folder: Path, init: Path | None, device: torch.device, keypoints: int = 17) -> Run:
    """Build the network and its optimizer, and resume if the folder holds a state.

    Args:
        recipe: Numbers of the run.
        folder: Where it writes.
        init: Checkpoint of the same network, or weights of its stem; None for fresh weights.
        device: Where to train.
        keypoints: Heatmaps of the network.

    Raises:
        CheckpointError: The folder holds a run of another network, or `init` does not fit.
        DataError: `frozen` names no part of the network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = create_model(recipe.model, **{"keypoints": keypoints, "input_size": recipe.input_size, **recipe.variant})
    if init:
        initialise(model, init)
    names = [name for name, _ in model.named_parameters()]
    for prefix in recipe.frozen:
        if not any(name.startswith(prefix) for name in names):
            raise DataError(f"frozen: no part of {recipe.model} is called {prefix!r}; its first is {names[0]!r}")
    for name, parameter in model.named_parameters():
        if name.startswith(recipe.frozen):
            parameter.requires_grad_(False)
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(
            _decay_groups(trained, recipe.weight_decay), lr=recipe.lr, fused=True
        )
    else:
        optimizer = torch.optim.Adam(trained, lr=recipe.lr)
    averaged = AveragedWeights(model, recipe.ema) if recipe.ema else None
    run = Run(recipe, folder, device, model, optimizer, averaged)
    if run.resume():
        logger.info("resumed at epoch %d, step %d", run.epoch, run.step)
    (folder / "recipe.json").write_text(json.dumps(recipe.to_dict(), indent=2) + "\n")
    return run


def initialise(model: TransPose, path: Path) -> None:
    """Load a checkpoint of the whole network or, where it holds only a stem, the stem."""
    try:
        load_checkpoint(path, model)
    except TransposeError:
        load_stem(model, path)


def _decay_groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels, none for biases and norms."""
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


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
