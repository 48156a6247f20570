"""A converted graph compared with the network number by number, before anybody calls it the same network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from transpose_sdk.convert.onnx import OUTPUT_NAMES, DeployedNetwork
from transpose_sdk.convert.runners import run_graph
from transpose_sdk.errors import BundleError
from transpose_sdk.models import TransPose

# Weights are rounded to FP16, 1e-3 relative a weight; OpenVINO's Winograd convolutions add as much again.
PARITY_LIMIT = 2e-2
BATCHES = (1, 3)  # a graph traced with one crop, or with two, may have kept that number


def compare(model: TransPose, graph: Path, limit: float | None = PARITY_LIMIT) -> dict[str, float]:
    """Largest difference of each output between the network and a graph, relative to the largest value.

    Args:
        model: The network.
        graph: An .xml or .onnx.
        limit: What is allowed; None for a quantized graph, whose gate is another one: then only the shapes count.

    Raises:
        BundleError: A difference is above the limit, or the graph does not take one and three crops.
    """
    network = DeployedNetwork(model)
    infer = run_graph(graph)
    worst = dict.fromkeys(OUTPUT_NAMES, 0.0)
    for batch in BATCHES:
        crops = probe_crops(batch, model.input_size)
        with torch.inference_mode():
            expected = network(torch.from_numpy(crops))
        try:
            answers = infer(crops)
        except Exception as error:
            raise BundleError(f"{graph.name} does not run with {batch} crops ({error}): report it") from error
        for output, answer, reference in zip(OUTPUT_NAMES, answers, expected, strict=True):
            wanted = reference.numpy()
            if answer.shape != wanted.shape:
                raise BundleError(f"{graph.name} gives {output} {answer.shape} for {batch} crops, not {wanted.shape}")
            worst[output] = max(worst[output], float(np.abs(answer - wanted).max() / np.abs(wanted).max()))
    if limit is not None and not max(worst.values()) <= limit:
        raise BundleError(f"{graph.name} is not the network it came from: relative differences {worst}")
    return {output: round(value, 6) for output, value in worst.items()}


def probe_crops(count: int, input_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Smooth random images, (count, H, W, 3): more like a photo than noise, and the same on every machine."""
    rng = np.random.default_rng(0)
    height, width = input_size
    coarse = rng.integers(0, 256, (count, height // 16 + 1, width // 16 + 1, 3)).astype(np.float32)
    y, x = np.arange(height) / 16, np.arange(width) / 16
    top, left = y.astype(int), x.astype(int)
    down, right = (y - top)[:, None, None], (x - left)[:, None]
    rows = coarse[:, top] * (1 - down) + coarse[:, np.minimum(top + 1, height // 16)] * down
    fine = rows[:, :, left] * (1 - right) + rows[:, :, np.minimum(left + 1, width // 16)] * right
    return fine.astype(np.uint8)
