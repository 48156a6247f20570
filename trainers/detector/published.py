"""PicoDet-S's published weights, from their OpenVINO graph into our module."""

from __future__ import annotations

from pathlib import Path

import openvino as ov
import torch
from torch import Tensor, nn

from transpose_sdk.detectors.graph import read_graph
from transpose_sdk.errors import CheckpointError
from transpose_sdk.models.picodet import PicoDet

_NEVER_NORMALISED = ("squeeze", "excite", "gate", "person", "sides")  # by the last part of their names


def read_picodet(path: Path) -> dict[str, Tensor]:
    """Weights of a `PicoDet` from PaddleDetection's PicoDet-S of one class, of any input size.

    The graph names what adds a convolution's bias after the layer that it was: BatchNormalization_k or Add_k, where k
    counts as Paddle built them. Our layers are registered in that order too, and every shape must fit.

    Args:
        path: The .xml, its .bin beside it.

    Raises:
        CheckpointError: The graph is another network.
        DetectorError: The file cannot be read.
    """
    model = PicoDet()
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    plain = [layer for name, layer in layers if name.endswith(_NEVER_NORMALISED)]
    normalised = [layer for name, layer in layers if not name.endswith(_NEVER_NORMALISED)]
    given = _convolutions(read_graph(path))
    for kind, ours in (("BatchNormalization", normalised), ("Add", plain)):
        theirs = [given[key] for key in sorted(given) if key[0] == kind]
        if [weight.numel() for weight, _ in theirs] != [layer.weight.numel() for layer in ours]:
            raise CheckpointError(
                f"{path} is no PicoDet-S of one class: it has {len(theirs)} convolutions with {kind}, expected "
                f"{len(ours)} of given sizes; give picodet_s_192_person.xml or picodet_s_320_person.xml"
            )
        with torch.no_grad():
            for layer, (weight, bias) in zip(ours, theirs, strict=True):
                layer.load_state_dict({"weight": weight.reshape(layer.weight.shape), "bias": bias.flatten()})
    return model.state_dict()


def _convolutions(graph: ov.Model) -> dict[tuple[str, int], tuple[Tensor, Tensor]]:
    """Weight and bias of every convolution, by kind and number of what adds the bias."""
    found = {}
    for node in graph.get_ops():
        if node.get_type_name() not in ("Convolution", "GroupConvolution"):
            continue
        addition = next(iter(node.output(0).get_target_inputs())).get_node()
        kind, _, number = addition.get_friendly_name().partition("_")
        if addition.get_type_name() == "Add" and number.isdigit():
            found[kind, int(number)] = _constant(node.input_value(1)), _constant(addition.input_value(1))
    return found


def _constant(value: ov.Output) -> Tensor:
    """A constant in float32; FP16 ones stand before a conversion."""
    node = value.get_node()
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return torch.from_numpy(node.get_data().astype("float32"))
