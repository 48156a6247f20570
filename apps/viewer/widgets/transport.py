"""The bar below the picture: play, step, scrub."""

from __future__ import annotations

from PyQt6.QtCore import QSize, Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QAction
from PyQt6.QtWidgets import QHBoxLayout, QLabel, QSlider, QStyle, QStyleOptionSlider, QToolButton, QWidget

from ..engine.events import FrameView, SourceInfo

SETTLE_MS = 120  # the slider rests so long before its frame is gone to: each costs decoding up to there


class Scrubber(QSlider):
    """A slider that goes to where it is clicked."""

    def mousePressEvent(self, event):  # type: ignore[no-untyped-def]  # noqa: N802 - Qt's
        """Jump, then drag."""
        style = self.style()
        if event.button() == Qt.MouseButton.LeftButton and style is not None:
            option = QStyleOptionSlider()
            self.initStyleOption(option)
            handle = style.subControlRect(
                QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle, self
            )
            if not handle.contains(event.pos()):
                span = max(1, self.width() - handle.width())
                place = round(event.position().x() - handle.width() / 2)
                self.setValue(QStyle.sliderValueFromPosition(self.minimum(), self.maximum(), place, span))
                self.sliderMoved.emit(self.value())
        super().mousePressEvent(event)


class Transport(QWidget):
    """Play, step and scrub.

    Args:
        actions: "play", "back", "step" and "loop".

    Attributes:
        sought: Emitted with a frame's index.
    """

    sought = pyqtSignal(int)

    def __init__(self, actions: dict[str, QAction]) -> None:
        super().__init__()
        self.setObjectName("transport")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFixedHeight(52)
        self._info: SourceInfo | None = None
        self._slider = Scrubber(Qt.Orientation.Horizontal)
        self._slider.setAccessibleName("Position in the clip")
        self._slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # its arrow keys are those of the steps
        self._slider.sliderMoved.connect(self._moved)
        self._slider.sliderReleased.connect(self._settled)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._settled)
        self._wanted: int | None = None
        self._clock = QLabel("")
        self._clock.setMinimumWidth(190)
        self._clock.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(10, 0, 14, 0)
        layout.setSpacing(4)
        for name in ("back", "play", "step"):
            layout.addWidget(_button(actions[name]))
        layout.addSpacing(6)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._clock)
        layout.addSpacing(8)
        layout.addWidget(_button(actions["loop"]))
        self.show_source(None)

    def show_source(self, info: SourceInfo | None) -> None:
        """Another source."""
        self._info = info
        scrub = info is not None and info.seekable and bool(info.frame_count and info.frame_count > 1)
        self._slider.setEnabled(scrub)
        self._slider.setRange(0, max(0, (info.frame_count or 1) - 1) if info else 0)
        self._slider.setValue(0)
        self._clock.setText("" if info is None else ("live" if info.kind == "camera" else ""))

    def show_view(self, view: FrameView) -> None:
        """The frame that is shown."""
        info = self._info
        if not self._slider.isSliderDown() and self._wanted is None:
            self._slider.setValue(view.index)
        text = _clock(view.time)
        if info is not None and info.frame_count and info.fps and info.kind == "video":
            text += f" / {_clock(info.frame_count / info.fps)}"
        self._clock.setText(f"{'live · ' if info and info.kind == 'camera' else ''}{text} · frame {view.index}")

    def _moved(self, value: int) -> None:
        self._wanted = value
        self._settle.start()

    def _settled(self) -> None:
        self._settle.stop()
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self.sought.emit(wanted)


def _button(action: QAction) -> QToolButton:
    button = QToolButton()
    button.setObjectName("flat")
    button.setIconSize(QSize(20, 20))
    button.setDefaultAction(action)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button


def _clock(seconds: float) -> str:
    hours, rest = divmod(max(0.0, seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{int(hours)}:{int(minutes):02d}:{rest:04.1f}" if hours else f"{int(minutes)}:{rest:04.1f}"
