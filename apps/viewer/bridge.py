"""Where Qt and the worker's threads meet: callbacks that only emit signals, delivered on the window's thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PyQt6.QtCore import QObject, pyqtSignal

from .engine.events import SourceInfo
from .engine.settings import Network


class Signals(QObject):
    """One signal for each of the listener's calls."""

    viewed = pyqtSignal()
    opened = pyqtSignal(object)
    loaded = pyqtSignal(object, object)
    stated = pyqtSignal(str)
    busied = pyqtSignal(str)
    failed = pyqtSignal(str)
    saved = pyqtSignal(object)
    recorded = pyqtSignal(object)


class Bridge:
    """The worker's listener."""

    def __init__(self) -> None:
        self.signals = Signals()

    def view_ready(self) -> None:
        self.signals.viewed.emit()

    def source_opened(self, info: SourceInfo) -> None:
        self.signals.opened.emit(info)

    def network_loaded(self, network: Network, description: dict[str, Any]) -> None:
        self.signals.loaded.emit(network, description)

    def state_changed(self, state: str) -> None:
        self.signals.stated.emit(state)

    def busy(self, what: str) -> None:
        self.signals.busied.emit(what)

    def failed(self, message: str) -> None:
        self.signals.failed.emit(message)

    def saved(self, path: Path) -> None:
        self.signals.saved.emit(path)

    def recording_changed(self, path: Path | None) -> None:
        self.signals.recorded.emit(path)
