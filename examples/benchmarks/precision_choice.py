"""How often the choice between FP16 and INT8 comes out the same, on this processor and on what it has of lesser ones.

    python examples/benchmarks/precision_choice.py [--bundle NAME ...] [--trials 12]

Every processor is a process of its own: OpenVINO leaves out the instructions above a cap, and calculates in FP32, as
processors without BF16 do. A trial is what the first opening of a bundle does. The table on stdout is Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import numpy as np

from transpose_sdk.backends import fastest
from transpose_sdk.backends.choose import open_backend
from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.bundles.bundle import bundle_names, open_bundle
from transpose_sdk.bundles.probe import Probe

CAP = "ONEDNN_MAX_CPU_ISA"
PROCESSORS = {"this one": "", "AVX-512, VNNI": "AVX512_CORE_VNNI", "AVX-512": "AVX512_CORE", "AVX2": "AVX2"}


def choices(name: str, trials: int) -> Iterator[fastest.Choice]:
    """The choice for a bundle, several times."""
    bundle = open_bundle(name, "pose")
    crop = Probe.load(bundle).crops[:1]
    with (
        closing(open_backend(bundle, "CPU", "fp16", verify=False)) as accurate,
        closing(open_backend(bundle, "CPU", "int8", verify=False)) as quantized,
    ):
        for _ in range(trials):
            yield fastest.compare(accurate, quantized, crop)


def rows(cap: str, names: list[str], trials: int) -> str:
    """What this program prints in a process with capped instructions."""
    environment = {**os.environ, CAP: cap} if cap else dict(os.environ)
    command = [sys.executable, __file__, "--trials", str(trials), "--bundle", *names, "--here"]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Print the table, or in a process of its own its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", nargs="+", help="names or paths (default: all that have INT8)")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    names = args.bundle or [name for name in bundle_names("pose") if "int8" in open_bundle(name, "pose").graphs]
    if args.here:
        if os.environ.get(CAP):
            CORE.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for name in names:
            found = list(choices(name, args.trials))
            times = [[one.milliseconds[precision] for one in found] for precision in ("fp16", "int8")]
            shares, taken = [one.share for one in found], sum(one.precision == "int8" for one in found)
            sys.stdout.write(json.dumps([name, *np.median(times, 1), *np.quantile(shares, [0, 0.5, 1]), taken]) + "\n")
        return
    sys.stdout.write("| processor | bundle | FP16, ms | INT8, ms | INT8's share (range) | INT8 is taken |\n")
    sys.stdout.write("|---|---|---|---|---|---|\n")
    for processor, cap in PROCESSORS.items():
        for line in rows(cap, names, args.trials).splitlines():
            name, fp16, int8, low, middle, high, taken = json.loads(line)
            sys.stdout.write(
                f"| {processor} | {name} | {fp16:.1f} | {int8:.1f} | {middle:.2f} ({low:.2f} .. {high:.2f}) | "
                f"{taken} of {args.trials} times |\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
