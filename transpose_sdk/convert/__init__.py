"""From a trained network to graphs that run without torch: ONNX, OpenVINO, INT8, and the bundle that holds them."""

from __future__ import annotations

from transpose_sdk.convert.export import PRECISIONS, TARGETS, CalibrationData, export_bundle
from transpose_sdk.convert.importer import import_checkpoint

__all__ = ["PRECISIONS", "TARGETS", "CalibrationData", "export_bundle", "import_checkpoint"]
