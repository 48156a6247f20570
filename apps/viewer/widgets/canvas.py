"""The picture: shows finished views, and tells which joint is under the mouse."""

from __future__ import annotations

from PyQt6.QtCore import QEvent, QPointF, QRectF, Qt, pyqtSignal
from PyQt6.QtGui import (
    QColor,
    QEnterEvent,
    QFontMetrics,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)  # fmt: skip
from PyQt6.QtWidgets import QWidget

from transpose_sdk.errors import InputError
from transpose_sdk.scores import LIKELY

from ..engine.events import FrameView
from ..engine.following import joint_at
from ..style.theme import DARK, Theme


def joint_name(name: str) -> str:
    """A joint's name for people: "left_wrist" is "left wrist"."""
    return name.replace("_", " ")


class Canvas(QWidget):
    """Shows views.

    Attributes:
        joint_clicked: Emitted with the index of the person and of the keypoint.
        missed: Emitted with the reason when a click meant no joint.
        resized: Emitted with the width and height in device px.
    """

    joint_clicked = pyqtSignal(int, int)
    missed = pyqtSignal(str)
    resized = pyqtSignal(int, int)

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(320, 240)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Picture")
        self.theme: Theme = DARK
        self.min_score = LIKELY
        self._view: FrameView | None = None
        self._image: QImage | None = None
        self._mouse: QPointF | None = None
        self._caption = ""

    @property
    def view(self) -> FrameView | None:
        """What is shown."""
        return self._view

    def show_view(self, view: FrameView) -> None:
        """Show another view."""
        height, width = view.image.shape[:2]
        self._view = view
        # The view keeps the array alive, which the QImage does not copy.
        self._image = QImage(view.image.data, width, height, 3 * width, QImage.Format.Format_BGR888)  # type: ignore[call-overload]
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self._image = self._view = None
        self.update()

    def set_caption(self, text: str) -> None:
        """A line over the lower left corner of the picture."""
        if text != self._caption:
            self._caption = text
            self.update()

    def position_of(self, person: int, keypoint: int) -> QPointF:
        """Where a joint of the view is drawn, in the widget's coordinates."""
        if self._view is None:
            raise InputError("no picture is shown: open a clip or a camera first")
        x, y = (float(value) for value in self._view.poses.keypoints[person, keypoint])
        target, (width, height) = self._target(), self._frame_size()
        return target.topLeft() + QPointF((x + 0.5) * target.width() / width, (y + 0.5) * target.height() / height)

    def _frame_size(self) -> tuple[float, float]:
        """Of the frame, in its own px."""
        if self._view is None:
            return 1.0, 1.0
        height, width = self._view.image.shape[:2]
        return width / self._view.scale, height / self._view.scale

    def _target(self) -> QRectF:
        """Where the picture lies: as large as fits, in the middle."""
        if self._image is None:
            return QRectF()
        factor = min(self.width() / self._image.width(), self.height() / self._image.height())
        width, height = factor * self._image.width(), factor * self._image.height()
        return QRectF((self.width() - width) / 2, (self.height() - height) / 2, width, height)

    def _joint_at(self, position: QPointF) -> tuple[int, int]:
        """Person and keypoint under a position of the widget. Raises InputError where there is none."""
        target = self._target()
        if self._view is None or target.isEmpty() or not target.contains(position):
            raise InputError("there is no picture there: click a joint of a person")
        width, height = self._frame_size()
        x = (position.x() - target.x()) * width / target.width() - 0.5
        y = (position.y() - target.y()) * height / target.height() - 0.5
        return joint_at(self._view.poses, (x, y), self.min_score)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw the picture, the joint under the mouse, and the caption."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(self.theme.backdrop))
        if self._image is None or self._view is None:
            return
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        target = self._target()
        painter.drawImage(target, self._image)
        if self._mouse is not None:
            try:
                person, keypoint = self._joint_at(self._mouse)
            except InputError:
                pass
            else:
                self._draw_hover(painter, person, keypoint)
        if self._caption:
            self._draw_plate(painter, self._caption, QPointF(target.left() + 12, target.bottom() - 40))

    def _draw_hover(self, painter: QPainter, person: int, keypoint: int) -> None:
        assert self._view is not None
        poses, center = self._view.poses, self.position_of(person, keypoint)
        painter.setPen(QPen(QColor(0, 0, 0, 160), 4))
        painter.drawEllipse(center, 11, 11)
        painter.setPen(QPen(QColor(255, 255, 255), 2))
        painter.drawEllipse(center, 11, 11)
        name = joint_name(poses.skeleton.names[keypoint])
        whose = "" if poses.track_ids is None else f"  #{poses.track_ids[person]}"
        self._draw_plate(painter, f"{name}{whose}  {poses.scores[person, keypoint]:.2f}", center + QPointF(16, -34))

    def _draw_plate(self, painter: QPainter, text: str, corner: QPointF) -> None:
        """Text on a dark plate, moved into the widget; dark in both themes, for it lies on a picture."""
        metrics = QFontMetrics(painter.font())
        text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(60, self.width() - 44))
        plate = QRectF(corner.x(), corner.y(), metrics.horizontalAdvance(text) + 20, 28)
        plate.moveLeft(min(max(plate.left(), 4), self.width() - plate.width() - 4))
        plate.moveTop(min(max(plate.top(), 4), self.height() - plate.height() - 4))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(12, 14, 18, 205))
        painter.drawRoundedRect(plate, 6, 6)
        painter.setPen(QColor(240, 242, 246))
        painter.drawText(plate, Qt.AlignmentFlag.AlignCenter, text)
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """Ask for pictures of the new size."""
        ratio = self.devicePixelRatioF()
        self.resized.emit(round(ratio * self.width()), round(ratio * self.height()))

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Mark the joint under the mouse."""
        if event is not None:
            self._mouse = event.position()
            self.update()

    def enterEvent(self, event: QEnterEvent | None) -> None:  # noqa: N802 - Qt's name
        """The mouse has come."""
        if event is not None:
            self._mouse = event.position()

    def leaveEvent(self, event: QEvent | None) -> None:  # noqa: N802 - Qt's name
        """The mouse has gone."""
        self._mouse = None
        self.update()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Choose a joint."""
        if event is None or event.button() != Qt.MouseButton.LeftButton or self._view is None:
            return
        try:
            person, keypoint = self._joint_at(event.position())
        except InputError as error:
            self.missed.emit(str(error))
        else:
            self.joint_clicked.emit(person, keypoint)
