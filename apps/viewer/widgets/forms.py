"""Small inputs that the settings are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PyQt6.QtCore import QPoint, QPointF, QRectF, Qt, pyqtSignal
from PyQt6.QtGui import QPainter, QPaintEvent, QPalette, QPen, QPolygonF, QWheelEvent
from PyQt6.QtWidgets import QCheckBox, QComboBox, QFrame, QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget


class Amount(QWidget):
    """A number on a slider, written beside it.

    Args:
        lowest: At the slider's left end.
        highest: At its right end.
        step: Between two places.
        text: Writes the number.

    Attributes:
        changed: Emitted with the number when the user moves the slider.
    """

    changed = pyqtSignal(float)

    def __init__(self, name: str, lowest: float, highest: float, step: float, text: Callable[[float], str]) -> None:
        super().__init__()
        self._lowest, self._step, self._text = lowest, step, text
        self.slider = _StillSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName(name)
        self.slider.setRange(0, round((highest - lowest) / step))
        self._label = QLabel()
        self._label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        top = QHBoxLayout()
        top.addWidget(QLabel(name))
        top.addStretch()
        top.addWidget(self._label)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(top)
        layout.addWidget(self.slider)
        self.slider.valueChanged.connect(self._moved)

    @property
    def value(self) -> float:
        """The number."""
        return round(self._lowest + self._step * self.slider.value(), 6)  # 0.1 + 2 * 0.1 is not quite 0.3

    def set_value(self, value: float) -> None:
        """Show a number without telling anybody."""
        self.slider.blockSignals(True)
        self.slider.setValue(round((value - self._lowest) / self._step))
        self.slider.blockSignals(False)
        self._label.setText(self._text(self.value))

    def _moved(self) -> None:
        self._label.setText(self._text(self.value))
        self.changed.emit(self.value)


class _StillSlider(QSlider):
    """A slider that scrolls with its panel: the mouse wheel must not change settings by accident."""

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802 - Qt's name
        if event is not None:
            event.ignore()


class StillComboBox(QComboBox):
    """A list that scrolls with its panel, with an arrow that has the text's colour."""

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Add the arrow; a style sheet could only take it from a file."""
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(self.palette().color(QPalette.ColorRole.PlaceholderText), 1.6))
        x, y = self.width() - 15, self.height() / 2
        painter.drawPolyline(QPolygonF([QPointF(x - 4, y - 2), QPointF(x, y + 2), QPointF(x + 4, y - 2)]))

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802 - Qt's name
        """Leave it to the panel."""
        if event is not None:
            event.ignore()


def choices(name: str, values: Sequence[str], editable: bool = False) -> StillComboBox:
    """A list to choose from."""
    box = StillComboBox()
    box.setAccessibleName(name)
    box.addItems(list(values))
    box.setEditable(editable)
    box.setMinimumContentsLength(10)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return box


class Switch(QCheckBox):
    """A box to tick, drawn as a switch at the right end of its line."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.setToolTip(hint)
        self.setMinimumHeight(24)

    def hitButton(self, pos: QPoint) -> bool:  # noqa: N802 - Qt's name
        """All of the line can be clicked."""
        return self.rect().contains(pos)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw the text and the switch."""
        painter, colors = QPainter(self), self.palette()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(colors.color(QPalette.ColorRole.WindowText))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self.text())
        track = QRectF(self.width() - 35, (self.height() - 18) / 2, 34, 18)
        on = self.isChecked()
        role = QPalette.ColorRole.Highlight if on else QPalette.ColorRole.Mid
        pen = QPen(colors.color(QPalette.ColorRole.WindowText), 1) if self.hasFocus() else QPen(Qt.PenStyle.NoPen)
        painter.setPen(pen)
        painter.setBrush(colors.color(role))
        painter.drawRoundedRect(track, 9, 9)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colors.color(QPalette.ColorRole.HighlightedText if on else QPalette.ColorRole.WindowText))
        painter.drawEllipse(QPointF(track.right() - 9 if on else track.left() + 9, track.center().y()), 6, 6)


def labelled(name: str, widget: QWidget) -> QWidget:
    """A widget with its name to the left."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    label = QLabel(name)
    label.setFixedWidth(84)
    layout.addWidget(label)
    layout.addWidget(widget, 1)
    return row


def heading(text: str) -> QLabel:
    """The title of a group."""
    label = QLabel(text.upper())
    label.setObjectName("heading")
    return label


def line() -> QFrame:
    """Between two groups."""
    frame = QFrame()
    frame.setObjectName("line")
    frame.setFixedHeight(1)
    return frame
