"""PyTorch on NVIDIA GPUs: FP16, channels last, fused attention, one CUDA graph for each batch size.

The weights are those of the bundle's checkpoint.safetensors, which holds tensors and nothing that could run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from transpose_sdk.backends.fixed_batches import SIZES, FixedBatchBackend, FixedBatches
from transpose_sdk.backends.nvidia_driver import driver_version
from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.errors import BackendError, first_line
from transpose_sdk.models import TransPose, load_checkpoint
from transpose_sdk.models.preprocessing import Preprocessing

GRAPH = "torch"
DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


class TorchBackend(FixedBatchBackend):
    """A bundle's checkpoint, run by PyTorch.

    Args:
        bundle: A pose bundle that keeps its checkpoint.
        device: "CUDA", one of several such as "CUDA:1", or "CPU": for comparison, in FP32, without graphs.
        precision: "fp16" or "fp32"; None takes fp16 on a GPU and fp32 on a CPU.
        batches: Batch sizes to prepare; each takes GPU memory.

    Raises:
        BackendError: The device is not there, lacks the precision, or has too little memory.
        BundleError: The bundle keeps no checkpoint, or it is damaged.
        CheckpointError: The checkpoint does not fit the network it describes.
    """

    name = "torch"

    def __init__(
        self,
        bundle: Bundle,
        device: str = "CUDA",
        precision: str | None = None,
        batches: Sequence[int] = SIZES,
    ) -> None:
        place = find_torch_device(device)
        self.device = str(place).upper()
        self.runtime = f"PyTorch {torch.__version__}"
        if place.type == "cuda":
            cudnn, gpu = torch.backends.cudnn.version(), torch.cuda.get_device_name(place)
            self.runtime += f", cuDNN {cudnn}, {gpu}, driver {driver_version()}"
        self.precision = precision or ("fp32" if place.type == "cpu" else "fp16")
        if self.precision not in DTYPES or (place.type == "cpu" and self.precision != "fp32"):
            offered = "fp32" if place.type == "cpu" else ", ".join(DTYPES)
            raise BackendError(f"PyTorch on {self.device} has no precision {precision!r}: use {offered}")
        self.input_size = bundle.input_size
        self.has_attention = True
        model = load_checkpoint(bundle.graph(GRAPH).path)
        try:
            network = _DeviceNetwork(model, DTYPES[self.precision]).to(place)
            # Recorded graphs keep the kernels that won the benchmark. TF32 would leave FP32 10 bits of mantissa.
            with (
                torch.inference_mode(),
                torch.cuda.device(place) if place.type == "cuda" else nullcontext(),
                torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False),
            ):
                fixed = FixedBatches(network, batches, self.input_size, place)
        except RuntimeError as error:
            raise BackendError(
                f"{self.device} cannot run {bundle.name} in {self.precision} ({first_line(error)}): "
                "free its memory, or use device='CPU'"
            ) from error
        super().__init__(fixed)


class _DeviceNetwork(nn.Module):
    """uint8 crops to float32 heatmaps, queries and keys, with the network itself in another type."""

    def __init__(self, model: TransPose, dtype: torch.dtype) -> None:
        super().__init__()
        self.preprocessing = Preprocessing()  # stays FP32: a pixel's value less the mean needs more than 11 bits
        self.model = model.eval()
        fold_batch_norms(self.model)
        self.model.to(dtype)
        for weight in self.model.parameters():
            if weight.dim() == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self._dtype = dtype

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        images = self.preprocessing(crops).to(self._dtype, memory_format=torch.channels_last)
        return tuple(output.float() for output in self.model.forward_with_attention(images).given)


def fold_batch_norms(module: nn.Module) -> None:
    """Fold every BatchNorm into the convolution that stands before it, in place.

    In this family a BatchNorm always normalises what the convolution registered before it gives.

    Args:
        module: A network in eval mode.
    """
    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and isinstance(before, (nn.Conv2d, nn.ConvTranspose2d)):
            transposed = isinstance(before, nn.ConvTranspose2d)
            fused = fuse_conv_bn_eval(before, child, transpose=transposed)
            before.weight, before.bias = fused.weight, fused.bias
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norms(child)
        before = child


def find_torch_device(device: str) -> torch.device:
    """The device that a word means.

    Raises:
        BackendError: It is none, or not there.
    """
    name = device.upper()
    if name == "CPU":
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind != "CUDA" or not (index.isdecimal() or name == "CUDA"):
        raise BackendError(f"no device {device!r} for PyTorch: use CUDA, CUDA:1 or CPU")
    if not torch.cuda.is_available():
        build = "" if torch.version.cuda else f"; PyTorch {torch.__version__} is a build without CUDA"
        raise BackendError(f"there is no NVIDIA GPU that PyTorch can use{build}: install a driver, or use device='CPU'")
    if int(index or 0) >= torch.cuda.device_count():
        raise BackendError(f"{name} is not on this machine: it has CUDA:0 to CUDA:{torch.cuda.device_count() - 1}")
    return torch.device("cuda", int(index or 0))
