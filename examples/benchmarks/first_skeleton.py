"""What the package weighs, and how long it takes from `pip install` to the first skeleton.

    python examples/benchmarks/first_skeleton.py [WHEEL_OR_FOLDER] [--image tests/data/park.jpg] [--out FILE.md]
    python examples/benchmarks/first_skeleton.py --environment DIR

Installs into a new, empty environment, unless it is given one that has the package; then the installation is not timed.
Writes a Markdown table to stdout: megabytes of the environment, of the package and of the largest of what it needs, and
seconds of the installation (downloads or pip's cache included), of the first program, which compiles numba's functions
and asks the network its probe, and of the second; by the clock, and of the processor, which other work disturbs less.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys, time, cv2
import transpose_sdk as tp
poses = tp.PoseEstimator()(cv2.imread(sys.argv[1]))
assert len(poses), "nobody was found"
"""
LARGEST = 8  # packages that are listed


def megabytes(path: Path) -> float:
    """Of a file, or of all files in a folder; a link counts as nothing."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink()) / 1e6


def times(command: list[str], folder: str, **variables: str) -> str:
    """How long a command takes, by the clock and of the processor, in a folder where no checkout is in reach."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=os.environ | variables, check=True, stdout=subprocess.DEVNULL)
    passed, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{passed:.1f} s, {busy:.1f} s of the processor"


def report(environment: Path, python: str, image: Path, folder: str, installing: str | None) -> str:
    """The table."""
    packages = next(environment.glob("lib/python*/site-packages"))
    # A wheel's libraries may lie beside its package: numpy.libs.
    sizes: dict[str, float] = {}
    for path in packages.iterdir():
        name = path.name.partition(".")[0]
        if "-" not in name:
            sizes[name] = sizes.get(name, 0) + megabytes(path)
    rows = [("the environment", f"{megabytes(environment):.0f} MB")]
    rows += [("transpose_sdk itself", f"{sizes.pop('transpose_sdk'):.1f} MB")]
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:LARGEST]
    rows += [(f"`{name}`", f"{size:.0f} MB") for name, size in largest]
    if installing is not None:
        rows.append(("`pip install`", installing))
    command = [python, "-c", PROGRAM, str(image)]
    for name in ("first", "second"):
        taken = times(command, folder, TRANSPOSE_HOME=str(Path(folder) / "home"))
        rows.append((f"the {name} program, from its start to its end with a skeleton", taken))
    return "| what | how much |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)


def main() -> None:
    """Install, run, weigh, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", nargs="?", type=Path, default=ROOT, help="a wheel or a checkout (default: this one)")
    parser.add_argument("--environment", type=Path, help="that has the package already")
    parser.add_argument("--image", type=Path, default=ROOT / "tests" / "data" / "park.jpg")
    parser.add_argument("--out", type=Path, help="also write the table to a file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment, installing = args.environment, None
        if environment is None:
            environment = Path(folder) / "environment"
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        python = str(environment.resolve() / "bin" / "python")
        if args.environment is None:
            pip = [python, "-m", "pip", "install", "--quiet", str(args.package.resolve())]
            installing = times(pip, folder)
        table = report(environment.resolve(), python, args.image.resolve(), folder, installing)
    sys.stdout.write(table)
    if args.out:
        args.out.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
