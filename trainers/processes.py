"""The processes of one run: one alone, or several that torchrun started on one or many machines.

A batch is that of the recipe however many processes share it, and so is the result: each takes its rows, gradients and
the statistics of the batch normalisation are those of all rows. Only the first process writes. Where a recipe has
`local_steps` the processes talk less, and their number counts: see `trainers.step.agree`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from transpose_sdk.errors import BackendError, DataError

PATIENCE = timedelta(hours=2)  # for the first process, which decodes the images and evaluates while the others wait


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    Attributes:
        rank: Its number, from 0.
        local_rank: Its number on this machine, from 0.
        count: How many there are on all machines.
    """

    rank: int = 0
    local_rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """This process's rows of a batch; where they can't be shared evenly, some have one more.

        Raises:
            DataError: There are more processes than rows.
        """
        if batch_size < self.count:
            raise DataError(f"{self.count} processes share a batch of {batch_size}: raise batch_size or start fewer")
        return slice(self.rank * batch_size // self.count, (self.rank + 1) * batch_size // self.count)

    def total(self, value: Tensor) -> Tensor:
        """Sum over the processes, on each of them."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def average(self, values: list[Tensor]) -> None:
        """Replace values by their mean over the processes, in place and to the same bits on each of them."""
        if self.count == 1:
            return
        whole = self.total(torch.cat([value.flatten() for value in values])).div_(self.count)
        for value, mean in zip(values, whole.split([value.numel() for value in values]), strict=True):
            value.copy_(mean.view_as(value))

    def shared(self, value: Any) -> Any:
        """What the first process gives, on each of them."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            dist.barrier()

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let the first process of each machine go first: what it writes to disk the others then find there."""
        if self.local_rank > 0:
            self.wait()
        yield
        if self.local_rank == 0:
            self.wait()


ALONE = Processes()


@contextmanager
def joined(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that torchrun started, if it did.

    Args:
        device: "cpu", or "cuda": each process of a machine then takes its own GPU.

    Yields:
        The processes, and the device of this one.

    Raises:
        BackendError: There are more processes than GPUs.
    """
    count, place = int(os.environ.get("WORLD_SIZE", "1")), torch.device(device)
    if count == 1:
        yield ALONE, place
        return
    processes = Processes(int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"]), count)
    if dist.is_initialized():  # by the caller, who also leaves
        yield processes, torch.device("cuda", processes.local_rank) if place.type == "cuda" else place
        return
    if place.type == "cuda":
        if processes.local_rank >= torch.cuda.device_count():
            raise BackendError(
                f"process {processes.local_rank} of this machine has no GPU of its own, there are "
                f"{torch.cuda.device_count()}: start torchrun with --nproc-per-node {torch.cuda.device_count()}"
            )
        place = torch.device("cuda", processes.local_rank)
        torch.cuda.set_device(place)
        dist.init_process_group("nccl", timeout=PATIENCE, device_id=place)
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield processes, place
    finally:
        dist.destroy_process_group()


def share_statistics(model: nn.Module, device: torch.device) -> None:
    """Let the batch normalisation of a network see the rows of all processes, in place; names and weights stay."""
    if device.type == "cuda":
        # Its layers have no batch normalisation at the top, so the network stays the same object.
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SharedBatchNorm2d  # torch's own is for GPUs only


class _Total(torch.autograd.Function):
    """Sum over the processes, with a gradient: every process's loss depends on it."""

    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return _Total.forward(_context, gradient)


def _summed(value: Tensor) -> Tensor:
    total: Tensor = _Total.apply(value)
    return total


class _SharedBatchNorm2d(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        values = input.float()
        count = values.new_tensor([values.numel() / values.shape[1]])
        sums = _summed(torch.cat((values.sum((0, 2, 3)), count)))
        number, mean = sums[-1].detach(), sums[:-1] / sums[-1].detach()
        # About the mean, in a second round: the mean of squares less the square of the mean would lose digits.
        variance = _summed((values - mean[:, None, None]).square().sum((0, 2, 3))) / number
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            assert self.num_batches_tracked is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        # Not `F.batch_norm`, which knows no gradient of the mean and the variance that it is given.
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return torch.addcmul((self.bias - mean * scale)[:, None, None], values, scale[:, None, None]).to(input.dtype)
