"""The state of a training run on disk: everything needed to go on as if it had never stopped."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transpose_sdk.disk.whole_file import whole_file
from transpose_sdk.errors import CheckpointError

logger = logging.getLogger(__name__)


class AveragedWeights:
    """Exponential moving average of a network's state; the evaluated and shipped weights.

    Args:
        model: The network that is trained.
        decay: Share of the old average that stays after a step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take the weights after step number `step` in; early averages are shorter, to forget the start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged, current = [], []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averaged.append(self.state[name])
                current.append(value)
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_(averaged, current, 1 - decay)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state, never leaving half a file under `path`."""
    with whole_file(path) as unfinished:
        torch.save(state, unfinished)


def load_state(path: Path) -> dict[str, Any]:
    """Read a state that `save_state` wrote.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch meets in a damaged file
        raise CheckpointError(f"cannot resume from {path} ({error}): remove it to start anew") from error


def check_settings(
    path: Path, settings: Mapping[str, Any], changed: bool, *, free: Collection[str], defaults: Mapping[str, Any]
) -> None:
    """Check that a run that is resumed has the settings with which it began.

    Args:
        path: Where the run dumped them; nothing is checked where there is no such file.
        settings: Those of now, plain values.
        changed: Whether they may differ, which then goes to the log.
        free: Keys that may always differ.
        defaults: Values of keys that the file, of an older version, may lack.

    Raises:
        CheckpointError: Some differ, or the file cannot be read.
    """
    if not path.exists():
        return
    try:
        before = {**defaults, **json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"cannot read {path} ({error}): remove it if you know that the run is yours") from None
    before, now = (json.loads(json.dumps(values)) for values in (before, dict(settings)))  # tuples become lists
    gone = "not known"
    differing = "; ".join(
        f"{key} was {before.get(key, gone)} and is {now.get(key, gone)}"
        for key in sorted({*before, *now} - set(free))
        if before.get(key, gone) != now.get(key, gone)
    )
    if differing and not changed:
        raise CheckpointError(
            f"the run in {path.parent} began with other settings: {differing}. Resume it with those in {path.name}, "
            "give another folder for a run of its own, or go on with what you changed by --changed (changed=True)"
        )
    if differing:
        logger.warning("the run in %s goes on with other settings: %s", path.parent, differing)


def moved(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Copy a state to a device."""
    return {name: value.to(device) for name, value in tensors.items()}
