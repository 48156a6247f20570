"""INT8: OpenVINO graphs by NNCF's post-training quantization, ONNX graphs with QDQ nodes by ONNX Runtime's.

Weights take 7 of the 8 bits. An x86-64 without VNNI adds two products of 8 bits in 16 (vpmaddubsw), and full weights
saturate there: 2 x 255 x 127 is beyond 32767, 2 x 255 x 64 is not. TP-M16 at 192x144 lost 12 points of AP by it, and
loses none with 7 bits, on any processor.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from onnxruntime import quantization

from transpose_sdk.bundles.probe import Probe
from transpose_sdk.convert.accuracy import Answers, Parity, answer, compare_answers
from transpose_sdk.convert.gate import Quantized, quantize_within_gate
from transpose_sdk.convert.layer_groups import layer_groups, onnx_layers, openvino_layers
from transpose_sdk.convert.parity import compare
from transpose_sdk.convert.people import People
from transpose_sdk.convert.runners import Infer, run_graph
from transpose_sdk.convert.self_check import ask
from transpose_sdk.skeletons import Skeleton

logger = logging.getLogger(__name__)

QUANTIZED_KINDS = ["Conv", "ConvTranspose", "MatMul", "Gemm"]  # of layers in ONNX graphs
QUICK = 32  # people for finding the sensitive layers

Crops = NDArray[np.uint8]


class Judge:
    """Compares graphs with the FP32 network, whose answers it asks for once.

    Args:
        infer: The network.
        grid: (h, w) of its attention.
        people: People a graph is calibrated with, the first `QUICK` also for quick looks; and people to judge by.
        skeleton: Of the network.
    """

    def __init__(self, infer: Infer, grid: tuple[int, int], people: tuple[People, People], skeleton: Skeleton) -> None:
        self.infer = infer
        self.calibration, held_out = people
        rows = np.arange(len(self.calibration)) < QUICK
        self._people = {False: held_out, True: self.calibration.take(rows)}
        self._grid, self._skeleton = grid, skeleton
        self._reference: dict[bool, Answers] = {
            quick: answer(infer, people.crops, self._grid) for quick, people in self._people.items()
        }

    def measure(self, path: Path, quick: bool = False) -> Parity:
        """How far an .xml or .onnx is from the FP32 network."""
        people, reference = self._people[quick], self._reference[quick]
        answers = answer(run_graph(path), people.crops, self._grid, reference)
        return compare_answers(reference, answers, people, self._skeleton)


def quantize_graphs(
    files: Path,
    openvino: ov.Model | None,
    onnx: Path | None,
    judge: Judge,
    probe: Probe,
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Write INT8 graphs into a folder.

    Args:
        files: The folder.
        openvino: What "int8" is made of, if it is wanted.
        onnx: What "onnx_int8" is made of, if it is wanted.
        judge: Compares, and has the people to calibrate with.
        probe: The bundle's self-check.

    Returns:
        File names by graph of those that are good enough, and what bundle.json says about each, also the refused ones.
    """
    crops = judge.calibration.crops
    quantized = {}
    if openvino is not None:
        quantized["int8"] = quantize_openvino(openvino, crops, judge, files / "model_int8.xml")
    if onnx is not None:
        # Of another stem than OpenVINO's: files of one stem belong together.
        quantized["onnx_int8"] = quantize_onnx(onnx, crops, judge, files / "model_qdq.onnx")
    graphs: dict[str, str] = {}
    reports: dict[str, dict[str, Any]] = {}
    for graph, result in quantized.items():
        compare(judge.infer, crops.shape[1:3], result.path, limit=None)
        asked = ask(result.path, probe, graph)
        reports[graph] = {**result.to_dict(), "calibration_people": len(crops), "probe": asked.to_dict()}
        if result.accepted and asked.passed:
            graphs[graph] = result.path.name
            logger.info("%s: %s", graph, result.parity)
        else:
            # What would fail its own self-check is not offered either.
            fault = "; ".join(asked.failures) if result.accepted else str(result.parity)
            reports[graph] |= {"accepted": False, "reason": f"too far from FP32: {fault}"}
            logger.warning("the graph %s is refused: %s", graph, reports[graph]["reason"])
    return graphs, reports


def quantize_openvino(model: ov.Model, calibration: Crops, judge: Judge, path: Path) -> Quantized:
    """Make an OpenVINO INT8 graph.

    Args:
        model: The FP32 graph.
        calibration: (N, H, W, 3) uint8 BGR crops.
        judge: Compares.
        path: .xml to write; the graphs of other attempts go beside it and are deleted.
    """

    def quantize(ignored: Sequence[str], target: Path, quick: bool) -> None:
        crops = calibration[:QUICK] if quick else calibration
        scope = nncf.IgnoredScope(names=list(ignored)) if ignored else None
        # One crop at a time: the graph's batch axis moves within the attention, and NNCF takes it for a channel's.
        data = nncf.Dataset([crop[None] for crop in crops])
        with _quiet():
            quantized = nncf.quantize(
                model,
                data,
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(crops),
                ignored_scope=scope,
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
            )
        ov.save_model(quantized, target, compress_to_fp16=True)

    return _within_gate(layer_groups(openvino_layers(model)), quantize, judge, path)


def quantize_onnx(graph: Path, calibration: Crops, judge: Judge, path: Path) -> Quantized:
    """Make an ONNX INT8 graph with QDQ nodes, as ONNX Runtime runs it and TensorRT builds engines from.

    Args:
        graph: The FP32 file.
        calibration: (N, H, W, 3) uint8 BGR crops.
        judge: Compares.
        path: .onnx to write.
    """
    prepared = path.with_name("prepared.onnx")
    with _quiet():
        quantization.shape_inference.quant_pre_process(graph, prepared, skip_symbolic_shape=True)

    def quantize(ignored: Sequence[str], target: Path, quick: bool) -> None:
        with _quiet():
            quantization.quantize_static(
                prepared,
                target,
                _Reader(calibration[:QUICK] if quick else calibration),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=QUANTIZED_KINDS,
                per_channel=True,
                reduce_range=True,
                # TensorRT knows symmetric INT8 only, and biases in floating point.
                activation_type=quantization.QuantType.QInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=list(ignored),
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    # What a layer gives is rounded where the next one takes it, not before its activation or sum:
                    # TP-L, quantized as a whole, drifts by 11.3 px on 24 people instead of by 14.0.
                    "OpTypesToExcludeOutputQuantization": QUANTIZED_KINDS,
                    # Means of the crops' extremes: measured on TP-M, 20 % less drift than the extremes of all crops.
                    "CalibMovingAverage": True,
                },
            )

    try:
        return _within_gate(layer_groups(onnx_layers(prepared)), quantize, judge, path)
    finally:
        prepared.unlink()


def _within_gate(
    groups: dict[str, list[str]], quantize: Callable[[Sequence[str], Path, bool], None], judge: Judge, path: Path
) -> Quantized:
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        attempts = 0

        def attempt(ignored: Sequence[str], quick: bool) -> Path:
            nonlocal attempts
            attempts += 1
            target = Path(temporary) / f"attempt_{attempts}{path.suffix}"
            quantize(ignored, target, quick)
            return target

        best = quantize_within_gate(groups, attempt, judge.measure)
        for file in Path(temporary).glob(f"{best.path.stem}.*"):
            file.rename(path.with_suffix(file.suffix))
    return Quantized(path, best.parity, best.kept, best.first, best.sensitivity)


class _Reader(quantization.CalibrationDataReader):
    """Crops one at a time, in the form ONNX Runtime's calibration wants them."""

    def __init__(self, crops: Crops) -> None:
        self._crops = iter(crops)

    def get_next(self) -> dict[str, Crops] | None:
        crop = next(self._crops, None)
        return None if crop is None else {"crops": crop[None]}


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep what the quantizers print and log away from the user's output."""
    loggers = [logging.getLogger(name) for name in ("nncf", "root", "onnxruntime")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
