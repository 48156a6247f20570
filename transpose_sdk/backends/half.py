"""An ONNX graph in FP16, with LayerNorm and softmax left in FP32, for TensorRT.

TensorRT from 10 on takes every tensor's type from the graph ("strongly typed"; from 11 on there is no other way), so
the types are written into it here. LayerNorm sums squares and softmax sums exponentials: in FP16 they overflow or
round away what tells one cell from another, and TensorRT's own choice of types has broken networks like these.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from transpose_sdk.errors import BackendError, first_line

KEPT = frozenset({"LayerNormalization", "Softmax"})
# Inputs that ONNX defines as FP32 whatever the data are: roi and scales.
EXACT_INPUTS = {"Resize": (1, 2)}
QDQ_OPSET = 19  # the first in which QuantizeLinear and DequantizeLinear take FP16

FP16, FP32 = TensorProto.FLOAT16, TensorProto.FLOAT


def to_half(model: ModelProto) -> ModelProto:
    """Write FP16 into a graph.

    Inputs and outputs keep their types. What comes before the first convolution stays FP32: a pixel's value less the
    mean needs more than FP16's 11 bits.

    Args:
        model: FP32, perhaps with QuantizeLinear and DequantizeLinear.

    Returns:
        A new model.

    Raises:
        BackendError: The graph has a form that this does not know.
    """
    result = cast_pixels(model)
    graph = result.graph
    writer = _Writer(graph, _float_tensors(result))
    pixels = _before_convolutions(graph)
    for node in graph.node:
        writer.write(node, FP32 if node.op_type in KEPT or pixels & {*node.output} else FP16)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(writer.nodes)
    used = {name for node in writer.nodes for name in node.input}
    constants = [tensor for tensor in (*graph.initializer, *writer.constants) if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(constants)
    for opset in result.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, QDQ_OPSET)
    try:
        onnx.checker.check_model(result, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = first_line(error)
        raise BackendError(f"the ONNX graph cannot be written in FP16 ({reason}): use precision='fp32'") from error
    return result


def cast_pixels(model: ModelProto) -> ModelProto:
    """Cast uint8 inputs to FP32 before anything else, because TensorRT does nothing else to them; gives a copy."""
    result = ModelProto()
    result.CopyFrom(model)
    for value in result.graph.input:
        if value.type.tensor_type.elem_type != TensorProto.UINT8:
            continue
        name = f"{value.name}_fp32"
        for node in result.graph.node:
            for index, given in enumerate(node.input):
                if given == value.name:
                    node.input[index] = name
        result.graph.node.insert(0, helper.make_node("Cast", [value.name], [name], to=FP32))
    del result.graph.value_info[:]  # the types of what follows have changed
    return result


class _Writer:
    """Writes nodes in one type or the other, with casts between them."""

    def __init__(self, graph: GraphProto, floats: set[str]) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._floats = floats
        self._outputs = {value.name for value in graph.output}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        # Where a tensor of the source is found in a type.
        given = [*self._initializers, *(value.name for value in graph.input)]
        self._names: dict[tuple[str, int], str] = {(name, FP32): name for name in given}

    def write(self, node: NodeProto, wanted: int) -> None:
        copy = NodeProto()
        copy.CopyFrom(node)
        for index, name in enumerate(node.input):
            if name in self._floats:
                exact = index in EXACT_INPUTS.get(node.op_type, ())
                copy.input[index] = self._find(name, FP32 if exact else wanted)
        for attribute in copy.attribute:
            if wanted == FP16 and attribute.name == "to" and attribute.i == FP32:
                attribute.i = FP16
            if wanted == FP16 and attribute.name == "value" and attribute.t.data_type == FP32:
                attribute.t.CopyFrom(_half(attribute.t, attribute.t.name))
        self.nodes.append(copy)
        for index, name in enumerate(node.output):
            if name not in self._floats:
                continue
            self._names[name, wanted] = name
            if wanted == FP16 and name in self._outputs:
                copy.output[index] = self._names[name, FP16] = f"{name}_fp16"
                self.nodes.append(helper.make_node("Cast", [f"{name}_fp16"], [name], to=FP32))
                self._names[name, FP32] = name

    def _find(self, name: str, wanted: int) -> str:
        """The tensor in a type, which is made where it is not there yet."""
        if (name, wanted) not in self._names:
            other = f"{name}_{'fp16' if wanted == FP16 else 'fp32'}"
            if name in self._initializers:
                self.constants.append(_half(self._initializers[name], other))
            else:
                have = self._names[name, FP32 if wanted == FP16 else FP16]
                self.nodes.append(helper.make_node("Cast", [have], [other], to=wanted))
            self._names[name, wanted] = other
        return self._names[name, wanted]


def _half(tensor: TensorProto, name: str) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if np.isfinite(values).all() and not np.isfinite(half).all():
        raise BackendError(f"the constant {tensor.name} is too large for FP16: use precision='fp32'")
    return numpy_helper.from_array(half, name)


def _float_tensors(model: ModelProto) -> set[str]:
    """Names of all FP32 tensors."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.output, *graph.value_info]
    names = {value.name for value in values if value.type.tensor_type.elem_type == FP32}
    return names | {tensor.name for tensor in graph.initializer if tensor.data_type == FP32}


def _before_convolutions(graph: GraphProto) -> set[str]:
    """Tensors that are made from the graph's inputs without a convolution or a quantisation."""
    reached = {value.name for value in graph.input}
    for node in graph.node:
        if node.op_type not in ("Conv", "QuantizeLinear") and reached & {*node.input}:
            reached.update(node.output)
    return reached
