"""What the window shows before anything is open."""

from __future__ import annotations

from pathlib import Path

from PyQt6.QtCore import QSize, Qt, pyqtSignal
from PyQt6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ..style.icons import icon
from ..style.theme import DARK, Theme


class StartPage(QWidget):
    """Ways to begin.

    Attributes:
        wanted: Emitted with "open", "camera" or "network".
        chosen: Emitted with a recent source.
    """

    wanted = pyqtSignal(str)
    chosen = pyqtSignal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._mark = QLabel()
        title = QLabel("See where every joint comes from")
        title.setObjectName("title")
        hint = QLabel("Open a video, a camera or a stream, then click a joint. You can also drop a file here.")
        hint.setObjectName("muted")
        self._buttons = {
            "open": ("open", QPushButton("  Open a file")),
            "camera": ("camera", QPushButton("  Use a camera")),
            "network": ("network", QPushButton("  Network stream")),
        }
        row = QHBoxLayout()
        row.setSpacing(10)
        for what, (_, button) in self._buttons.items():
            button.setMinimumHeight(38)
            button.setIconSize(QSize(18, 18))
            button.clicked.connect(lambda _, what=what: self.wanted.emit(what))
            row.addWidget(button)
        self._buttons["open"][1].setObjectName("primary")
        self._recent = QVBoxLayout()
        self._recent.setSpacing(4)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addStretch(3)
        for widget in (self._mark, title, hint):
            layout.addWidget(widget, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addSpacing(8)
        box = QHBoxLayout()
        box.addStretch()
        box.addLayout(row)
        box.addStretch()
        layout.addLayout(box)
        layout.addSpacing(12)
        recent = QHBoxLayout()
        recent.addStretch()
        recent.addLayout(self._recent)
        recent.addStretch()
        layout.addLayout(recent)
        layout.addStretch(4)
        self.use_theme(DARK)

    def use_theme(self, theme: Theme) -> None:
        """Change the colours."""
        self.setStyleSheet(f"StartPage {{ background: {theme.backdrop}; }}")
        self._mark.setPixmap(icon("person", theme.accent).pixmap(64, 64))
        for what, (name, button) in self._buttons.items():
            button.setIcon(icon(name, theme.on_accent if what == "open" else theme.text))

    def show_recent(self, specs: list[str]) -> None:
        """The sources that were opened last."""
        while (item := self._recent.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        if not specs:
            return
        heading = QLabel("RECENT")
        heading.setObjectName("heading")
        self._recent.addWidget(heading, 0, Qt.AlignmentFlag.AlignHCenter)
        for spec in specs:
            button = QPushButton(spec if "://" in spec else Path(spec).name)
            button.setFlat(True)
            button.setToolTip(spec)
            button.clicked.connect(lambda _, spec=spec: self.chosen.emit(spec))
            self._recent.addWidget(button)
