"""The weights of a Lite-HRNet from PP-TinyPose's OpenVINO graph, found by the graph's structure and not by its names.

The graph is read backwards from its heatmaps, layer by layer as the network is built. Wherever two paths meet in the
network they must meet in the graph too, so a graph of another form is refused, never read in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn

from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.errors import CheckpointError, last_line
from transpose_sdk.models.lite_hrnet import FINE_SCALE, Entry, FusionModule, LiteHRNet, ShuffleUnit, parts


@dataclass
class StemReport:
    """What was read.

    Attributes:
        source: The graph's file.
        convolutions: How many of the graph's convolutions went into the network, its last one included.
        left: Convolutions of the graph that the network has no use for.
        parameters: Numbers read.
        heatmap_weight: (K, 40, 1, 1), of the graph's last convolution, from the network's finest map to heatmaps.
        heatmap_bias: (K,), of the same.
    """

    source: Path
    convolutions: int
    left: int
    parameters: int
    heatmap_weight: Tensor
    heatmap_bias: Tensor

    def __str__(self) -> str:
        return (
            f"{self.source}: {self.convolutions} convolutions, {self.parameters:,} weights read, "
            f"{self.left} convolutions left"
        )


def read_lite_hrnet(path: str | Path) -> tuple[LiteHRNet, StemReport]:
    """Build a Lite-HRNet with the weights of an OpenVINO graph.

    Args:
        path: PP-TinyPose as an OpenVINO graph (.xml).

    Returns:
        The network in eval mode, equal to the graph up to rounding, and what was read.

    Raises:
        CheckpointError: The file cannot be read, or its graph is no Lite-HRNet of these widths.
    """
    path = Path(path)
    try:
        graph = CORE.read_model(path)
    except RuntimeError as error:
        raise CheckpointError(f"{path} cannot be read ({last_line(error)}): give an OpenVINO graph (.xml)") from error
    maps = [output for output in graph.outputs if output.partial_shape.rank.get_length() == 4]
    if len(maps) != 1:
        raise CheckpointError(f"{path} has {len(maps)} outputs with four dimensions: give PP-TinyPose, which has one")
    network, reader = LiteHRNet().eval(), _GraphReader(path)
    source = maps[0].get_node().input_value(0)
    final = nn.Conv2d(parts(network.decoder[-1])[1].out_channels, source.get_shape()[1], 1)
    with torch.no_grad():
        reader.network(network, reader.convolution(source, final))
        for parameter in parts(network.decoder[-1])[1].parameters():
            parameter.mul_(FINE_SCALE)
        final.weight /= FINE_SCALE
    count = sum("Convolution" in node.get_type_name() for node in graph.get_ops())
    parameters = sum(value.numel() for part in (network, final) for value in part.parameters())
    report = StemReport(
        path,
        len(reader.taken),
        count - len(reader.taken),
        parameters,
        final.weight.detach(),
        final.get_parameter("bias").detach(),
    )
    return network, report


@dataclass
class _GraphReader:
    """Goes back from a layer's output to its input, taking the layer's weights on the way."""

    path: Path
    taken: set[str] = field(default_factory=set)

    def network(self, network: LiteHRNet, finest: ov.Output) -> None:
        branches: list[ov.Output] = []
        value = finest
        for place, block in enumerate(reversed(parts(network.decoder))):
            value = self.separable(value, block)
            if place < len(network.decoder) - 1:
                branch, up = self.inputs(value, "Add")
                branches.append(branch)
                value = self.inputs(up, "Interpolate")[0]
            else:
                branches.append(value)
        transitions_of = map(parts, reversed(parts(network.transitions)))
        for stage, transitions in zip(reversed(parts(network.stages)), transitions_of, strict=True):
            for module in reversed(parts(stage)):
                branches = self.fusion(branches, module)
            if len(transitions) == 1:  # the new branch is made of the last one before
                new = self.separable(branches.pop(), transitions[0])
                self.same(new, branches[-1])
            else:
                branches = [self.separable(v, t) for v, t in zip(branches, transitions, strict=True)]
        self.same(*branches)
        self.entry(branches[0], network.entry)

    def entry(self, value: ov.Output, entry: Entry) -> None:
        first, second = self.unshuffled(value)
        direct = self.separable(first, entry.direct)
        deep = self.convolution(self.inputs(self.separable(second, entry.deep), "Relu")[0], entry.expand)
        image = self.convolution(self.inputs(self.halves(direct, deep), "Relu")[0], entry.conv)
        if image.get_node().get_type_name() != "Parameter":
            raise self.refused(image, "the image")

    def fusion(self, outputs: Sequence[ov.Output], module: FusionModule) -> list[ov.Output]:
        features: list[ov.Output | None] = [None] * len(outputs)
        finest = self.inputs(outputs[0], "Relu")[0]
        for target, (output, paths) in enumerate(zip(outputs, map(parts, parts(module.fuse_layers)), strict=True)):
            terms = self.terms(self.inputs(output, "Relu")[0], len(outputs))
            for source, (term, path) in enumerate(zip(terms, paths, strict=True)):
                feature = self.fuse_path(term, path) if source != target else term
                if source == 0 and target > 0:
                    self.same(feature, finest)
                else:
                    self.same(feature, features[source] or feature)
                    features[source] = feature
        inputs = []
        for feature, branch in zip(features, module.branches, strict=True):
            assert feature is not None
            value = feature
            for unit in reversed(parts(branch)):
                value = self.unit(value, unit)
            inputs.append(value)
        return inputs

    def terms(self, total: ov.Output, count: int) -> list[ov.Output]:
        """What a sum is made of; its first term is in it twice."""
        terms = []
        for _ in range(count - 1):
            total, term = self.inputs(total, "Add")
            terms.append(term)
        first, second = self.inputs(total, "Add")
        self.same(first, second)
        return [first, *reversed(terms)]

    def fuse_path(self, value: ov.Output, path: nn.Module) -> ov.Output:
        if isinstance(path, nn.Conv2d):
            return self.convolution(self.inputs(value, "Interpolate")[0], path)
        for block in reversed(parts(path)):
            value = self.separable(value, block)
        return value

    def unit(self, value: ov.Output, unit: ShuffleUnit) -> ov.Output:
        kept, changed = self.unshuffled(value)
        changed = self.separable(changed, unit.spread)
        return self.halves(kept, self.convolution(self.inputs(changed, "Relu")[0], unit.mix))

    def separable(self, value: ov.Output, block: nn.Module) -> ov.Output:
        for layer in reversed(parts(block)):
            value = self.inputs(value, "Relu")[0] if isinstance(layer, nn.ReLU) else self.convolution(value, layer)
        return value

    def convolution(self, value: ov.Output, layer: nn.Module) -> ov.Output:
        assert isinstance(layer, nn.Conv2d)
        grouped = layer.groups > 1
        added, bias = self.inputs(value, "Add")
        source, kernel = self.inputs(added, "GroupConvolution" if grouped else "Convolution")
        weight = torch.from_numpy(self.constant(kernel))
        weight = weight.flatten(0, 1) if grouped else weight
        facts = added.get_node().get_attributes()
        geometry = (weight.shape, tuple(facts["strides"]), tuple(facts["pads_begin"]), tuple(facts["pads_end"]))
        wanted = (layer.weight.shape, layer.stride, layer.padding, layer.padding)
        if geometry != wanted:
            raise self.refused(added, f"a convolution of weights {tuple(layer.weight.shape)}, stride {layer.stride}")
        layer.weight.copy_(weight)
        layer.get_parameter("bias").copy_(torch.from_numpy(self.constant(bias)).flatten())
        self.taken.add(added.get_node().get_friendly_name())
        return source

    def unshuffled(self, value: ov.Output) -> tuple[ov.Output, ov.Output]:
        for kind in ("Reshape", "Transpose", "Reshape"):
            value = self.inputs(value, kind)[0]
        first, second = self.inputs(value, "Concat")
        return first, second

    def halves(self, first: ov.Output, second: ov.Output) -> ov.Output:
        wholes = [self.inputs(half, "Split")[0] for half in (first, second)]
        self.same(*wholes)
        if (first.get_index(), second.get_index()) != (0, 1):
            raise self.refused(second, "the second half of a split")
        return wholes[0]

    def constant(self, value: ov.Output) -> np.ndarray:
        node = value.get_node()
        if node.get_type_name() == "Convert":
            node = node.input_value(0).get_node()
        if node.get_type_name() != "Constant":
            raise self.refused(value, "a constant")
        return np.array(node.get_data(), np.float32)

    def inputs(self, value: ov.Output, kind: str) -> list[ov.Output]:
        if value.get_node().get_type_name() != kind:
            raise self.refused(value, f"an operation {kind}")
        return list(value.get_node().input_values())

    def same(self, *values: ov.Output) -> None:
        if len({(value.get_node().get_friendly_name(), value.get_index()) for value in values}) > 1:
            raise self.refused(values[0], f"the same value as {values[1].get_node().get_friendly_name()}")

    def refused(self, value: ov.Output, wanted: str) -> CheckpointError:
        node = value.get_node()
        return CheckpointError(
            f"{self.path} is no Lite-HRNet as in PP-TinyPose: {node.get_friendly_name()} is of type "
            f"{node.get_type_name()}, expected {wanted}; give PP-TinyPose's OpenVINO graph"
        )
