"""The accuracy gate of quantization: sensitive layers go back until a graph is good enough, or it is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transpose_sdk.convert.accuracy import GATE, Parity

logger = logging.getLogger(__name__)

# With more groups than this share left in higher precision, a graph is hardly faster any more.
KEPT_SHARE = 0.5

# Makes a quantized graph without quantizing the layers of these names; `quick` calibrates on a few crops only.
Quantize = Callable[[Sequence[str], bool], Path]
# Compares a graph with the FP32 network; `quick` asks about a few of the people it was calibrated with, so that the
# people it is judged by in the end have had no say in it.
Measure = Callable[[Path, bool], Parity]


@dataclass(frozen=True)
class Quantized:
    """A quantized graph and how it came about.

    Attributes:
        path: The graph.
        parity: How far it is from the FP32 network, on people it was not calibrated with.
        kept: Groups of layers left in higher precision.
        first: As `parity`, of the graph with everything quantized.
        sensitivity: By group, the largest share of the gate's limits used with only this group quantized, worst first;
            empty where the first graph passed.
    """

    path: Path
    parity: Parity
    kept: tuple[str, ...]
    first: Parity
    sensitivity: Mapping[str, float]

    @property
    def accepted(self) -> bool:
        """Whether it passed the gate."""
        return self.parity.passed

    def to_dict(self) -> dict[str, Any]:
        """What bundle.json says about it."""
        report = {
            "accepted": self.accepted,
            **self.parity.to_dict(),
            "gate": GATE,
            "kept_in_higher_precision": list(self.kept),
        }
        if self.sensitivity:
            report["everything_quantized"] = self.first.to_dict()
            report["sensitivity"] = {name: round(value, 3) for name, value in self.sensitivity.items()}
        return report


def quantize_within_gate(groups: Mapping[str, Sequence[str]], quantize: Quantize, measure: Measure) -> Quantized:
    """Quantize a network, giving back as few groups of layers as the gate allows.

    Args:
        groups: Names of layers by group.
        quantize: Makes a graph.
        measure: Compares one.

    Returns:
        The first graph that passes; else the best of those tried, not accepted. Where there is nothing to compare, the
        graph with everything quantized, not accepted.
    """
    path = quantize((), False)
    first = measure(path, False)
    if first.passed or not first.joints:
        return Quantized(path, first, (), first, {})
    logger.warning("everything in INT8 is too far from FP32: %s; looking for the sensitive layers", first)
    sensitivity: dict[str, float] = {}
    for name in groups:
        # Only this group quantized, not everything but this group: while all the others add their errors, the gain of
        # one hardly shows (measured on TP-M: the first convolution, the worst of all, came out as the fourth).
        others = [layer for other, layers in groups.items() if other != name for layer in layers]
        sensitivity[name] = measure(quantize(others, True), True).burden
        logger.info("%s alone in INT8: %.2f of what the gate allows", name, sensitivity[name])
    ranked = sorted(sensitivity, key=lambda name: -sensitivity[name])
    sensitivity = {name: sensitivity[name] for name in ranked}
    best = Quantized(path, first, (), first, sensitivity)
    for count in range(1, int(len(groups) * KEPT_SHARE) + 1):
        kept = tuple(ranked[:count])
        path = quantize([layer for name in kept for layer in groups[name]], False)
        tried = Quantized(path, measure(path, False), kept, first, sensitivity)
        logger.info("INT8 without %s: %s", ", ".join(kept), tried.parity)
        best = min(best, tried, key=lambda one: one.parity.burden)
        if tried.accepted:
            break
    return best
