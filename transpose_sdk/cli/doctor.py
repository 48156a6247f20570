"""`transpose doctor`: what is installed here, and whether every bundle gives the right answers on every device."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transpose_sdk.diagnostics.doctor import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `transpose doctor`."""
    parser.add_argument("bundles", metavar="BUNDLE", nargs="*", help="names or paths (default: all pose bundles)")


def run(args: argparse.Namespace) -> int:
    """Examine and report on stdout.

    Returns:
        0, or 1 where a bundle does not run with the right answers even for a user who leaves device and precision open.

    Raises:
        BundleError: There is no bundle of a name that was given.
    """
    import logging

    from transpose_sdk.bundles.bundle import bundle_names
    from transpose_sdk.diagnostics import doctor

    logging.basicConfig(format="transpose: %(message)s", level=logging.WARNING)
    write = sys.stdout.write
    write(f"{doctor.system()}\n")
    for extra, packages in doctor.package_versions().items():
        found = [f"{name} {number}" for name, number in packages.items() if number]
        missing = f"not installed: pip install 'transpose-sdk[{extra}]'"
        write(f"{extra + ':':<13}{', '.join(found) or missing}\n")
    for device, name in doctor.device_names().items():
        write(f"{device + ':':<13}{name}\n")
    names = args.bundles or bundle_names("pose")
    if not names:
        write("no pose bundle is installed: give one's path, or see `transpose models`\n")
    sound = [_examine(name) for name in names]
    return 0 if sound and all(sound) else 1


def _examine(name: str) -> bool:
    """Report on one bundle; whether its default path works.

    Raises:
        BundleError: There is none of the name. One that is damaged is a line of the report.
    """
    from transpose_sdk.bundles.bundle import named_bundle, open_bundle
    from transpose_sdk.diagnostics import doctor
    from transpose_sdk.errors import BundleError, TransposeError

    write = sys.stdout.write
    try:
        bundle = open_bundle(name, "pose")
    except BundleError as error:
        if named_bundle(name) is None and not Path(name).is_dir():
            raise
        write(f"\n{name}: fails: {error}\n")
        return False
    write(f"\n{bundle.name} ({bundle.folder})\n")
    write(_line("device", "precision", "state", "score", "mean px", "max px", "ms 1", "ms/8", ""))
    try:
        for finding in doctor.examine(bundle):
            write(_describe(finding))
            sys.stdout.flush()
        path = doctor.default_path(bundle)
    except TransposeError as error:
        write(f"default: fails: {error}\n")
        return False
    write(
        f"default: {path.device} {path.precision}, answers as in FP32; asking at the first opening takes "
        f"{path.milliseconds:.0f} ms\n"
    )
    if path.choice is not None:
        write(f"  {path.choice.reason()}\n")
    return True


def _describe(finding: Finding) -> str:
    report = finding.report
    if report is None or finding.one is None or finding.each_of_eight is None:
        return _line(finding.device, finding.precision, "fails", *"-----", finding.problem)
    state = "ok" if report.passed else "refused"
    drift = (f"{report.mean_drift:.2f}", f"{report.max_drift:.2f}") if report.joints else ("-", "-")
    times = (f"{finding.one:.1f}", f"{finding.each_of_eight:.1f}")
    score = f"{100 * report.score_error:.2f} %"
    return _line(finding.device, finding.precision, state, score, *drift, *times, finding.problem)


def _line(device: str, precision: str, state: str, *numbers: str) -> str:
    """A row of the table; the last of the numbers is a remark."""
    columns = "".join(f"{number:>8}" for number in numbers[:-1])
    text = f"{device:<18} {precision:<9} {state:<8}{columns}  {numbers[-1]}"
    return f"{text.rstrip()}\n"
