"""An OpenVINO graph as a torch network, so that a foreign teacher runs on the GPU beside its student.

OpenVINO drives no NVIDIA GPU, and a teacher on the CPU would keep a fast one waiting. Only what convolutional pose
networks are made of is known here (PP-TinyPose, a Lite-HRNet, needs all of it); shapes are static but for the batch, so
whatever a graph calculates about its own shapes is known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import openvino as ov
import torch
from torch import Tensor, nn
from torch.nn import functional

from transpose_sdk.errors import DataError

_Apply = Callable[[list[Tensor]], Tensor]


class _Step(NamedTuple):
    """A value, of which others it is made and how, and which of them nobody needs afterwards."""

    apply: _Apply
    sources: list[str]
    name: str
    spent: list[str]


class GraphNetwork(nn.Module):
    """A graph of one (1, C, H, W) image that takes (N, C, H, W).

    Args:
        output: What to calculate, an output of the graph whose first dimension is the batch.

    Raises:
        DataError: The graph holds an operation that is not known here.
    """

    def __init__(self, output: ov.Output) -> None:
        super().__init__()
        self._steps: list[_Step] = []
        self._names: dict[str, str] = {}  # of the graph's values among ours
        self._result = self._add(output.get_node().input_value(0) if _kind(output) == "Result" else output)
        # No value is kept longer than it is needed.
        needed: set[str] = {self._result}
        for place, step in reversed(list(enumerate(self._steps))):
            self._steps[place] = step._replace(spent=[name for name in {*step.sources} if name not in needed])
            needed.update(step.sources)

    def forward(self, images: Tensor) -> Tensor:
        """The output for images (N, C, H, W) of the parameters' type."""
        values: dict[str, Tensor] = {"image": images, **dict(self.named_buffers())}
        for step in self._steps:
            values[step.name] = step.apply([values[source] for source in step.sources])
            for name in step.spent:
                del values[name]
        return values[self._result]

    def _add(self, output: ov.Output) -> str:
        """Name under which the value of an output is known; steps are added for all that it needs."""
        waiting = [output]
        while waiting:  # graphs are deeper than Python's recursion
            current = waiting[-1]
            if _name(current) in self._names:
                waiting.pop()
                continue
            name = f"value{len(self._names)}"
            constant = _constant(current)
            if _kind(current) == "Parameter":
                name = "image"
            elif constant is not None:
                self.register_buffer(name, constant)
            else:
                calculated, sources = _inputs(current)
                missing = [value for value in sources if _name(value) not in self._names]
                if missing:
                    waiting += missing
                    continue
                apply = _OPERATIONS[_kind(calculated)][0](calculated)
                self._steps.append(_Step(apply, [self._names[_name(value)] for value in sources], name, []))
            self._names[_name(current)] = name
        return self._names[_name(output)]


def _inputs(output: ov.Output) -> tuple[ov.Output, list[ov.Output]]:
    """The operation that gives an output, and the tensors that it takes.

    A convolution takes what is added to its channels as its bias: one launch on the GPU instead of two.
    """
    kind, inputs = _kind(output), output.get_node().input_values()
    if kind not in _OPERATIONS:
        raise DataError(f"the operation {kind} has no counterpart in torch here")
    if kind == "Add" and _kind(inputs[0]).endswith("Convolution") and len(inputs[0].get_target_inputs()) == 1:
        bias = _constant(inputs[1])
        if bias is not None and bias.shape == (1, inputs[0].get_shape()[1], 1, 1):
            return inputs[0], [*inputs[0].get_node().input_values(), inputs[1]]
    return output, inputs[: _OPERATIONS[kind][1]]


def _kind(output: ov.Output) -> str:
    return str(output.get_node().get_type_name())


def _name(output: ov.Output) -> str:
    return f"{output.get_node().get_friendly_name()}.{output.get_index()}"


def _constant(output: ov.Output) -> Tensor | None:
    """A constant of the graph in float32, None if it is something else; FP16 ones stand before a conversion."""
    node = output.get_node()
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    return torch.from_numpy(node.get_data().astype("float32"))


def _whole(output: ov.Output) -> list[int]:
    """Values of a constant of whole numbers, such as an order of axes."""
    return [int(value) for value in output.get_node().get_data().reshape(-1)]


def _convolution(output: ov.Output) -> _Apply:
    node, grouped = output.get_node(), _kind(output) == "GroupConvolution"
    facts = node.get_attributes()
    if facts["pads_begin"] != facts["pads_end"] or facts["auto_pad"] not in ("explicit", "valid"):
        raise DataError(f"a convolution with padding {facts['pads_begin']} and {facts['pads_end']} is not known here")
    options = {"stride": facts["strides"], "padding": facts["pads_begin"], "dilation": facts["dilations"]}
    groups = node.input_value(1).get_shape()[0] if grouped else 1

    def apply(values: list[Tensor]) -> Tensor:
        image, weight, *bias = values
        kernel, added = weight.flatten(0, 1) if grouped else weight, bias[0].flatten() if bias else None
        return functional.conv2d(image, kernel, added, groups=groups, **options)

    return apply


def _reshape(output: ov.Output) -> _Apply:
    shape = list(output.get_shape())[1:]
    return lambda values: values[0].reshape(-1, *shape)


def _transpose(output: ov.Output) -> _Apply:
    order = _whole(output.get_node().input_value(1))
    return lambda values: values[0].permute(order)


def _split(output: ov.Output) -> _Apply:
    node, index = output.get_node(), output.get_index()
    parts, (axis,) = node.get_attributes()["num_splits"], _whole(node.input_value(1))
    return lambda values: values[0].chunk(parts, axis)[index]


def _concat(output: ov.Output) -> _Apply:
    axis = output.get_node().get_attributes()["axis"]
    return lambda values: torch.cat(values, axis)


def _interpolate(output: ov.Output) -> _Apply:
    facts, size = output.get_node().get_attributes(), list(output.get_shape())[2:]
    if facts["mode"] == "nearest" and facts["coordinate_transformation_mode"] == "asymmetric":
        return lambda values: functional.interpolate(values[0], size, mode="nearest")
    if facts["mode"] == "linear_onnx" and facts["coordinate_transformation_mode"] == "align_corners":
        return lambda values: functional.interpolate(values[0], size, mode="bilinear", align_corners=True)
    raise DataError(f"interpolation {facts['mode']} with {facts['coordinate_transformation_mode']} is not known here")


# By operation: what makes its counterpart, and how many of its inputs, from the first, are tensors to calculate.
_OPERATIONS: dict[str, tuple[Callable[[ov.Output], _Apply], int]] = {
    "Convolution": (_convolution, 2),
    "GroupConvolution": (_convolution, 2),
    "Add": (lambda _: lambda values: values[0] + values[1], 2),
    "Multiply": (lambda _: lambda values: values[0] * values[1], 2),
    "Relu": (lambda _: lambda values: values[0].relu(), 1),
    "Concat": (_concat, 2**31),
    "Split": (_split, 1),
    "Reshape": (_reshape, 1),
    "Transpose": (_transpose, 1),
    "Interpolate": (_interpolate, 1),
}
