"""The layers of a TransPose graph in groups that can be left out of quantization together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import openvino as ov

KINDS = ("convolution", "depthwise", "deconvolution", "linear", "attention")
LINEARS = 5  # of an encoder layer: queries with keys, values, output, and the two of the feed-forward part


@dataclass(frozen=True)
class Layer:
    """A layer that has something to quantize.

    Attributes:
        name: Its node's name in the graph.
        kind: One of `KINDS`; "attention" is a product of two activations.
    """

    name: str
    kind: str


def layer_groups(layers: Sequence[Layer]) -> dict[str, list[str]]:
    """Names of layers by group; every layer is in one group.

    Args:
        layers: In the order of the graph.
    """
    names = {kind: [layer.name for layer in layers if layer.kind == kind] for kind in KINDS}
    stem, head = names["convolution"][1:-1], [*names["deconvolution"], *names["convolution"][-1:]]
    half = len(stem) // 2
    groups = {
        "first convolution": names["convolution"][:1],
        "first half of the stem": stem[:half],
        "second half of the stem": stem[half:],
        "depthwise convolutions": names["depthwise"],
        "attention products": names["attention"],
        "head": head,
    }
    for index in range(0, len(names["linear"]), LINEARS):
        groups[f"linear layers of encoder layer {index // LINEARS}"] = names["linear"][index : index + LINEARS]
    return {name: group for name, group in groups.items() if group}


def openvino_layers(model: ov.Model) -> list[Layer]:
    """The layers of an OpenVINO graph."""

    def kinds() -> Iterator[tuple[str, str]]:
        for node in model.get_ordered_ops():
            name, kind = node.get_friendly_name(), node.get_type_name()
            if kind == "MatMul":
                weights = [node.input_value(index).get_node() for index in (0, 1)]
                constant = any(_is_constant(weight) for weight in weights)
                yield name, "linear" if constant else "attention"
            elif kind in _OPENVINO_KINDS:
                yield name, _OPENVINO_KINDS[kind]

    return [Layer(*pair) for pair in kinds()]


_OPENVINO_KINDS = {
    "Convolution": "convolution",
    "GroupConvolution": "depthwise",
    "ConvolutionBackpropData": "deconvolution",
    "ScaledDotProductAttention": "attention",
}


def _is_constant(node: ov.Node) -> bool:
    """Whether a node is a weight, perhaps behind conversions and scales."""
    while node.get_type_name() in ("Convert", "Multiply", "FakeQuantize", "Reshape", "Transpose"):
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def onnx_layers(path: Path) -> list[Layer]:
    """The layers of an ONNX file."""
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}

    def kinds() -> Iterator[tuple[str, str]]:
        for node in graph.node:
            if node.op_type == "Conv":
                groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
                yield node.name, "depthwise" if groups > 1 else "convolution"
            elif node.op_type == "ConvTranspose":
                yield node.name, "deconvolution"
            elif node.op_type in ("MatMul", "Gemm"):
                yield node.name, "linear" if weights & set(node.input) else "attention"

    return [Layer(*pair) for pair in kinds()]
