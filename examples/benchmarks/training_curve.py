"""Draw what training runs reached against the training samples that they had seen.

    python examples/benchmarks/training_curve.py RUN... --out curve.png [--number AP]

A RUN is a folder that `transpose train` writes, or its log.jsonl. Runs that went on from each other's weights are
joined by a plus: first_stage+second_stage continues the samples. Several runs share the axes, each with its name.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib as mpl

from transpose_sdk.errors import DataError, InputError


def read_curve(run: Path, number: str = "AP") -> tuple[list[int], list[float]]:
    """Samples seen and a number of the validation after each epoch.

    Args:
        run: A folder with log.jsonl, or the file.
        number: Field of the log, such as AP, AR or loss.

    Raises:
        DataError: There is no log, or no epoch of it has the number.
    """
    path = run / "log.jsonl" if run.is_dir() else run
    try:
        records = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} ({error}): give a run of transpose train, or its log.jsonl") from None
    # A later start of the same run may have done an epoch again: its last record counts.
    points = {record["samples"]: record[number] for record in records if record.get(number) is not None}
    if not points:
        known = sorted({name for record in records for name in record} - {"epoch", "samples"})
        raise DataError(f"no epoch in {path} has {number!r}: its numbers are {', '.join(known) or 'none yet'}")
    samples = sorted(points)
    return samples, [points[count] for count in samples]


def read_curves(runs: list[Path], number: str) -> tuple[list[int], list[float]]:
    """The curves of runs that continue each other, as one."""
    samples: list[int] = []
    values: list[float] = []
    for run in runs:
        seen, reached = read_curve(run, number)
        start = samples[-1] if samples else 0
        samples += [start + count for count in seen]
        values += reached
    return samples, values


def run_name(run: Path) -> str:
    """The name of a run's folder."""
    return run.resolve().name if run.is_dir() else run.resolve().parent.name


def curve_name(runs: list[Path]) -> str:
    """The name of runs that continue each other: the first's and the last's are enough for a legend."""
    names = list(map(run_name, runs))
    return names[0] if len(names) == 1 else f"{names[0]} {'then' if len(names) == 2 else 'to'} {names[-1]}"


def draw(curves: dict[str, tuple[list[int], list[float]]], number: str, path: Path) -> None:
    """Draw curves and write the picture."""
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.8), layout="constrained")
    for name, (samples, values) in curves.items():
        axes.plot([count / 1000 for count in samples], values, marker="o", markersize=3.5, label=name)
        axes.annotate(f" {values[-1]:.3f}", (samples[-1] / 1000, values[-1]), va="center", fontsize=8)
    axes.margins(0.08)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("training samples in thousands")
    axes.set_ylabel(f"{number} on the validation set")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Read, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", metavar="RUN", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--number", default="AP", help="field of the log (default: AP)")
    args = parser.parse_args()
    stages = [[Path(stage) for stage in run.split("+")] for run in args.runs]
    curves = {curve_name(runs): read_curves(runs, args.number) for runs in stages}
    if len(curves) < len(args.runs):
        raise InputError("two runs have the same folder name: rename one, it is the name in the picture")
    draw(curves, args.number, args.out)


if __name__ == "__main__":
    main()
