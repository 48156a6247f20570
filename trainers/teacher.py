"""Distillation: a stronger network looks at the same crops and tells the student its heatmaps and joints.

The loss becomes (1 - `teacher_heatmaps`) of the published one on the labels, and `teacher_heatmaps` of the same formula
on the teacher's heatmaps, where a joint weighs the teacher's peak: what it is not sure of counts little. Joints that
nobody labelled get the teacher's position, with a weight of `teacher_joints` times its score.

The teacher may look at the mirrored crop too (`teacher_flip`): TP-L's mean of both has two points of AP more, and the
student learns it without looking twice.

A teacher may be a network of somebody else's, as an OpenVINO graph: PP-TinyPose taught TP-M16. It runs in OpenVINO on a
CPU, and in torch on a GPU, see `trainers.graph_network`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from transpose_sdk.attention import HEATMAP_STRIDE
from transpose_sdk.backends.choose import open_backend
from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.bundles.bundle import open_bundle
from transpose_sdk.decoding import decode_dark
from transpose_sdk.errors import DataError, last_line
from transpose_sdk.models import load_checkpoint
from transpose_sdk.models.preprocessing import Preprocessing
from transpose_sdk.skeletons import Skeleton

from .data.targets import heatmap_loss
from .graph_network import GraphNetwork

logger = logging.getLogger(__name__)

_WANTED = "give an OpenVINO graph of static shape that maps one (1, 3, H, W) image to (1, K, h, w) heatmaps"


class Teacher:
    """A network that is not trained.

    Args:
        source: A checkpoint, or a bundle's name or folder, or any OpenVINO graph (.xml), see `_foreign`. A bundle's
            checkpoint teaches on a GPU, and on a CPU its graph for OpenVINO, in half the time.
        device: Where to run it.
        skeleton: What the student's heatmaps are.
        precision: As of a recipe.
        flip: Whether it looks at the mirrored crop too, and gives the mean.

    Raises:
        BundleError: There is no such bundle, or it is damaged.
        CheckpointError: The checkpoint cannot be read.
        DataError: It knows another number of joints, or it is no graph that can teach.
    """

    def __init__(
        self, source: str, device: torch.device, skeleton: Skeleton, precision: str = "fp32", flip: bool = False
    ) -> None:
        self._mirrored = skeleton.mirrored if flip else None
        self._type = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        path = Path(source)
        self._infer: Callable[[Tensor], Tensor]
        if path.suffix == ".xml":
            self._infer, self.input_size, known = self._foreign(path, device)
        elif path.is_file():
            self._infer, self.input_size, known = self._network(path, device)
        else:
            bundle = open_bundle(source, "pose")
            if "torch" in bundle.graphs and device.type != "cpu":
                self._infer, self.input_size, known = self._network(bundle.graph("torch").path, device)
            else:
                # Beside a network that trains on one thread, one request. INT8 would teach its own errors.
                backend = open_backend(bundle, precision="fp16", requests=torch.get_num_threads())
                self._infer = lambda crops: torch.from_numpy(backend.infer(crops.cpu().numpy()).heatmaps).to(device)
                self.input_size, known = bundle.input_size, len(bundle.skeleton)
        if known != len(skeleton):
            raise DataError(
                f"the teacher {source} knows {known} joints and the network {len(skeleton)}: "
                "give a teacher of the same skeleton"
            )

    def _network(self, path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], tuple[int, int], int]:
        model = load_checkpoint(path).eval().requires_grad_(False).to(device)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        preprocessing = Preprocessing().to(device)

        def infer(crops: Tensor) -> Tensor:
            with torch.autocast(device.type, self._type or torch.bfloat16, enabled=self._type is not None):
                heatmaps: Tensor = model(preprocessing(crops).contiguous(memory_format=torch.channels_last))
            return heatmaps.float()

        return infer, model.input_size, model.keypoints

    def _foreign(self, path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], tuple[int, int], int]:
        """An OpenVINO graph of one (1, 3, H, W) RGB input, normalised as ours; its first 4-d output is the heatmaps.

        Networks of others speak HRNet's geometry.
        """
        try:
            graph = CORE.read_model(path)
            (size,) = [tuple(value.shape) for value in graph.inputs]
            maps = [output for output in graph.outputs if len(output.shape) == 4]
        except (RuntimeError, ValueError) as error:
            raise DataError(f"{path} cannot teach ({last_line(error)}): {_WANTED}") from error
        if len(size) != 4 or size[:2] != (1, 3) or not maps:
            raise DataError(f"{path} takes {size} and gives {len(maps)} outputs with four dimensions: {_WANTED}")
        infer = None
        if device.type == "cuda":
            try:
                infer = self._graph_in_torch(maps[0], device)
            except DataError as error:
                logger.warning("%s teaches from the CPU, for which the GPU may have to wait: %s", path, error)
        try:
            infer = infer or self._graph_on_cpu(graph, maps[0], device)
        except RuntimeError as error:
            raise DataError(f"{path} cannot teach ({last_line(error)}): {_WANTED}") from error
        made = infer
        return lambda crops: hrnet_to_dark(made(crops)), (size[2], size[3]), maps[0].shape[1]

    def _graph_in_torch(self, output: ov.Output, device: torch.device) -> Callable[[Tensor], Tensor]:
        # A network that only answers is nearer to float32 in float16 than in bfloat16.
        kind = torch.float32 if self._type is None else torch.float16
        network, preprocessing = GraphNetwork(output).to(device, kind), Preprocessing().to(device)
        return lambda crops: network(preprocessing(crops).to(kind)).float()

    def _graph_on_cpu(self, graph: ov.Model, output: ov.Output, device: torch.device) -> Callable[[Tensor], Tensor]:
        # Beside a network that trains, as many threads as that one has; processes would share cores otherwise.
        options: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if self._type is torch.bfloat16 else "f32",
        }
        compiled, place = CORE.compile_model(graph, "CPU", options), graph.outputs.index(output)
        preprocessing = Preprocessing()

        def infer(crops: Tensor) -> Tensor:
            images = preprocessing(crops.cpu()).contiguous().numpy()
            answers = [compiled(image[None])[place].copy() for image in images]
            return torch.from_numpy(np.concatenate(answers)).to(device)

        return infer

    @torch.no_grad()
    def heatmaps(self, crops: Tensor) -> Tensor:
        """What it sees in crops of the student.

        Args:
            crops: (N, H, W, 3) uint8 BGR of any size.

        Returns:
            (N, K, h, w) float32, on the grid of its own input size.
        """
        size = (crops.shape[1], crops.shape[2])
        if size != self.input_size:
            images = crops.permute(0, 3, 1, 2).float()
            resized = resample(images, self.input_size, pixel_ratio(size, self.input_size))
            crops = resized.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        heatmaps = self._infer(crops)
        if self._mirrored is None:
            return heatmaps
        # Corners of crop and heatmap fall together, so that a mirrored heatmap needs no shift.
        return 0.5 * (heatmaps + self._infer(crops.flip(2).contiguous())[:, self._mirrored].flip(3))

    def on_grid(self, heatmaps: Tensor, size: tuple[int, int]) -> Tensor:
        """Its heatmaps (N, K, h, w) on the grid (height, width) of the student's."""
        own = (heatmaps.shape[2], heatmaps.shape[3])
        return heatmaps if own == size else resample(heatmaps, size, 1 / self._heatmap_ratio(own, size))

    def joints(self, heatmaps: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Its joints (N, K, 2) in px of the student's heatmaps of (height, width), and their scores (N, K)."""
        coords, scores = decode_dark(np.ascontiguousarray(heatmaps.cpu().numpy()))
        own = (heatmaps.shape[2], heatmaps.shape[3])
        middle, other = (np.array((width - 1, height - 1)) / 2 for height, width in (own, size))
        placed = (coords - middle) * self._heatmap_ratio(own, size) + other
        return (
            torch.from_numpy(placed.astype(np.float32)).to(heatmaps.device),
            torch.from_numpy(scores).to(heatmaps.device),
        )

    def _heatmap_ratio(self, own: tuple[int, int], size: tuple[int, int]) -> float:
        """Px of the student's heatmap for one of the teacher's."""
        student = (HEATMAP_STRIDE * size[0], HEATMAP_STRIDE * size[1])
        # A heatmap's (w - 1) steps span the crop's (W - 1), as in `transpose_sdk.crops.crop_affines`.
        to_crop = (self.input_size[1] - 1) / (own[1] - 1)
        to_student = (size[1] - 1) / (student[1] - 1)
        return to_crop * pixel_ratio(student, self.input_size) * to_student


def hrnet_to_dark(heatmaps: Tensor) -> Tensor:
    """Resample heatmaps of HRNet's geometry, crop px = 4 x heatmap px, to ours, whose corners are the crop's.

    Read as they are, they would be off by up to three quarters of a cell at the far edges.

    Args:
        heatmaps: (N, K, h, w) of crops of (4 h, 4 w).
    """
    height, width = heatmaps.shape[2:]
    axes = []
    for size in (height, width):
        cells = torch.arange(size, device=heatmaps.device)
        step = (HEATMAP_STRIDE * size - 1) / (size - 1) / HEATMAP_STRIDE
        axes.append(cells * step / (size - 1) * 2 - 1)
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack((columns, rows), dim=-1).expand(len(heatmaps), -1, -1, -1)
    return grid_sample(heatmaps, grid, align_corners=True, padding_mode="border")


def pixel_ratio(student: tuple[int, int], teacher: tuple[int, int]) -> float:
    """Px of a student's crop for one of the teacher's, so that the whole crop is seen; sizes are (height, width)."""
    return max((student[0] - 1) / (teacher[0] - 1), (student[1] - 1) / (teacher[1] - 1))


def resample(maps: Tensor, size: tuple[int, int], step: float) -> Tensor:
    """Sample maps about their middle, bilinear, zero outside.

    Args:
        maps: (N, C, H, W).
        size: (height, width) to make.
        step: Px of `maps` for one px of the result.
    """
    height, width = maps.shape[2:]
    theta = maps.new_zeros((len(maps), 2, 3))
    theta[:, 0, 0] = step * (size[1] - 1) / (width - 1)
    theta[:, 1, 1] = step * (size[0] - 1) / (height - 1)
    grid = affine_grid(theta, [len(maps), maps.shape[1], *size], align_corners=True)
    return grid_sample(maps, grid, align_corners=True)


def taught_joints(
    joints: Tensor, weights: Tensor, taught: tuple[Tensor, Tensor], weight: float, min_score: float
) -> tuple[Tensor, Tensor]:
    """Fill in the teacher's joints where no other is known.

    Args:
        joints: (N, K, 2) in px of the heatmap.
        weights: (N, K), 0 for unknown joints.
        taught: The teacher's joints and scores, of the same shapes.
        weight: Of a joint with score 1.
        min_score: Joints of the teacher below it stay unknown.
    """
    places, scores = taught
    missing = (weights == 0) & (scores >= min_score)
    return torch.where(missing[..., None], places, joints), torch.where(missing, weight * scores.clamp(max=1), weights)


def distillation_loss(heatmaps: Tensor, taught: Tensor) -> Tensor:
    """The published loss with the teacher's heatmaps (N, K, H, W) as targets and its peaks as weights."""
    return heatmap_loss(heatmaps, taught, taught.amax((2, 3)).clamp(0, 1))
