"""Loop a clip in the viewer for minutes and report its memory and threads over time.

    python examples/benchmarks/viewer_soak.py clip.mp4 [--minutes 10] [--joint left_wrist]

The joint's attention is on, and its mode, the pause and the place in the clip change every few seconds, as users do it.
The report on stdout has the resident memory at regular times, and how much it grew from the mean of the first third of
the samples to that of the last; the first minute, in which everything is warmed up, does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from itertools import cycle
from pathlib import Path

import numpy as np

if sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PyQt6.QtCore import QSettings, QTimer
from PyQt6.QtWidgets import QApplication

from transpose_sdk.apps.viewer.window import MainWindow
from transpose_sdk.bundles.bundle import DEFAULT_MODEL

DEED_SECONDS = 3.0
SEEK_TO = 20


def resident_mebibytes() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Play, sample, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--warm-up", type=float, default=60.0, help="seconds that don't count (default: 60)")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two samples (default: 10)")
    parser.add_argument("--joint", default="left_wrist")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--detector", default="person")
    args = parser.parse_args()
    app = QApplication(sys.argv[:1])
    samples: list[tuple[float, float, int, int]] = []  # seconds, MiB, threads, views
    views = 0
    with tempfile.TemporaryDirectory() as folder:
        store = QSettings(str(Path(folder) / "viewer.ini"), QSettings.Format.IniFormat)
        window = MainWindow(store, {"model": args.model, "detector": args.detector})
        window.worker.set_loop(True)
        window.show()
        window.open(args.source)
        actions, started = window.actions_by_name, time.monotonic()
        deeds = cycle(
            (
                actions["heatmap"].trigger,
                actions["affected"].trigger,
                actions["dependency"].trigger,
                lambda: window.parts.transport.sought.emit(SEEK_TO),
                actions["play"].trigger,
                actions["play"].trigger,
            )
        )

        def sample() -> None:
            seconds = time.monotonic() - started
            samples.append((round(seconds, 1), round(resident_mebibytes(), 1), threading.active_count(), views))
            sys.stderr.write(f"\r{seconds:5.0f} s  {samples[-1][1]:.0f} MiB  {views} pictures ")

        def count() -> None:
            nonlocal views
            views += 1
            if window.parts.inspector.joints.currentIndex() <= 0 and window.parts.canvas.view is not None:
                window.parts.inspector.picked.emit(window.parts.canvas.view.poses.skeleton.index(args.joint))

        def act() -> None:
            next(deeds)()

        window.bridge.signals.viewed.connect(count)
        timers = [QTimer(), QTimer()]
        for timer, seconds, slot in zip(timers, (args.every, DEED_SECONDS), (sample, act), strict=True):
            timer.timeout.connect(slot)
            timer.start(round(1000 * seconds))
        end = QTimer()
        end.timeout.connect(timers[0].stop)  # quitting closes the window, and a sample behind that would not count
        end.timeout.connect(app.quit)
        end.start(round(60_000 * args.minutes))
        app.exec()
        failed = window.parts.banner.text
        window.close()
    sys.stderr.write("\n")
    steady = np.array([mebibytes for seconds, mebibytes, _, _ in samples if seconds >= args.warm_up])
    third = max(1, len(steady) // 3)
    report = {
        "minutes": args.minutes,
        "pictures": views,
        "samples": [{"s": s, "MiB": m, "threads": t, "pictures": v} for s, m, t, v in samples],
        "growth_MiB": round(float(steady[-third:].mean() - steady[:third].mean()), 1) if len(steady) > 1 else None,
        "largest_MiB": float(steady.max(initial=0)),
        "message": failed,
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
