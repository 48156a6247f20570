"""A network and its graphs as plain functions, run on the CPU to compare them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from transpose_sdk.backend import Arrays, Outputs
from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.errors import MissingDependencyError
from transpose_sdk.models import TransPose
from transpose_sdk.models.deployed import OUTPUT_NAMES, DeployedNetwork

Infer = Callable[[NDArray[np.uint8]], Arrays]  # of (N, H, W, 3) uint8 BGR crops


def run_network(model: TransPose) -> Infer:
    """The FP32 network in PyTorch."""
    network = DeployedNetwork(model)

    def infer(crops: NDArray[np.uint8]) -> Arrays:
        with torch.inference_mode():
            return Outputs(*(output.numpy() for output in network(torch.from_numpy(crops))))

    return infer


def run_graph(path: Path) -> Infer:
    """A graph: .xml in OpenVINO, .onnx in ONNX Runtime.

    What is not INT8 runs in FP32, so that the answer is the same on CPUs with and without bfloat16.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
    """
    return _run_openvino(path) if path.suffix == ".xml" else _run_onnx(path)


def _run_openvino(path: Path) -> Infer:
    compiled = CORE.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def infer(crops: NDArray[np.uint8]) -> Arrays:
        answers = compiled(crops)
        return Outputs(*(np.array(answers[name]) for name in OUTPUT_NAMES))

    return infer


def _run_onnx(path: Path) -> Infer:
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependencyError(
            "an ONNX graph is run before it counts, which needs onnxruntime: pip install 'transpose-sdk[convert]'"
        ) from None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def infer(crops: NDArray[np.uint8]) -> Arrays:
        return Outputs(*session.run(list(OUTPUT_NAMES), {"crops": crops}))

    return infer
