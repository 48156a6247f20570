"""A bundle's self-check: a few drawn people, what the network in FP32 PyTorch said to them, and how far a graph is off.

The file probe.npz holds arrays only. A joint counts where the FP32 network was sure of it, so that a difference
means a wrong graph, driver or device and not a coin tossed between two equal peaks.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.attention import dependency_rows
from transpose_sdk.backend import Arrays, Backend, Outputs
from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.decoding import decode_dark
from transpose_sdk.errors import BundleError, first_line

LARGEST = 64 << 20  # bytes of a probe's arrays; those that ship have 3 MiB


@dataclass(frozen=True)
class Limits:
    """What a graph may differ from the FP32 network on the probe.

    Attributes:
        mean_drift: Mean distance of the counted joints, in px of the crop.
        max_drift: Largest distance, in px of the crop; a heatmap's px is 4 of them.
        score_error: Mean difference of all scores, relative to the largest stored one.
        attention: Smallest mean correlation of attention rows.
    """

    mean_drift: float
    max_drift: float
    score_error: float
    attention: float


# FP16 covers bfloat16, which CPUs with AMX take for an FP16 graph: 8 bits of mantissa instead of 11.
LIMITS = {
    "fp32": Limits(mean_drift=0.1, max_drift=0.5, score_error=0.01, attention=0.999),
    "fp16": Limits(mean_drift=0.5, max_drift=4.0, score_error=0.05, attention=0.99),
    "int8": Limits(mean_drift=1.5, max_drift=12.0, score_error=0.1, attention=0.97),
}


@dataclass(frozen=True, eq=False)
class Probe:
    """P crops and the FP32 network's answers.

    Attributes:
        crops: (P, H, W, 3) uint8 BGR.
        keypoints: (P, K, 2) float32, decoded, in px of the crop.
        scores: (P, K) float32, heatmap maxima.
        counted: (P, K) bool, joints whose place is compared; none for a network that is not trained.
        cells: (P, R) int64, cells of the attention grid whose rows are compared.
        rows: (P, R, L) float32, attention of those cells, each summing to 1.
    """

    crops: NDArray[np.uint8]
    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    counted: NDArray[np.bool_]
    cells: NDArray[np.int64]
    rows: NDArray[np.float32]

    def __post_init__(self) -> None:
        people, keypoints = self.scores.shape[:2] if self.scores.ndim == 2 else (0, 0)
        fit = (
            people > 0
            and self.crops.shape[:1] + self.crops.shape[3:] == (people, 3)
            and self.crops.dtype == np.uint8
            and self.keypoints.shape == (people, keypoints, 2)
            and self.counted.shape == (people, keypoints)
            and self.cells.ndim == 2
            and self.rows.shape[:2] == self.cells.shape == (people, self.cells.shape[1])
            and self.rows.ndim == 3
            and self.counted.dtype == np.bool_
            and self.cells.dtype.kind in "iu"
            and all(array.dtype.kind == "f" for array in (self.keypoints, self.scores, self.rows))
        )
        fit = fit and all(np.isfinite(array).all() for array in (self.keypoints, self.scores, self.rows))
        fit = fit and not (self.cells.size and not 0 <= self.cells.min() <= self.cells.max() < self.rows.shape[2])
        if not fit:
            arrays = {field.name: getattr(self, field.name) for field in fields(self)}
            shapes = {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}
            raise BundleError(f"the probe's arrays do not fit together, {shapes}: export or download the bundle again")

    @staticmethod
    def load(bundle: Bundle) -> Probe:
        """Read a bundle's probe.

        Raises:
            BundleError: It has none, or the file is missing, changed or damaged.
        """
        path = bundle.probe_file()
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > LARGEST:
                raise BundleError(f"{path} would take {size >> 20} MiB, a probe at most {LARGEST >> 20}: do not use it")
            with np.load(path, allow_pickle=False) as arrays:
                return Probe(**{field.name: arrays[field.name] for field in fields(Probe)})
        except BundleError:
            raise
        except Exception as error:  # whatever zipfile, zlib and NumPy meet in a damaged file
            raise BundleError(
                f"cannot read {path} ({first_line(error)}): export or download the bundle again"
            ) from error

    def save(self, path: Path) -> None:
        """Write the arrays to an .npz file."""
        arrays: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez_compressed(path, **arrays)


@dataclass(frozen=True)
class ProbeReport:
    """How far a graph on a device is from the FP32 network.

    Attributes:
        joints: Joints whose place was compared; 0 for a network that is not trained.
        mean_drift: Their mean distance in px of the crop.
        max_drift: Their largest distance in px of the crop.
        score_error: Mean difference of all scores, relative to the largest stored one.
        attention: Mean correlation of attention rows; None where the graph gives no attention.
        limits: What was allowed.
    """

    joints: int
    mean_drift: float
    max_drift: float
    score_error: float
    attention: float | None
    limits: Limits

    @property
    def failures(self) -> tuple[str, ...]:
        """What is beyond its limit, in words with the numbers."""
        limits = self.limits
        rows = (
            ("mean drift", self.mean_drift, limits.mean_drift, " px"),
            ("largest drift", self.max_drift, limits.max_drift, " px"),
            ("score error", self.score_error, limits.score_error, ""),
        )
        # "not <=" instead of ">": a graph that gives NaN fails.
        found = [
            f"{what} {value:.3g}{unit} (limit {limit:g}{unit})"
            for what, value, limit, unit in rows
            if not value <= limit
        ]
        if self.attention is not None and not self.attention >= limits.attention:
            found.append(f"attention correlation {self.attention:.3f} (at least {limits.attention:g})")
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether nothing is beyond its limit."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values."""
        return {
            "joints": self.joints,
            "mean_drift": round(self.mean_drift, 4),
            "max_drift": round(self.max_drift, 4),
            "score_error": round(self.score_error, 5),
            "attention": None if self.attention is None else round(self.attention, 5),
            "passed": self.passed,
        }


def check(backend: Backend, probe: Probe) -> ProbeReport:
    """Run the probe's crops and compare.

    Args:
        backend: The graph on its device; its `precision` chooses the limits.
        probe: Of the bundle that the graph is from.

    Returns:
        The differences; nothing is raised where they are too large.

    Raises:
        BackendError: The device failed.
        BundleError: The graph is for other keypoints than the probe.
    """
    # One alone and the others together: a device may have another way for each.
    parts = [backend.infer(crops, backend.has_attention).given for crops in (probe.crops[:1], probe.crops[1:])]
    outputs = Outputs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    return compare_outputs(outputs, probe, backend.precision)


def compare_outputs(outputs: Arrays, probe: Probe, precision: str) -> ProbeReport:
    """Compare what a graph gave for the probe's crops.

    Args:
        outputs: Of the P crops.
        probe: Of the bundle that the graph is from.
        precision: Chooses the limits.

    Raises:
        BundleError: The graph is for other keypoints than the probe.
    """
    if outputs.heatmaps.shape[:2] != probe.scores.shape:
        raise BundleError(
            f"the graph gives {outputs.heatmaps.shape[:2]} heatmaps for the probe's {probe.scores.shape}: "
            "export or download the bundle again"
        )
    keypoints, scores = decode_crops(outputs.heatmaps, probe.crops.shape[1:3])
    distances = np.linalg.norm(keypoints - probe.keypoints, axis=-1)[probe.counted]
    attention = None
    if outputs.queries is not None and outputs.keys is not None:
        rows = attention_rows(outputs.queries, outputs.keys, probe.cells)
        attention = float(row_correlations(rows, probe.rows).mean())
    return ProbeReport(
        joints=len(distances),
        mean_drift=float(distances.mean()) if len(distances) else 0.0,
        max_drift=float(distances.max(initial=0.0)),
        score_error=float(np.abs(scores - probe.scores).mean() / max(float(np.abs(probe.scores).max()), 1e-12)),
        attention=attention,
        limits=limits_for(precision),
    )


def limits_for(precision: str) -> Limits:
    """The limits of a graph by its precision's name; those of FP16 for a name that says no other."""
    return next((limits for name, limits in LIMITS.items() if name in precision), LIMITS["fp16"])


def decode_crops(
    heatmaps: NDArray[np.float32], input_size: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Decode heatmaps (N, K, h, w) to keypoints (N, K, 2) in px of the crop and scores (N, K).

    Args:
        heatmaps: Raw, float32.
        input_size: (height, width) of the crop in px.
    """
    # A graph gone wrong gives infinities; the decoder wants finite maps, and a flat one says the same thing: no joint.
    coords, scores = decode_dark(np.nan_to_num(heatmaps, nan=0.0, posinf=0.0, neginf=0.0))
    height, width = heatmaps.shape[2:]
    scale = ((input_size[1] - 1) / (width - 1), (input_size[0] - 1) / (height - 1))
    return coords * np.array(scale, np.float32), scores


def attention_rows(
    queries: NDArray[np.float32], keys: NDArray[np.float32], cells: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Attention rows (N, R, L) of the cells (N, R), from queries and keys (N, heads, L, d_head)."""
    return np.stack([dependency_rows(*one) for one in zip(queries, keys, cells, strict=True)])


def row_correlations(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pearson correlation of each row (..., L) with its counterpart; 0 where one of them is flat."""
    first, second = (
        values.astype(np.float64) - values.mean(-1, dtype=np.float64, keepdims=True) for values in (rows, others)
    )
    product = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    return np.divide((first * second).sum(-1), product, out=np.zeros_like(product), where=product > 0)
