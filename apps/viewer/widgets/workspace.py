"""Everything inside the window, and where it lies."""

from __future__ import annotations

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QAction, QResizeEvent
from PyQt6.QtWidgets import QHBoxLayout, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from ..memory import Remembered
from ..style.theme import Theme
from .canvas import Canvas
from .header import Header
from .inspector import Inspector
from .messages import Banner, BusyChip
from .settings_panel import SettingsPanel
from .start_page import StartPage
from .transport import Transport

PANEL_WIDTH = 312


class Workspace(QWidget):
    """The parts: a bar at the top, the picture and the panel beside it, and the transport below.

    Args:
        actions: Those of the window.
        memory: What was remembered.
    """

    def __init__(self, actions: dict[str, QAction], memory: Remembered) -> None:
        super().__init__()
        self.header, self.transport = Header(actions), Transport(actions)
        self.canvas, self.start_page = Canvas(), StartPage()
        self.stage = QStackedWidget()
        self.stage.addWidget(self.start_page)
        self.stage.addWidget(self.canvas)
        self.banner, self.chip = Banner(self.stage), BusyChip(self.stage)
        self.chip.move(16, 16)
        self.inspector, self.settings = Inspector(), SettingsPanel(memory)
        self.panel = QTabWidget()
        self.panel.setObjectName("panel")
        self.panel.setDocumentMode(True)
        self.panel.setFixedWidth(PANEL_WIDTH)
        self.panel.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        tabs = self.panel.tabBar()
        if tabs is not None:
            tabs.setDrawBase(False)
            tabs.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.panel.addTab(self.inspector, "Inspect")
        self.panel.addTab(self.settings, "Settings")
        self.panel.setVisible(memory.panel)
        middle = QHBoxLayout()
        middle.setSpacing(0)
        middle.addWidget(self.stage, 1)
        middle.addWidget(self.panel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.header)
        layout.addLayout(middle, 1)
        layout.addWidget(self.transport)

    def use_theme(self, theme: Theme) -> None:
        """Change the colours of what the style sheet does not reach."""
        for painted in (self.canvas, self.inspector.body):
            painted.theme = theme
            painted.update()
        for part in (self.header, self.banner, self.start_page, self.inspector.plots):
            part.use_theme(theme)

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """Keep the message in the middle."""
        super().resizeEvent(event)
        self.banner.place()
