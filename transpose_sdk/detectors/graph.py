"""A detection network on OpenVINO: image in, boxes out, whatever the network."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import Layout, Type
from openvino import opset13 as ops
from openvino.preprocess import ColorFormat, PrePostProcessor

from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.checks.images import to_bgr
from transpose_sdk.detectors.detector import Detections, closed_error, require_own_process
from transpose_sdk.detectors.letterbox import Letterbox, to_image
from transpose_sdk.errors import DetectorError, last_line
from transpose_sdk.lifetime.process_end import is_forked, working

Decode = Callable[[list[NDArray[np.generic]], tuple[int, int], float], Detections]


@dataclass(frozen=True)
class InputFormat:
    """What a network wants to see, written into its graph.

    Attributes:
        layout: Axes of the network's own input.
        rgb: Whether it wants RGB; frames are BGR.
        mean: Subtracted from 0..255, in the network's channel order.
        scale: Divided by afterwards.
    """

    layout: str = "NCHW"
    rgb: bool = False
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class DetectorFormat:
    """How to run one kind of detection network.

    Attributes:
        kind: Its name.
        input_size: (height, width) of its input.
        preprocessing: To be written into the graph, or None where the graph takes uint8 NHWC BGR already.
        decode: (outputs, input size, score threshold) to boxes (n, 4) x1, y1, x2, y2 in input pixels and scores (n,),
            best first, without duplicates.
        centered: Whether the letterbox puts the image in the middle.
        padding: Grey level around it.
        stretched: Whether the image fills the input instead, whatever becomes of its aspect.
    """

    kind: str
    input_size: tuple[int, int]
    preprocessing: InputFormat | None
    decode: Decode
    centered: bool = False
    padding: int = 114
    stretched: bool = False


def read_graph(path: Path) -> ov.Model:
    """Read an OpenVINO, ONNX or TensorFlow Lite file.

    Raises:
        DetectorError: The file is missing or OpenVINO cannot read it.
    """
    if not path.is_file():
        raise DetectorError(
            f"there is no detector {path}; give 'person', 'frame', a bundle's folder or a network file."
        )
    try:
        return CORE.read_model(path)
    except RuntimeError as error:
        reason = last_line(error)
        raise DetectorError(
            f"OpenVINO cannot read the detector {path} ({reason}); give an .onnx, .tflite or .xml file that is whole."
        ) from error


def compile_graph(model: ov.Model, device: str, path: Path) -> ov.CompiledModel:
    """Compile for the shortest time of a single frame.

    Raises:
        DetectorError: The device is not there or cannot run the network.
    """
    devices = CORE.available_devices
    if device.partition(":")[0].partition(".")[0] not in {"AUTO", *(name.partition(".")[0] for name in devices)}:
        raise DetectorError(f"the device {device!r} is not there; use 'AUTO' or one of {', '.join(devices)}.")
    try:
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if device == "CPU":
            options["ENABLE_CPU_PINNING"] = False  # the pose network uses the same cores
        return CORE.compile_model(model, device, options)
    except RuntimeError as error:
        reason = last_line(error)
        raise DetectorError(f"{device} cannot run the detector {path} ({reason}); try the device 'CPU'.") from error


def take_images(model: ov.Model, recipe: DetectorFormat) -> ov.Model:
    """Fix the input size and move the conversion from (1, H, W, 3) uint8 BGR into the graph."""
    wanted = recipe.preprocessing
    height, width = recipe.input_size
    if wanted is None:
        model.reshape([1, height, width, 3])
        return model
    if len(model.inputs) == 2:
        _answer_in_input_pixels(model, height, width)
    model.reshape([1, 3, height, width] if wanted.layout == "NCHW" else [1, height, width, 3])
    steps = PrePostProcessor(model)
    entry = steps.input()
    entry.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC")).set_color_format(ColorFormat.BGR)
    entry.model().set_layout(Layout(wanted.layout))
    entry.preprocess().convert_element_type(Type.f32)
    if wanted.rgb:
        entry.preprocess().convert_color(ColorFormat.RGB)
    entry.preprocess().mean(list(wanted.mean)).scale(list(wanted.scale))
    return steps.build()


def _answer_in_input_pixels(model: ov.Model, height: int, width: int) -> None:
    """Tell a DETR, which asks how large the image was, the size of its input, once and for all."""
    asks = model.inputs[1].get_node()
    size = ops.constant(np.array([[width, height]], np.int64))
    for reader in asks.output(0).get_target_inputs():
        reader.replace_source_output(size.output(0))
    model.remove_parameter(asks)


class GraphDetector:
    """A compiled detection network behind a letterbox; see `Detector`. Safe to call from several threads.

    Args:
        name: What to call it.
        compiled: The network, (1, H, W, 3) uint8 BGR in.
        recipe: How its outputs become boxes.
        score_threshold: Lowest score of a person.
    """

    def __init__(self, name: str, compiled: ov.CompiledModel, recipe: DetectorFormat, score_threshold: float) -> None:
        self.name = name
        self._request: ov.InferRequest | None = compiled.create_infer_request()
        self._recipe = recipe
        self._threshold = score_threshold
        self._letterbox = Letterbox(recipe.input_size, recipe.centered, recipe.padding, recipe.stretched)
        self._process = os.getpid()
        self._lock = threading.Lock()  # one canvas and one request, of whose outputs the boxes are made in place
        self(np.zeros((*recipe.input_size, 3), np.uint8))  # compiles the numba parts and touches the buffers

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """Boxes and scores of the people in an image; arguments and errors as of every `Detector`."""
        image = to_bgr(image)
        require_own_process(self.name, self._process)
        with working(), self._lock:
            if self._request is None:
                raise closed_error(self.name)
            scale, offset = self._letterbox.fit(image)
            results = self._request.infer({0: self._letterbox.canvas}, share_inputs=True, share_outputs=True)
            boxes, scores = self._recipe.decode(
                [results[i] for i in range(len(results))], self._recipe.input_size, self._threshold
            )
        boxes = to_image(boxes, scale, offset, (image.shape[0], image.shape[1]))
        visible = (boxes[:, 2] >= 1) & (boxes[:, 3] >= 1)
        return boxes[visible], np.ascontiguousarray(scores[visible], np.float32)

    def close(self) -> None:
        """Let go of the network; harmless when called again."""
        if is_forked(self._process):
            return  # nothing of it is here
        with self._lock:
            self._request = None


def output_shapes(model: ov.Model) -> Sequence[tuple[int, ...]]:
    """Shapes of the outputs, -1 where an axis is free."""
    return [tuple(axis.get_length() if axis.is_static else -1 for axis in out.partial_shape) for out in model.outputs]
