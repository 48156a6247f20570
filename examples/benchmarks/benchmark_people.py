"""One person, two, three, six: the default of a CPU beside all cores on one crop and beside one core a crop.

    python examples/benchmarks/benchmark_people.py [--bundle NAME] [--precision fp16] [--people 1 2 3 6] [--rounds 20]

Every round times the three ways at each number of people, in another order. Prints a Markdown table: medians, the
median of the rounds' ratio of the default to the better of the two others, and the memory that each way adds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from transpose_sdk.backend import Backend
from transpose_sdk.backends.choose import open_backend
from transpose_sdk.bundles.bundle import DEFAULT_MODEL, open_bundle
from transpose_sdk.bundles.probe import Probe

WAYS: dict[str, Callable[[int], int | None]] = {
    "default": lambda cores: None,
    "all cores on a crop": lambda cores: 1,
    "a core each": lambda cores: cores,
}
WARM = 3  # inferences before each that is timed: the threads of another way spin for a while after it


def resident() -> float:
    """Memory of this process in MB; nan where Linux does not tell."""
    file = Path("/proc/self/status")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), float("nan"))


def seconds(backend: Backend, crops: np.ndarray) -> float:
    """Time of these crops at once, after some untimed ones."""
    for _ in range(WARM):
        backend.infer(crops)
    started = time.perf_counter()
    backend.infer(crops)
    return time.perf_counter() - started


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_MODEL)
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--people", type=int, nargs="+", default=[1, 2, 3, 6])
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    bundle = open_bundle(args.bundle, "pose")
    probe = Probe.load(bundle).crops
    with ExitStack() as stack:
        first = stack.enter_context(closing(open_backend(bundle, "CPU", args.precision)))  # the libraries' own memory
        backends, added = {}, {}
        for way, requests in WAYS.items():
            before = resident()
            backend = open_backend(bundle, "CPU", args.precision, requests(first.requests))
            backends[way] = stack.enter_context(closing(backend))
            backend.infer(np.resize(probe, (8, *probe.shape[1:])))
            added[way] = resident() - before
        times: dict[tuple[int, str], list[float]] = {}
        for turn in range(args.rounds):
            for people in args.people:
                crops = np.resize(probe, (people, *probe.shape[1:]))
                for way in np.roll(list(backends), turn):
                    times.setdefault((people, str(way)), []).append(seconds(backends[str(way)], crops))
    sys.stdout.write(f"{bundle.name} in {args.precision}, {first.requests} cores, {args.rounds} rounds\n\n")
    sys.stdout.write(f"| people | {' | '.join(f'{way}, ms' for way in WAYS)} | default / the better |\n")
    sys.stdout.write("|---|---|---|---|---|\n")
    for people in args.people:
        medians = {way: float(np.median(times[people, way])) for way in WAYS}
        better = min(list(WAYS)[1:], key=medians.__getitem__)
        ratio = np.median(np.divide(times[people, "default"], times[people, better]))
        cells = " | ".join(f"{1e3 * value:.1f}" for value in medians.values())
        sys.stdout.write(f"| {people} | {cells} | {ratio:.2f} |\n")
    sys.stdout.write(f"| memory, MB | {' | '.join(f'{value:.0f}' for value in added.values())} | |\n")


if __name__ == "__main__":
    main()
