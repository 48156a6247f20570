"""Draw how far scores are from probabilities: shares of right answers against scores, before and after the maps.

    transpose eval --coco val.json --images val --json given.json
    transpose eval --coco val.json --images val --boxes det --detector-score 0.3 --json detected.json
    python examples/benchmarks/reliability_diagram.py given.json detected.json --out reliability.png

Each report becomes a column: its people, and below them its joints. Points are as large as their bins; a score that is
a probability lies on the diagonal.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

from transpose_sdk.errors import DataError

BOXES = {"gt": "annotated boxes", "det": "detected boxes"}
COLORS = {"raw score": "#b0b0b0", "score": "#1f77b4"}


def read_report(path: Path) -> dict[str, Any]:
    """A report of `transpose eval` on COCO's people.

    Raises:
        DataError: It cannot be read, or is another one.
    """
    try:
        report: dict[str, Any] = json.loads(path.read_text())
        return {**report["scores"], "title": f"{report['model']['name']}, {BOXES.get(report['boxes'], 'given boxes')}"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"cannot use {path} ({error!r}): give what transpose eval --coco --json writes") from None


def draw(reports: list[dict[str, Any]], path: Path) -> None:
    """Draw reports side by side and write the picture."""
    mpl.use("Agg")
    from matplotlib import pyplot

    size = (3.3 * len(reports), 6.4)
    figure, rows = pyplot.subplots(2, len(reports), figsize=size, squeeze=False, layout="constrained")
    for name, right, axes_of_row in zip(("people", "joints"), ("poses", "joints"), rows, strict=True):
        for axes, report in zip(axes_of_row, reports, strict=True):
            table = report[name]
            axes.plot((0, 1), (0, 1), color="black", linewidth=0.8, alpha=0.4)
            for label, bins, error in (
                ("raw score", table["raw_bins"], table["raw_error"]),
                ("score", table["bins"], table["error"]),
            ):
                counts, scores, shares = zip(*bins, strict=True)
                sizes = [12 + 140 * count / max(counts) for count in counts]
                axes.plot(scores, shares, color=COLORS[label], linewidth=1.2)
                axes.scatter(scores, shares, sizes, color=COLORS[label], label=f"{label}: ECE {error:.3f}", alpha=0.8)
            axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel=f"score of {table['answers']} {right}")
            axes.set_aspect("equal")
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
            legend = axes.legend(frameon=False, loc="upper left", fontsize=8)
            for handle in legend.legend_handles:
                handle.set_sizes([30])
            if name == "people":
                axes.set_title(report["title"], fontsize=9)
        axes_of_row[0].set_ylabel(f"share of right {right}")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Read, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", metavar="REPORT.json", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    draw([read_report(path) for path in args.reports], args.out)


if __name__ == "__main__":
    main()
