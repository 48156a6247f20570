"""TensorRT: an engine built on the device from an ONNX graph, and kept for this device, driver and version.

Types come from the graph (strongly typed): FP16 with LayerNorm and softmax in FP32, or INT8 where the graph quantises.
Works with TensorRT 10 (JetPack 6 and 7) and 11. Buffers and CUDA graphs are PyTorch's.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import tensorrt as trt
import torch
from torch import Tensor

from transpose_sdk.backends.fixed_batches import FixedBatchBackend, FixedBatches
from transpose_sdk.backends.half import cast_pixels, to_half
from transpose_sdk.backends.nvidia_driver import driver_version
from transpose_sdk.backends.onnx_graph import onnx_graph
from transpose_sdk.backends.pytorch import find_torch_device
from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.disk.digest import file_digest
from transpose_sdk.disk.kept_file import is_sound, keep
from transpose_sdk.errors import BackendError, first_line

GRAPHS = {"fp16": "onnx", "int8": "onnx_int8", "fp32": "onnx"}
SIZES = (1, 2, 4, 8)  # each costs building time, some seconds to a minute
NAMES = ("heatmaps", "queries", "keys")

log = logging.getLogger(__name__)


class TensorRTBackend(FixedBatchBackend):
    """A bundle's ONNX graph, built by TensorRT.

    Args:
        bundle: A pose bundle with an ONNX graph, or a checkpoint to make one from.
        device: "CUDA", or one of several such as "CUDA:1".
        precision: "fp16", "int8" or "fp32"; None takes fp16.
        batches: Batch sizes to build for.
        cache: Folder for engines; None builds anew each time.

    Raises:
        BackendError: The device is not there, lacks the precision, or TensorRT cannot build the graph.
        BundleError: The bundle lacks the graph, or it is damaged.
        MissingDependencyError: The graph has to be made, and what makes it is not installed.
    """

    name = "tensorrt"

    def __init__(
        self,
        bundle: Bundle,
        device: str = "CUDA",
        precision: str | None = None,
        batches: Sequence[int] = SIZES,
        cache: Path | None = None,
    ) -> None:
        place = find_torch_device(device)
        if place.type != "cuda":
            raise BackendError(f"TensorRT runs on NVIDIA GPUs only, not on {device}: use device='CPU' without TensorRT")
        self.device = str(place).upper()
        gpu = torch.cuda.get_device_name(place)
        self.runtime = f"TensorRT {trt.__version__}, CUDA {torch.version.cuda}, {gpu}, driver {driver_version()}"
        self.precision = precision or "fp16"
        if self.precision not in GRAPHS:
            raise BackendError(f"TensorRT has no precision {precision!r}: use {', '.join(GRAPHS)}")
        self.input_size = bundle.input_size
        path = onnx_graph(bundle, GRAPHS[self.precision])
        with torch.cuda.device(place):
            engine = _Engine(bundle, path, self.precision, place, tuple(sorted(batches)), cache)
            self.has_attention = set(NAMES) <= set(engine.outputs)
            try:
                fixed = FixedBatches(engine.run, batches, self.input_size, place)
            except RuntimeError as error:
                raise BackendError(
                    f"{self.device} cannot run {bundle.name} ({first_line(error)}): free its memory"
                ) from error
        super().__init__(fixed)


class _Engine:
    """A deserialised engine with one execution context and one optimisation profile for each batch size."""

    def __init__(
        self,
        bundle: Bundle,
        graph: Path,
        precision: str,
        device: torch.device,
        batches: tuple[int, ...],
        cache: Path | None,
    ) -> None:
        self._logger = _Log()
        self._runtime = trt.Runtime(self._logger)  # has to outlive the engine
        path = None
        if cache is not None:
            key = engine_key(file_digest(graph), precision, batches, device)
            path = cache / f"{precision}-{key}.engine"  # by content: its bundle's name has no say in what is read
        engine = self._load(path)
        if engine is None:
            log.warning("building a TensorRT engine of %s %s, once; this takes minutes", bundle.name, precision)
            plan = build(graph, precision, bundle.input_size, batches, self._logger)
            engine = self._runtime.deserialize_cuda_engine(plan)
            if engine is None:
                raise BackendError(f"TensorRT {trt.__version__} cannot read the engine it built: {self._logger.last}")
            _store(path, plan)
        self._engine = engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._input = next(name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)
        given = [name for name in names if name != self._input]
        self.outputs = [name for name in NAMES if name in given]
        stream = torch.cuda.current_stream(device)
        self._contexts: dict[int, Any] = {}
        for index, batch in enumerate(batches):
            context = engine.create_execution_context()
            if context is None:
                raise BackendError(f"no memory on {device} for batches of {batch} ({self._logger.last}): give fewer")
            chosen = context.set_optimization_profile_async(index, stream.cuda_stream)
            if not chosen or not context.set_input_shape(self._input, (batch, *bundle.input_size, 3)):
                raise BackendError(f"the engine takes no batches of {batch} ({self._logger.last}): delete {path}")
            self._contexts[batch] = context
        stream.synchronize()

    def run(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Enqueue the network on PyTorch's current stream: (B, H, W, 3) uint8 to float32 tensors."""
        context = self._contexts[len(crops)]
        context.set_tensor_address(self._input, crops.data_ptr())
        outputs = []
        for name in self.outputs:
            shape = tuple(context.get_tensor_shape(name))
            outputs.append(torch.empty(shape, dtype=torch.float32, device=crops.device))
            context.set_tensor_address(name, outputs[-1].data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream(crops.device).cuda_stream):
            raise RuntimeError(self._logger.last)
        return tuple(outputs)

    def _load(self, path: Path | None) -> Any:
        """The engine of an earlier time; None where there is none, it is damaged, or TensorRT refuses it."""
        if path is None or not is_sound(path):
            return None
        return self._runtime.deserialize_cuda_engine(path.read_bytes())


def build(
    path: Path, precision: str, input_size: tuple[int, int], batches: Sequence[int], logger: _Log | None = None
) -> bytes:
    """Build an engine.

    Args:
        path: The bundle's ONNX graph; with QuantizeLinear and DequantizeLinear (symmetric) for INT8.
        precision: "fp32", or else FP16 wherever the graph does not quantise.
        input_size: (height, width) of a crop.
        batches: Batch sizes; one optimisation profile each, because an engine is fastest at the shape it was tuned for.
        logger: Where TensorRT's messages go.

    Returns:
        The serialised engine, good for this device and this version.

    Raises:
        BackendError: TensorRT cannot read or build the graph.
    """
    logger = logger or _Log()
    model = onnx.load(path)
    # In FP32 nothing but the pixels is cast; the QDQ graph's other layers are FP16 as well.
    content = (cast_pixels(model) if precision == "fp32" else to_half(model)).SerializeToString()
    builder = trt.Builder(logger)
    # TensorRT 11 knows no other way and ignores the flag.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        reasons = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise BackendError(f"TensorRT {trt.__version__} cannot read {path} ({reasons}): use device='CUDA'")
    config = builder.create_builder_config()
    if precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)
    name = network.get_input(0).name
    for batch in batches:
        shape = (batch, *input_size, 3)
        profile = builder.create_optimization_profile()
        profile.set_shape(name, shape, shape, shape)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(
            f"TensorRT {trt.__version__} cannot build {path} in {precision} ({logger.last}): use device='CUDA'"
        )
    return bytes(plan)


def engine_key(digest: str, precision: str, batches: Sequence[int], device: torch.device) -> str:
    """What an engine depends on, as a short hash: graph, precision, batches, device, driver and versions."""
    properties = torch.cuda.get_device_properties(device)
    facts = {
        "graph": digest,
        "precision": precision,
        "batches": list(batches),
        "device": [properties.name, properties.major, properties.minor, properties.multi_processor_count],
        "driver": driver_version(),
        "tensorrt": trt.__version__,
        "cuda": torch.version.cuda,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


class _Log(trt.ILogger):
    """TensorRT's messages in Python's log; the last error is kept for ours."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.last = "no reason given"

    def log(self, severity: Any, message: str) -> None:
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self.last = message
            log.error("TensorRT: %s", message)
        elif severity == trt.ILogger.Severity.WARNING:
            log.info("TensorRT: %s", message)


def _store(path: Path | None, plan: bytes) -> None:
    """Keep an engine for the next time; one that cannot be kept is only built again."""
    if path is None:
        return
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
            made = Path(temporary) / path.name
            made.write_bytes(plan)
            keep(path, made)
    except OSError as error:
        log.warning("cannot keep the TensorRT engine in %s (%s)", path.parent, error)
