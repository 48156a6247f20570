"""TP-L's stem in OpenVINO while it is frozen: on a CPU it takes half the time of torch, and its heatmaps come along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn
from torch.nn import functional

from transpose_sdk.convert.lite_hrnet import read_lite_hrnet
from transpose_sdk.models.transpose import TransPoseL
from transpose_sdk.backends.openvino_core import CORE

STEM = "lite_hrnet."


class FrozenStem:
    """A Lite-HRNet that is not trained.

    Args:
        network: Whose weights are used.
        input_size: (height, width) in px.
        half: Whether it may calculate in bfloat16.
        graph: The OpenVINO graph that its heatmaps' layer is read from; None for no heatmaps.
    """

    def __init__(self, network: nn.Module, input_size: tuple[int, int], half: bool, graph: Path | None = None) -> None:
        shape = (1, 3, *input_size)
        model = ov.convert_model(network.eval(), example_input=torch.zeros(shape), input=[shape])
        options = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
        }
        self._compiled = CORE.compile_model(model, "CPU", options)
        self._fine: Tensor | None = None
        self._layer = None
        if graph is not None:
            _, report = read_lite_hrnet(graph)
            self._layer = report.heatmap_weight, report.heatmap_bias

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        rows = images.contiguous().numpy()
        answers = [[value.copy() for value in self._compiled(row[None]).values()] for row in rows]
        maps = tuple(
            torch.from_numpy(np.concatenate(part)).contiguous(memory_format=torch.channels_last)
            for part in zip(*answers, strict=True)
        )
        self._fine = maps[0]
        return maps

    @property
    def taught(self) -> bool:
        """Whether it gives heatmaps."""
        return self._layer is not None

    @torch.no_grad()
    def heatmaps(self) -> Tensor | None:
        """Its own heatmaps of the images that it saw last, on our grid (see `hrnet_to_dark`)."""
        if self._layer is None or self._fine is None:
            return None
        return hrnet_to_dark(functional.conv2d(self._fine, *self._layer))


def hrnet_to_dark(heatmaps: Tensor) -> Tensor:
    """Resample heatmaps of HRNet's geometry, crop px = 4 x heatmap px, to ours, whose corners are the crop's.

    Args:
        heatmaps: (N, K, h, w) of crops of (4 h, 4 w).
    """
    height, width = heatmaps.shape[2:]
    axes = [torch.arange(size) * ((4 * size - 1) / (size - 1) / 4) / (size - 1) * 2 - 1 for size in (height, width)]
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack((columns, rows), dim=-1).expand(len(heatmaps), -1, -1, -1)
    return functional.grid_sample(heatmaps, grid, align_corners=True, padding_mode="border")


def install(model: nn.Module, input_size: tuple[int, int], half: bool, graph: Path | None) -> FrozenStem | None:
    """Let a network's frozen stem run in OpenVINO; None where it has none."""
    if not isinstance(model, TransPoseL):
        return None
    model.lite_hrnet.__dict__.pop("forward", None)
    stem = FrozenStem(model.lite_hrnet, input_size, half, graph)
    model.lite_hrnet.forward = stem  # type: ignore[method-assign]
    return stem
