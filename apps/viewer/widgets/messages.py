"""Messages inside the window: a banner for what happened, and a chip for what is going on."""

from __future__ import annotations

from PyQt6.QtCore import QRectF, QSize, Qt, QTimer
from PyQt6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QWidget

from ..style.icons import icon
from ..style.theme import DARK, Theme

NOTICE_MS = 5000
TURN_MS = 60


class Banner(QFrame):
    """Says what failed, until it is closed, or what worked, for some seconds."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("banner")
        self._label = QLabel()
        self._label.setWordWrap(True)
        self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self._close = QToolButton()
        self._close.setObjectName("flat")
        self._close.setToolTip("Close (Esc)")
        self._close.setIconSize(QSize(16, 16))
        self._close.clicked.connect(self.hide)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(14, 8, 8, 8)
        layout.addWidget(self._label, 1)
        layout.addWidget(self._close, 0, Qt.AlignmentFlag.AlignTop)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.hide)
        self.use_theme(DARK)
        self.hide()

    @property
    def text(self) -> str:
        """What it says; empty while hidden."""
        return "" if self.isHidden() else self._label.text()

    def use_theme(self, theme: Theme) -> None:
        """Change the colours."""
        self._close.setIcon(icon("close", theme.muted))

    def error(self, text: str) -> None:
        """Something failed."""
        self._say(text, "error")
        self._timer.stop()

    def notice(self, text: str) -> None:
        """Something worked, or a hint."""
        self._say(text, "notice")
        self._timer.start(NOTICE_MS)

    def _say(self, text: str, kind: str) -> None:
        begins_with_a_word = text.split(" ", 1)[0].isalpha()  # and not with a name such as tp_m.tpose
        self._label.setText(text[:1].upper() + text[1:] if begins_with_a_word else text)
        self.setProperty("kind", kind)
        style = self.style()
        if style is not None:  # the style sheet looks at the property only when it is polished
            style.unpolish(self)
            style.polish(self)
        self.place()
        self.show()
        self.raise_()

    def place(self) -> None:
        """Lie at the top of the parent, in its middle."""
        parent = self.parentWidget()
        if parent is None:
            return
        width = min(680, parent.width() - 32)
        inner = width - 80
        height = self._label.heightForWidth(inner)
        single = self._label.fontMetrics().horizontalAdvance(self._label.text()) + 90
        width = min(width, max(320, single))
        self.setGeometry((parent.width() - width) // 2, 16, width, max(height + 24, 44))


class BusyChip(QWidget):
    """Says what takes a while, with a turning arc."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._text = ""
        self._angle = 0
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._turn)
        self.hide()

    def say(self, text: str) -> None:
        """What is going on; nothing hides the chip."""
        self._text = text
        self.setVisible(bool(text))
        if text:
            self.resize(self.fontMetrics().horizontalAdvance(text) + 56, 32)
            self._timer.start(TURN_MS)
            self.raise_()
        else:
            self._timer.stop()

    def _turn(self) -> None:
        self._angle = (self._angle - 24) % 360
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw a dark plate, the arc and the text."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(12, 14, 18, 205))
        painter.drawRoundedRect(self.rect().toRectF(), 6, 6)
        painter.setPen(QPen(QColor("#5aa2ff"), 2.5, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawArc(QRectF(12, 9, 14, 14), 16 * self._angle, 16 * 270)
        painter.setPen(QColor(240, 242, 246))
        painter.drawText(QRectF(36, 0, self.width(), self.height()), Qt.AlignmentFlag.AlignVCenter, self._text)
