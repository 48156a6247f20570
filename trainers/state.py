"""The state of a training run on disk: everything needed to go on as if it had never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transpose_sdk.errors import CheckpointError
from transpose_sdk.whole_file import whole_file


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


def moved(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Copy a state to a device."""
    return {name: value.to(device) for name, value in tensors.items()}
