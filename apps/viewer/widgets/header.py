"""The bar at the top: what is open, what glows, and what can be done with it."""

from __future__ import annotations

from PyQt6.QtCore import QSize, Qt, pyqtSignal
from PyQt6.QtGui import QAction, QActionGroup
from PyQt6.QtWidgets import QHBoxLayout, QLabel, QMenu, QToolButton, QWidget

from ..engine.cameras import list_cameras
from ..engine.settings import MODES
from ..style.icons import icon
from ..style.theme import Theme


class Header(QWidget):
    """The bar.

    Args:
        actions: Those of the window.

    Attributes:
        camera_chosen: Emitted with a camera's index.
    """

    camera_chosen = pyqtSignal(int)

    def __init__(self, actions: dict[str, QAction]) -> None:
        super().__init__()
        self.setObjectName("bar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFixedHeight(52)
        self._actions = actions
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self.fill_menu)
        self._open = QToolButton()
        self._open.setText(" Open")
        self._open.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._open.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._open.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._open.setMenu(self._menu)
        self._source = QLabel("")
        self._source.setObjectName("source")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 0, 12, 0)
        layout.setSpacing(6)
        layout.addWidget(self._open)
        layout.addSpacing(8)
        layout.addWidget(self._source, 1)
        layout.addLayout(self._segments())
        layout.addStretch(1)
        for name in ("screenshot", "record", "theme", "help", "panel"):
            button = QToolButton()
            button.setObjectName("flat")
            button.setIconSize(QSize(20, 20))
            button.setDefaultAction(actions[name])
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
            layout.addWidget(button)

    def use_theme(self, theme: Theme) -> None:
        """Change the colours."""
        self._open.setIcon(icon("open", theme.text))
        self._color = theme.text

    def show_source(self, name: str) -> None:
        """What is open."""
        width = max(120, self.width() // 5)
        self._source.setText(self._source.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, width))
        self._source.setToolTip(name)

    def open_menu(self) -> None:
        """Show the menu of sources."""
        self._open.showMenu()

    def fill_menu(self) -> None:
        """List what can be opened now."""
        self._menu.clear()
        for name in ("open", "folder", "network"):
            self._menu.addAction(self._actions[name])
        self._menu.addSeparator()
        cameras = list_cameras()
        for camera in cameras:
            action = self._menu.addAction(icon("camera", self._color), f"{camera.name} ({camera.index})")
            if action is not None:
                action.triggered.connect(lambda _, index=camera.index: self.camera_chosen.emit(index))
        if not cameras:
            nothing = self._menu.addAction("No camera found")
            if nothing is not None:
                nothing.setEnabled(False)

    def _segments(self) -> QHBoxLayout:
        """The modes, of which one is chosen."""
        group = QActionGroup(self)
        row = QHBoxLayout()
        row.setSpacing(0)
        for place, mode in enumerate(MODES):
            group.addAction(self._actions[mode])
            button = QToolButton()
            button.setObjectName("segment")
            button.setProperty("place", {0: "first", len(MODES) - 1: "last"}.get(place, "middle"))
            button.setDefaultAction(self._actions[mode])
            row.addWidget(button)
        return row
