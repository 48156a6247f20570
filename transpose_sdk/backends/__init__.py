"""Inference backends: a bundle's graph on a device, crops in, heatmaps out."""

from __future__ import annotations

from transpose_sdk.backend import Backend, Outputs

__all__ = ["Backend", "Outputs"]
