"""torch to ONNX: uint8 crops in, heatmaps and the last attention layer's queries and keys out."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from transpose_sdk.models import TransPose
from transpose_sdk.models.fold_shuffles import fold_shuffles
from transpose_sdk.models.preprocessing import Preprocessing
from transpose_sdk.models.transpose import TransPoseL

OUTPUT_NAMES = ("heatmaps", "queries", "keys")
OPSET = 18  # from 17 on, a LayerNorm is one node


class DeployedNetwork(nn.Module):
    """A network with its preprocessing, as it is exported.

    Args:
        model: The pose network; it is put into evaluation mode.
    """

    def __init__(self, model: TransPose) -> None:
        super().__init__()
        self.preprocessing = Preprocessing()
        self.model = model.eval()

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Map (N, H, W, 3) uint8 BGR crops to raw heatmaps, queries and keys."""
        return self.model.forward_with_attention(self.preprocessing(crops)).given


def export_onnx(model: TransPose, path: Path) -> None:
    """Write an ONNX graph with a dynamic batch.

    Args:
        model: The pose network.
        path: File to write.
    """
    network = DeployedNetwork(fold_shuffles(model) if isinstance(model, TransPoseL) else model)
    # Traced with two crops: a graph traced with one silently stays at one.
    crops = torch.zeros((2, *model.input_size, 3), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=1024)
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (crops,),
                path,
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=["crops"],
                output_names=list(OUTPUT_NAMES),
                dynamic_shapes={"crops": {0: batch}},
            )
    finally:
        exporter_log.setLevel(level)
