"""Dialogs: a stream's address, and the sheet of shortcuts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QAction, QKeySequence
from PyQt6.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QGridLayout, QLabel, QLineEdit, QVBoxLayout, QWidget

FILE_FILTER = (
    "Videos and images (*.mp4 *.m4v *.mov *.mkv *.avi *.webm *.jpg *.jpeg *.png *.bmp *.webp *.tif *.tiff);;"
    "All files (*)"
)


def ask_file(parent: QWidget, opened: Callable[[str], None]) -> None:
    """Let the user choose a video or an image."""
    path, _ = QFileDialog.getOpenFileName(parent, "Open a file", "", FILE_FILTER)
    if path:
        opened(path)


def ask_folder(parent: QWidget, opened: Callable[[str], None]) -> None:
    """Let the user choose a folder of images."""
    folder = QFileDialog.getExistingDirectory(parent, "Open a folder of images")
    if folder:
        opened(folder)


def ask_address(parent: QWidget, opened: Callable[[str], None]) -> None:
    """Let the user type the address of a stream."""
    dialog = StreamDialog(parent)
    dialog.accepted.connect(lambda: opened(dialog.address.text().strip()))
    dialog.open()


class StreamDialog(QDialog):
    """Asks for the address of a stream."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Network stream")
        self.setMinimumWidth(460)
        self.address = QLineEdit()
        self.address.setPlaceholderText("rtsp://camera.local:554/stream")
        hint = QLabel("An rtsp:// or http:// address. A login goes before the host: rtsp://user:password@host/…")
        hint.setObjectName("muted")
        hint.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self._open = buttons.button(QDialogButtonBox.StandardButton.Open)
        self.address.textChanged.connect(self._check)
        self._check("")
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        for widget in (QLabel("Address"), self.address, hint, buttons):
            layout.addWidget(widget)

    def _check(self, text: str) -> None:
        if self._open is not None:
            self._open.setEnabled("://" in text and not text.endswith("://"))


class HelpSheet(QDialog):
    """All shortcuts, and what the colours mean."""

    def __init__(self, parent: QWidget, actions: Iterable[QAction]) -> None:
        super().__init__(parent)
        self.setWindowTitle("Shortcuts")
        grid = QGridLayout()
        grid.setHorizontalSpacing(28)
        grid.setVerticalSpacing(7)
        shown = [action for action in actions if not action.shortcut().isEmpty()]
        half = (len(shown) + 1) // 2
        for place, action in enumerate(shown):
            row, column = place % half, 2 * (place // half)
            grid.addWidget(QLabel(action.toolTip().split(" (")[0]), row, column)
            keys = QLabel(action.shortcut().toString(QKeySequence.SequenceFormat.NativeText))
            keys.setObjectName("source")
            keys.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            grid.addWidget(keys, row, column + 1)
        words = QLabel(
            "<b>Dependency</b>: what the network looked at to place the joint.<br>"
            "<b>Affected</b>: which places looked at the joint for their own decision.<br>"
            "<b>Heatmap</b>: how likely each place is the joint.<br>"
            "Click a joint in the picture, or pick one from the body diagram, where up and down go through all joints."
        )
        words.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 16)
        layout.setSpacing(16)
        layout.addLayout(grid)
        layout.addWidget(words)
        layout.addWidget(buttons)
