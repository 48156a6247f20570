"""TP-L's stem in OpenVINO while it is frozen: on a CPU it takes half the time of torch, and its heatmaps come along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn
from torch.nn import functional

from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.convert.tiny_pose import read_lite_hrnet
from transpose_sdk.errors import CheckpointError
from transpose_sdk.models import TransPose
from transpose_sdk.models.lite_hrnet import LiteHRNet
from transpose_sdk.models.transpose import TransPoseL

from .recipe import Recipe
from .teacher import hrnet_to_dark


class FrozenStem:
    """A Lite-HRNet, or its first stages, that does not learn.

    Args:
        network: Whose weights are used.
        input_size: (height, width) in px.
        half: Whether it may calculate in bfloat16.
        graph: PP-TinyPose's graph, whose last layer makes heatmaps of the finest map; None for no heatmaps.
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
        self._finest: Tensor | None = None
        self._layer: tuple[Tensor, Tensor] | None = None
        if graph is not None:
            _, report = read_lite_hrnet(graph)
            self._layer = report.heatmap_weight, report.heatmap_bias

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """The network's maps of images (N, 3, H, W), without gradients."""
        rows = images.contiguous().numpy()
        answers = [[value.copy() for value in self._compiled(row[None]).values()] for row in rows]
        maps = tuple(
            torch.from_numpy(np.concatenate(part)).contiguous(memory_format=torch.channels_last)
            for part in zip(*answers, strict=True)
        )
        self._finest = maps[0]
        return maps

    @property
    def teaches(self) -> bool:
        """Whether it gives heatmaps."""
        return self._layer is not None

    @torch.no_grad()
    def heatmaps(self) -> Tensor | None:
        """PP-TinyPose's heatmaps (N, K, h, w) of the images that it saw last, on our grid; see `hrnet_to_dark`."""
        if self._layer is None or self._finest is None:
            return None
        return hrnet_to_dark(functional.conv2d(self._finest, *self._layer))


class _Early(nn.Module):
    """A Lite-HRNet's first stages as a network of their own."""

    def __init__(self, network: LiteHRNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network.early(images))


def frozen_stem(model: TransPose, recipe: Recipe) -> FrozenStem | None:
    """Let what is frozen of a network's stem run in OpenVINO: all of it, or what comes before stage 4.

    Args:
        model: The network on the CPU, changed in place; only TP-L's stem is known here.
        recipe: Of the run. If its teacher is PP-TinyPose and all of the stem is frozen, the stem teaches: the features
            are the same, while nobody else has trained them.

    Returns:
        What runs the stem from now on, None where torch does.
    """
    if not isinstance(model, TransPoseL):
        return None
    network, half = model.lite_hrnet, recipe.precision == "bf16"
    if not any(parameter.requires_grad for parameter in network.parameters()):
        graph = Path(recipe.teacher)
        stem = FrozenStem(network, recipe.input_size, half, graph if _is_its_graph(network, graph) else None)
        network.forward = stem  # type: ignore[assignment, method-assign]
        return stem
    early = [network.entry, network.stages[0], network.stages[1], network.transitions[0], network.transitions[1]]
    if not any(parameter.requires_grad for part in early for parameter in part.parameters()):
        stem = FrozenStem(_Early(network), recipe.input_size, half)
        network.early = lambda images: list(stem(images))  # type: ignore[method-assign]
        return stem
    return None


def _is_its_graph(network: LiteHRNet, graph: Path) -> bool:
    """Whether a stem's weights are those of a graph (.xml)."""
    if graph.suffix != ".xml":
        return False
    try:
        given = read_lite_hrnet(graph)[0].state_dict()
    except CheckpointError:
        return False
    return all(torch.equal(value, given[name]) for name, value in network.state_dict().items())
