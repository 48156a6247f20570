"""Starts the viewer."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

from PyQt6.QtCore import QSettings, QTimer
from PyQt6.QtWidgets import QApplication

from transpose_sdk.cli.interrupts import SIGNALS

from .window import MainWindow

INTERRUPT_MS = 200
# Seconds for which one of the worker's threads may keep the interpreter while the window waits for it.
SWITCH_INTERVAL = 0.001


def show(source: str | None = None, network: Mapping[str, str] | None = None) -> int:
    """Open the window and run until it is closed.

    Args:
        source: To play at once.
        network: Fields of settings.Network that differ from what is remembered.

    Returns:
        The exit code.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    app = QApplication(sys.argv[:1])
    app.setApplicationName("TransPose viewer")
    app.setStyle("Fusion")
    window = MainWindow(QSettings("transpose-sdk", "viewer"), network)
    window.show()
    if source is not None:
        window.open(source)
    # Qt's loop runs no Python, and so no handler of signals, unless something wakes it.
    for signum in SIGNALS:
        signal.signal(signum, lambda *_: window.close())
    waker = QTimer()
    waker.timeout.connect(lambda: None)
    waker.start(INTERRUPT_MS)
    code = app.exec()
    if not window.worker.ended:
        # A network still compiles. Nothing can interrupt that, and the interpreter cannot end around it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
