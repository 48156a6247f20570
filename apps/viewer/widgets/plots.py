"""Small live plots, painted by hand: a line over the last seconds, and a bar of where the time goes."""

from __future__ import annotations

from collections import deque

from PyQt6.QtCore import QPointF, QRectF, Qt
from PyQt6.QtGui import QColor, QFont, QPainter, QPaintEvent, QPen, QPolygonF
from PyQt6.QtWidgets import QVBoxLayout, QWidget

from ..engine.statistics import STAGES, Speed
from ..style.theme import DARK, Theme

HISTORY = 100  # samples
TITLE_HEIGHT = 18
COLUMN_GAP, WORD_GAP = 16, 10


class LinePlot(QWidget):
    """One or more values over time, the last ones in words.

    Args:
        title: What it is.
        lowest_top: The axis reaches at least so far up.
    """

    def __init__(self, title: str, lowest_top: float) -> None:
        super().__init__()
        self.setFixedHeight(50)
        self.theme: Theme = DARK
        self._title, self._lowest_top = title, lowest_top
        self._samples: deque[tuple[float, ...]] = deque(maxlen=HISTORY)
        self._words: tuple[str, ...] = ("–",)

    def add(self, values: tuple[float, ...], *words: str) -> None:
        """One more sample, and what to write: of several values each in the colour of its line."""
        self._samples.append(values)
        self._words = words
        self.setToolTip(f"{self._title}: {', '.join(words)}")
        self.update()

    def clear(self) -> None:
        """Forget all."""
        self._samples.clear()
        self._words = ("–",)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw title, number and lines; later series lie behind the first."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        _title(painter, self.theme, self.rect().toRectF(), self._title, *self._words)
        area = QRectF(0, TITLE_HEIGHT + 4, self.width(), self.height() - TITLE_HEIGHT - 8)
        painter.setPen(QPen(QColor(self.theme.border), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        if len(self._samples) < 2:
            return
        top = max(self._lowest_top, 1.1 * max(max(sample) for sample in self._samples))
        step = area.width() / (HISTORY - 1)
        first = HISTORY - len(self._samples)
        for series in reversed(range(len(self._samples[-1]))):
            points = [
                QPointF((first + place) * step, area.bottom() - area.height() * sample[series] / top)
                for place, sample in enumerate(self._samples)
            ]
            color = QColor(self.theme.series[series])
            if series == 0:
                shade = QColor(color)
                shade.setAlpha(40)
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(shade)
                painter.drawPolygon(
                    QPolygonF([QPointF(points[0].x(), area.bottom()), *points, QPointF(points[-1].x(), area.bottom())])
                )
            painter.setPen(QPen(color, 1.6))
            painter.drawPolyline(QPolygonF(points))


class StageBar(QWidget):
    """Where a frame's time goes, stage by stage."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(TITLE_HEIGHT + 18 + 17 * ((len(STAGES) + 1) // 2))
        self.theme: Theme = DARK
        self._stages: tuple[float, ...] = (0.0,) * len(STAGES)

    def show_stages(self, stages: tuple[float, ...]) -> None:
        """Mean ms of each of STAGES."""
        self._stages = stages
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw a stacked bar and its legend."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        total = sum(self._stages)
        _title(painter, self.theme, self.rect().toRectF(), "Stages", f"{total:.0f} ms" if total else "–")
        left, top = 0.0, TITLE_HEIGHT + 4
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self.theme.raised))
        painter.drawRoundedRect(QRectF(0, top, self.width(), 8), 3, 3)
        for stage, color in zip(self._stages, self.theme.series, strict=True):
            width = self.width() * stage / total if total else 0
            painter.fillRect(QRectF(left, top, width, 8), QColor(color))
            left += width
        column = (self.width() + COLUMN_GAP) / 2
        for place, (name, stage, color) in enumerate(zip(STAGES, self._stages, self.theme.series, strict=True)):
            corner = QPointF((place % 2) * column, top + 14 + 17 * (place // 2))
            painter.fillRect(QRectF(corner.x(), corner.y() + 4, 8, 8), QColor(color))
            line = QRectF(corner.x() + 14, corner.y(), column - COLUMN_GAP - 14, 17)
            painter.setPen(QColor(self.theme.muted))
            painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, name)
            painter.setPen(QColor(self.theme.text))
            number = f"{stage:.1f}" if stage < 100 else f"{stage:.0f}"
            painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, number)


class SpeedPlots(QWidget):
    """All that `Speed` tells."""

    def __init__(self) -> None:
        super().__init__()
        self._fps = LinePlot("Frames per second", 10)
        self._latency = LinePlot("Latency in ms", 20)
        self._dropped = LinePlot("Dropped frames", 4)
        self._stages = StageBar()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for plot in (self._fps, self._latency, self._dropped, self._stages):
            layout.addWidget(plot)
        self._before: int | None = None

    def use_theme(self, theme: Theme) -> None:
        """Change the colours."""
        for plot in (self._fps, self._latency, self._dropped, self._stages):
            plot.theme = theme
            plot.update()

    def add(self, speed: Speed) -> None:
        """One more sample."""
        self._fps.add((speed.fps,), f"{speed.fps:.1f}")
        self._latency.add(
            (speed.p50, speed.p95, speed.p99), f"p50 {speed.p50:.0f}", f"p95 {speed.p95:.0f}", f"p99 {speed.p99:.0f}"
        )
        new = max(0, speed.dropped - (speed.dropped if self._before is None else self._before))
        self._before = speed.dropped
        self._dropped.add((float(new),), str(speed.dropped))
        self._stages.show_stages(speed.stages)

    def clear(self) -> None:
        """Forget all."""
        self._before = None
        for plot in (self._fps, self._latency, self._dropped):
            plot.clear()
        self._stages.show_stages((0.0,) * len(STAGES))


def _title(painter: QPainter, theme: Theme, area: QRectF, title: str, *words: str) -> None:
    """The title at the left and words at the right end; of several, each has the colour of its series."""
    line = QRectF(0, 0, area.width(), TITLE_HEIGHT)
    font = QFont(painter.font())
    font.setPixelSize(12)
    painter.setFont(font)
    painter.setPen(QColor(theme.muted))
    painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, title)
    for place in reversed(range(len(words))):
        painter.setPen(QColor(theme.text if len(words) == 1 else theme.series[place]))
        painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, words[place])
        line.setRight(line.right() - painter.fontMetrics().horizontalAdvance(words[place]) - WORD_GAP)
