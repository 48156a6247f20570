"""From a checkpoint's averaged weights to the bundle that ships."""

from __future__ import annotations

import json
import pickle
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import openvino as ov
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from transpose_sdk.bundles.writer import write_bundle
from transpose_sdk.detectors import PersonDetector
from transpose_sdk.errors import CheckpointError, InputError
from transpose_sdk.models.checkpoint import half_kernels
from transpose_sdk.models.picodet import PicoDet
from transpose_sdk.models.preprocessing import Preprocessing

from .config import DetectorConfig
from .evaluation import LOWEST_SCORE, evaluate, read_images
from .loop import load_weights

_GRAPH = "model_fp16.xml"
_WEIGHTS = "checkpoint.safetensors"  # to go on from
_RECIPE = (
    "batch_size",
    "learning_rate",
    "backbone_rate",
    "frozen_stages",
    "canvases",
    "zoom",
    "color",
    "mosaic",
    "seed",
)  # what of a run's options the bundle tells
_DATA = (
    "COCO train2017 persons (annotations CC BY 4.0, images under their Flickr terms), LSP and LSP-Extended (research; "
    "Johnson and Everingham 2010, 2011), Basque pelota (none stated), clothing-co-parsing (Apache-2.0 repository), "
    "INRIA negatives (research); boxes by COCO's annotators, elsewhere by RTMDet-nano (Apache-2.0)"
)
_ORIGIN = (
    "PicoDet-S for pedestrians of PaddleDetection (https://github.com/PaddlePaddle/PaddleDetection), Copyright (c) "
    "PaddlePaddle Authors, Apache-2.0; read into our module and trained further"
)


class _Graph(nn.Module):
    """Frames (1, H, W, 3) uint8 BGR to scores (1, A) and sides (1, A, 4, 8)."""

    def __init__(self, network: PicoDet) -> None:
        super().__init__()
        self.preprocessing = Preprocessing()
        self.network = network

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network(self.preprocessing(frames))
        return maps.scores(), maps.sides


def load_average(checkpoint: Path) -> tuple[PicoDet, dict[str, Any]]:
    """The averaged weights of a training checkpoint, and how far it had come.

    Raises:
        CheckpointError: The file is no checkpoint of this trainer.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network = PicoDet()
        network.load_state_dict(state["average"])
    except (OSError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{checkpoint} is no checkpoint of the detector's trainer ({type(error).__name__}); give last.pt of a run."
        ) from error
    return network.eval(), {"steps": state["step"], "minutes": round(state["seconds"] / 60, 1)}


def export(
    checkpoint: Path,
    folder: Path,
    val_annotations: Path,
    val_images: Path,
    keep: float = 0.0,
    score_threshold: float | None = None,
) -> dict[str, Any]:
    """Write a detector bundle and measure it; `config.json` must lie beside the checkpoint.

    Args:
        checkpoint: `last.pt` of a run.
        folder: Of the bundle; it should end in .tpose.
        val_annotations: COCO-format file to measure on.
        val_images: Its folder.
        keep: Share, below 1, of the weights that the run went on from (its `init`) in the mean that is exported: often
            better than either (Wortsman et al., Model soups, ICML 2022).
        score_threshold: To ship with; None takes the one that `evaluate` recommends, which is too high where the
            annotations leave people out.

    Returns:
        What the bundle says of itself.

    Raises:
        CheckpointError: The checkpoint cannot be used, or there is nothing to keep.
        InputError: `keep` is no such share.
    """
    if not 0 <= keep < 1:
        raise InputError(f"keep={keep}: give a share from 0 to below 1")
    network, training = load_average(checkpoint)
    config = DetectorConfig.load(checkpoint.with_name("config.json"))
    if keep:
        _move_towards(network, config.init, keep)
        training["kept_of_before"] = keep
    truth, images = read_images(val_annotations, val_images)
    size = config.input_size
    with tempfile.TemporaryDirectory() as temporary:
        graph = Path(temporary) / _GRAPH
        ov.save_model(trace(network, size), graph, compress_to_fp16=True)
        save_file(half_kernels(network.state_dict()), graph.with_name(_WEIGHTS))
        detector = PersonDetector("person", graph, input_size=size, device="CPU", score_threshold=LOWEST_SCORE)
        scores = evaluate(detector, truth, images)
        detector.close()
        description: dict[str, Any] = {
            "kind": "detector",
            "name": "person",
            "input_size": list(size),
            "score_threshold": round(scores.threshold if score_threshold is None else score_threshold, 2),
            "graphs": {"fp16": {"path": _GRAPH}, "torch": {"path": _WEIGHTS}},
            "licence": "MIT for what was changed, Apache-2.0 for what it began as; the training data has its own terms",
            "origin": _ORIGIN,
            "training_data": _DATA,
            "training": {
                **training,
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
                "init": Path(config.init).name,
                **{name: getattr(config, name) for name in _RECIPE},
                **_before(config.init),
            },
            "measured": {
                "data": f"{val_annotations.name}, {len(images)} images",
                **{name: round(value, 4) for name, value in asdict(scores).items()},
            },
        }
        write_bundle(folder, description, Path(temporary))
    return description


def _move_towards(network: PicoDet, init: str, share: float) -> None:
    """Make a network, in place, the mean of itself and the one that its run went on from."""
    if not init:
        raise CheckpointError("this run went on from no other weights: nothing of them can be kept")
    before = PicoDet()
    load_weights(before, Path(init))
    with torch.no_grad():
        for value, earlier in zip(network.state_dict().values(), before.state_dict().values(), strict=True):
            if value.is_floating_point():
                value.lerp_(earlier, share)


def _before(init: str) -> dict[str, Any]:
    """How the weights were trained that a run went on from, where those are a bundle's."""
    described = Path(init).parent / "bundle.json"
    return {"before": json.loads(described.read_text())["training"]} if init and described.is_file() else {}


def trace(network: PicoDet, size: tuple[int, int]) -> ov.Model:
    """The network as a graph of free height and width, so that the detector can turn its input for portrait frames."""
    graph = ov.convert_model(
        _Graph(network).eval(),
        example_input=torch.zeros(1, *size, 3, dtype=torch.uint8),
        input=ov.PartialShape([1, -1, -1, 3]),
    )
    graph.inputs[0].get_tensor().set_names({"frames"})
    for output, name in zip(graph.outputs, ("scores", "sides"), strict=True):
        output.get_tensor().set_names({name})
    return graph
