"""A checkpoint becomes a bundle: export, compare with the network it came from, write at once."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray

from transpose_sdk.bundle import SUFFIX, write_bundle
from transpose_sdk.convert.onnx import OUTPUT_NAMES, DeployedNetwork, export_onnx
from transpose_sdk.errors import BundleError, InputError
from transpose_sdk.models import TransPose, load_checkpoint
from transpose_sdk.skeletons import COCO17, MPII16, Skeleton

# Weights are rounded to FP16, 1e-3 relative a weight; OpenVINO's Winograd convolutions add as much again.
PARITY_LIMIT = 2e-2


def export_bundle(
    checkpoint: str | Path | TransPose,
    out: str | Path,
    *,
    name: str | None = None,
    skeleton: Skeleton | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Export a network to a bundle with an OpenVINO FP16 graph.

    Args:
        checkpoint: A checkpoint's file, or a network.
        out: The bundle's folder, NAME.tpose; one that is there is replaced once the new one is complete.
        name: The bundle's name; by default that of the folder.
        skeleton: What the keypoints are; by default COCO's for 17 and MPII's for 16.
        facts: More entries for bundle.json: licence, training, accuracy.

    Returns:
        The bundle's folder.

    Raises:
        CheckpointError: The checkpoint does not load.
        InputError: `out` has another suffix, or no skeleton is known for the number of keypoints.
        BundleError: The exported graph does not give the network's answers.
    """
    folder = Path(out)
    if folder.suffix != SUFFIX:
        raise InputError(f"a bundle's folder ends in {SUFFIX}, got {folder.name!r}: give for example tp_m{SUFFIX}")
    model = checkpoint if isinstance(checkpoint, TransPose) else load_checkpoint(checkpoint)
    skeleton = skeleton or _skeleton_for(model.keypoints)
    with tempfile.TemporaryDirectory() as temporary:
        files = Path(temporary)
        export_onnx(model, files / "graph.onnx")
        ov.save_model(ov.convert_model(files / "graph.onnx"), files / "model_fp16.xml", compress_to_fp16=True)
        parity = {"fp16": compare(model, files / "model_fp16.xml")}
        description = {
            "kind": "pose",
            "name": name or folder.stem,
            "network": model.variant.to_dict(),
            "skeleton": asdict(skeleton),
            "input_size": list(model.input_size),
            "input": {"layout": "NHWC", "type": "uint8", "channels": "BGR"},
            "outputs": list(OUTPUT_NAMES),
            "attention": {"grid": list(model.grid)},
            "graphs": {"fp16": {"path": "model_fp16.xml"}},
            "parity": parity,
            **(facts or {}),
        }
        write_bundle(folder, description, files)
    return folder


def compare(model: TransPose, graph: Path) -> dict[str, float]:
    """Largest difference of each output between the network and an OpenVINO graph, relative to the largest value.

    Args:
        model: The network.
        graph: OpenVINO's .xml.

    Raises:
        BundleError: A difference is above `PARITY_LIMIT`, or the graph does not take one and three crops.
    """
    network = DeployedNetwork(model)
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    worst = dict.fromkeys(OUTPUT_NAMES, 0.0)
    for batch in (1, 3):
        crops = probe_crops(batch, model.input_size)
        with torch.inference_mode():
            expected = network(torch.from_numpy(crops))
        answers = compiled(crops)
        for index, (output, reference) in enumerate(zip(OUTPUT_NAMES, expected, strict=True)):
            answer, wanted = answers[index], reference.numpy()
            if answer.shape != wanted.shape:
                raise BundleError(f"{graph.name} gives {output} {answer.shape} for {batch} crops, not {wanted.shape}")
            worst[output] = max(worst[output], float(np.abs(answer - wanted).max() / np.abs(wanted).max()))
    if max(worst.values()) > PARITY_LIMIT:
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


def _skeleton_for(keypoints: int) -> Skeleton:
    for skeleton in (COCO17, MPII16):
        if len(skeleton) == keypoints:
            return skeleton
    raise InputError(f"no skeleton of {keypoints} keypoints is known: give one as skeleton=")
