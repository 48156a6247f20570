"""A figure whose joints can be picked, and which shows how sure the network is of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QEvent, QPointF, QSize, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PyQt6.QtWidgets import QToolTip, QWidget

from transpose_sdk.drawing.annotator import skeleton_colors
from transpose_sdk.skeletons import COCO17, Skeleton

from ..style.theme import DARK, Theme
from .canvas import joint_name

# Places of the joints of all skeletons we know, in a figure of width and height 1 that looks at us, so that the
# person's left is on our right. Only the left and the middle are given.
LEFT: dict[str, tuple[float, float]] = {
    "nose": (0.5, 0.13), "left_eye": (0.55, 0.085), "left_ear": (0.61, 0.115), "left_shoulder": (0.65, 0.26),
    "left_elbow": (0.77, 0.41), "left_wrist": (0.86, 0.55), "left_hip": (0.59, 0.55), "left_knee": (0.62, 0.74),
    "left_ankle": (0.64, 0.93), "pelvis": (0.5, 0.55), "thorax": (0.5, 0.27), "upper_neck": (0.5, 0.2),
    "head_top": (0.5, 0.05),
}  # fmt: skip
PLACES = LEFT | {name.replace("left", "right"): (1 - x, y) for name, (x, y) in LEFT.items() if "left" in name}
RADIUS, REACH = 7.0, 20.0


class BodyDiagram(QWidget):
    """The figure.

    Attributes:
        picked: Emitted with the index of a keypoint.
    """

    picked = pyqtSignal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(150)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Body diagram: pick a joint")
        self.theme: Theme = DARK
        self._skeleton = COCO17
        self._chosen: int | None = None
        self._scores: NDArray[np.float32] | None = None
        self._hovered: int | None = None

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Preferred size."""
        return QSize(280, 180)

    def set_state(self, skeleton: Skeleton, chosen: int | None, scores: NDArray[np.float32] | None) -> None:
        """Show the joint chosen, and the (K,) scores of the person it belongs to."""
        self._skeleton, self._chosen, self._scores = skeleton, chosen, scores
        self.update()

    def place(self, keypoint: int) -> QPointF:
        """Where a joint is, in the widget's coordinates."""
        side = min(self.width() / 0.95, self.height() / 1.0)
        x, y = PLACES.get(self._skeleton.names[keypoint], (0.04, 0.06 * keypoint + 0.04))
        return QPointF(self.width() / 2 + (x - 0.5) * side, y * side)

    def _joint_at(self, position: QPointF) -> int | None:
        distances = [(position - self.place(keypoint)).manhattanLength() for keypoint in range(len(self._skeleton))]
        nearest = int(np.argmin(distances))
        return nearest if distances[nearest] <= REACH else None

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw limbs, joints, and the sides' letters."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        limbs, joints = skeleton_colors(self._skeleton)
        for (a, b), (blue, green, red) in zip(self._skeleton.edges, limbs, strict=True):
            color = QColor(red, green, blue, 120)
            painter.setPen(QPen(color, 3.5, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
            painter.drawLine(self.place(a), self.place(b))
        for keypoint, (blue, green, red) in enumerate(joints):
            head = keypoint in (1, 2, 3, 4) and self._skeleton == COCO17
            radius = RADIUS * (0.75 if head else 1.0)
            score = 1.0 if self._scores is None else float(np.clip(self._scores[keypoint], 0, 1))
            # A rim, for the palest joints on the light theme.
            painter.setPen(QPen(QColor(self.theme.muted), 1))
            painter.setBrush(QColor(self.theme.surface))
            painter.drawEllipse(self.place(keypoint), radius, radius)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(red, green, blue, round(40 + 215 * score)))
            painter.drawEllipse(self.place(keypoint), radius, radius)
            if keypoint in (self._chosen, self._hovered):
                ring = self.theme.text if keypoint == self._chosen else self.theme.muted
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.setPen(QPen(QColor(ring), 2.5))
                painter.drawEllipse(self.place(keypoint), radius + 4, radius + 4)
        painter.setPen(QColor(self.theme.muted))
        painter.drawText(8, self.height() - 8, "right")
        painter.drawText(self.width() - 32, self.height() - 8, "left")
        if self.hasFocus() and self._chosen is None:
            painter.setPen(QPen(QColor(self.theme.accent), 1, Qt.PenStyle.DotLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(self.rect().adjusted(1, 1, -2, -2), 6, 6)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Name the joint under the mouse."""
        if event is None:
            return
        hovered = self._joint_at(event.position())
        if hovered != self._hovered:
            self._hovered = hovered
            text = "" if hovered is None else joint_name(self._skeleton.names[hovered])
            QToolTip.showText(event.globalPosition().toPoint(), text, self)
            self.setCursor(Qt.CursorShape.ArrowCursor if hovered is None else Qt.CursorShape.PointingHandCursor)
            self.update()

    def leaveEvent(self, event: QEvent | None) -> None:  # noqa: N802 - Qt's name
        """The mouse has gone."""
        self._hovered = None
        self.update()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Pick a joint."""
        keypoint = None if event is None else self._joint_at(event.position())
        if keypoint is not None:
            self.picked.emit(keypoint)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Up and down go from joint to joint."""
        steps = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}
        if event is None or event.key() not in steps:
            super().keyPressEvent(event)
            return
        step = steps[Qt.Key(event.key())]
        self.picked.emit(0 if self._chosen is None else (self._chosen + step) % len(self._skeleton))
