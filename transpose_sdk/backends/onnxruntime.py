"""ONNX Runtime: for machines where it is there already, and as a second opinion on a graph."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from transpose_sdk.backend import Arrays, Outputs
from transpose_sdk.backends.nvidia_driver import driver_version
from transpose_sdk.backends.onnx_graph import onnx_graph
from transpose_sdk.backends.worker import WorkerBackend
from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.errors import BackendError, first_line

GRAPHS = {"fp32": "onnx", "int8": "onnx_int8"}
PROVIDERS = {"CPU": "CPUExecutionProvider", "CUDA": "CUDAExecutionProvider"}
LARGEST_BATCH = 16


class OnnxRuntimeBackend(WorkerBackend):
    """A bundle's ONNX graph, run by ONNX Runtime.

    Args:
        bundle: A pose bundle with an ONNX graph, or a checkpoint to make one from.
        device: "CPU", "CUDA", or one of several such as "CUDA:1".
        precision: "fp32" or "int8"; None takes fp32.

    Raises:
        BackendError: The device is not there, the provider that runs is another one, or the precision is unknown.
        BundleError: The bundle lacks the graph, or it is damaged.
        MissingDependencyError: The graph has to be made, and what makes it is not installed.
    """

    name = "onnxruntime"
    requests = 1

    def __init__(self, bundle: Bundle, device: str = "CPU", precision: str | None = None) -> None:
        kind, _, index = device.upper().partition(":")
        if kind not in PROVIDERS or (index and not index.isdecimal()):
            raise BackendError(f"no device {device!r} for ONNX Runtime: use CPU, CUDA or CUDA:1")
        self.precision = precision or "fp32"
        if self.precision not in GRAPHS:
            raise BackendError(f"ONNX Runtime has no precision {precision!r}: use {', '.join(GRAPHS)}")
        self.device = f"CUDA:{int(index or 0)}" if kind == "CUDA" else kind
        self.runtime = f"ONNX Runtime {ort.__version__}" + (f", driver {driver_version()}" if kind == "CUDA" else "")
        self.input_size = bundle.input_size
        # People one by one on a CPU, whose cores work on each; a GPU wants them together.
        self._sizes = (1,) if kind == "CPU" else tuple(range(1, LARGEST_BATCH + 1))
        path = onnx_graph(bundle, GRAPHS[self.precision])
        provider = PROVIDERS[kind]
        check_providers(ort.get_available_providers(), provider)
        options = ort.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        choice = (provider, {"device_id": int(index or 0)}) if kind == "CUDA" else provider
        try:
            session = ort.InferenceSession(str(path), options, providers=[choice])
        except Exception as error:  # its errors have no common base but Exception
            raise BackendError(
                f"{self.device} cannot run {path} ({first_line(error)}): use device='CPU', or export it again"
            ) from error
        check_providers(session.get_providers(), provider, first=True)
        super().__init__()
        self._session: ort.InferenceSession | None = session
        self._input = session.get_inputs()[0].name
        self._outputs = {output.name: output.shape for output in session.get_outputs()}
        self.has_attention = {"queries", "keys"} <= set(self._outputs)
        self.infer(np.zeros((1, *self.input_size, 3), np.uint8))

    def _release(self) -> None:
        self._session = None

    @property
    def batches(self) -> tuple[int, ...]:
        """Numbers of crops that run at once: one on a CPU, any on a GPU."""
        return self._sizes

    def _run(self, crops: NDArray[np.uint8], attention: bool) -> Arrays:
        assert self._session is not None  # the worker runs nothing once it is let go of
        wanted = ["heatmaps", "queries", "keys"] if attention and self.has_attention else ["heatmaps"]
        if not len(crops):
            return Outputs(*(np.empty((0, *self._outputs[name][1:]), np.float32) for name in wanted))
        step = self._sizes[-1]
        parts = []
        for start in range(0, len(crops), step):
            try:
                parts.append(self._session.run(wanted, {self._input: crops[start : start + step]}))
            except Exception as error:  # as above
                raise BackendError(f"{self.device} failed ({first_line(error)}): try device='CPU'") from error
        return Outputs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def check_providers(providers: list[str], wanted: str, first: bool = False) -> None:
    """Check that a provider is among those of the installation, or the first one of a session.

    ONNX Runtime takes the CPU without a word where a library of CUDA is missing.

    Raises:
        BackendError: It is not.
    """
    if (providers[:1] == [wanted]) if first else (wanted in providers):
        return
    remedy = "pip install onnxruntime-gpu with the CUDA and cuDNN it names, or use device='onnxruntime:cpu'"
    state = "runs" if first else "has"
    raise BackendError(f"ONNX Runtime {ort.__version__} {state} {', '.join(providers)}, not {wanted}: {remedy}")
