"""How many of the 8 bits the weights of quantized graphs take."""

from __future__ import annotations

import numpy as np
import openvino as ov


def widest_weights(model: ov.Model) -> list[int]:
    """Largest magnitude of each layer's INT8 weights; not of depthwise convolutions, whose products are not paired."""
    nodes = model.get_ordered_ops()
    depthwise = {
        _constant(node.input_value(1).get_node()) for node in nodes if node.get_type_name() == "GroupConvolution"
    }
    return [
        int(np.abs(node.get_data().astype(int)).max())
        for node in nodes
        if node.get_type_name() == "Constant"
        and node.get_element_type() == ov.Type.i8
        and node.get_friendly_name() not in depthwise
    ]


def _constant(node: ov.Node) -> str:
    """Name of the constant behind conversions, scales and shapes."""
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return str(node.get_friendly_name())
