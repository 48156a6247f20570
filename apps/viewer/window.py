"""The main window: joins its parts to the worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PyQt6.QtCore import QByteArray, QSettings, QTimer
from PyQt6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent
from PyQt6.QtWidgets import QApplication, QMainWindow

from transpose_sdk.media.sources import SourceSpec

from .actions import color_actions, create_actions
from .bridge import Bridge
from .engine.events import SourceInfo
from .engine.following import Following
from .engine.settings import MODES, Look, Network, Streaming
from .engine.statistics import Speed
from .engine.worker import ViewerWorker
from .memory import load, save
from .style.theme import chosen_theme, palette, style_sheet
from .widgets.captions import caption
from .widgets.dialogs import HelpSheet, ask_address, ask_file, ask_folder
from .widgets.workspace import Workspace

PLOT_MS = 200
SILENCE = 3.0  # seconds without a picture of a camera after which it is said


class MainWindow(QMainWindow):
    """The viewer.

    Args:
        store: Where settings are remembered.
        network: Fields of settings.Network that differ from what is remembered.
    """

    def __init__(self, store: QSettings, network: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._store = store
        self.memory = load(store)
        self.memory.network = replace(self.memory.network, **(network or {}))
        self.state = "idle"
        self._info: SourceInfo | None = None
        self._keypoint: int | None = None
        self._recording = False
        self.theme = chosen_theme(self.memory.theme)
        self._fresh = False  # whether a view came since the plots were last drawn
        self.bridge = Bridge()
        self.worker = ViewerWorker(self.bridge)
        self.actions_by_name = create_actions(self, self._slots())
        self._build()
        self._connect()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._sample)
        self._timer.start(PLOT_MS)
        self._use_theme(self.memory.theme)
        self._use_look(self.memory.look)
        self.parts.start_page.show_recent(self.memory.recent)
        self.worker.use_streaming(self.memory.streaming)
        self.worker.set_loop(self.memory.loop)
        self.worker.use_network(self.memory.network)

    def open(self, spec: SourceSpec) -> None:
        """Play a source."""
        self.parts.banner.hide()
        self.worker.open(spec)

    def _build(self) -> None:
        self.setWindowTitle("TransPose viewer")
        self.setAcceptDrops(True)
        self.setMinimumSize(900, 560)
        self.resize(1280, 720)
        actions = self.actions_by_name
        self.parts = Workspace(actions, self.memory)
        self.setCentralWidget(self.parts)
        self.parts.start_page.setFocus()  # not the first button; the picture gets it with the first view
        if self.memory.geometry:
            self.restoreGeometry(QByteArray(self.memory.geometry))
        actions["panel"].setChecked(self.memory.panel)
        actions["loop"].setChecked(self.memory.loop)
        self._show_state("idle")

    def _connect(self) -> None:
        told = self.bridge.signals
        told.viewed.connect(self._show_view)
        told.opened.connect(self._show_source)
        told.loaded.connect(self._show_network)
        told.stated.connect(self._show_state)
        told.busied.connect(self.parts.chip.say)
        told.failed.connect(self._show_failure)
        told.saved.connect(lambda path: self.parts.banner.notice(f"Saved {path}"))
        told.recorded.connect(self._show_recording)
        self.parts.canvas.resized.connect(self.worker.resize)
        self.parts.canvas.joint_clicked.connect(self._follow_clicked)
        self.parts.canvas.missed.connect(self.parts.banner.notice)
        self.parts.inspector.picked.connect(self._pick)
        self.parts.header.camera_chosen.connect(self.open)
        self.parts.transport.sought.connect(self.worker.seek)
        self.parts.start_page.chosen.connect(self.open)
        self.parts.start_page.wanted.connect(self._begin)
        self.parts.settings.network_changed.connect(self.worker.use_network)
        self.parts.settings.streaming_changed.connect(self._use_streaming)
        self.parts.settings.look_changed.connect(self._use_look)
        self.parts.settings.theme_changed.connect(self._use_theme)
        self.parts.settings.folder_changed.connect(lambda folder: setattr(self.memory, "folder", folder))

    def _slots(self) -> dict[str, Any]:
        modes = {mode: lambda mode=mode: self._use_look(replace(self.memory.look, mode=mode)) for mode in MODES}
        return modes | {
            "open": lambda: ask_file(self, self.open),
            "folder": lambda: ask_folder(self, self.open),
            "network": lambda: ask_address(self, self.open),
            "play": lambda: self.worker.pause() if self.state == "playing" else self.worker.play(),
            "back": self._step_back,
            "step": self.worker.step,
            "loop": self._toggle_loop,
            "next": lambda: self._pick_next(1),
            "previous": lambda: self._pick_next(-1),
            "clear": lambda: self.parts.banner.hide() if self.parts.banner.isVisible() else self._pick(-1),
            "skeletons": lambda: self._use_look(replace(self.memory.look, skeletons=not self.memory.look.skeletons)),
            "boxes": lambda: self._use_look(replace(self.memory.look, boxes=not self.memory.look.boxes)),
            "record": self._toggle_recording,
            "screenshot": lambda: self.worker.screenshot(self.memory.new_file(".png")),
            "theme": lambda: self.parts.settings.theme.setCurrentText("Light" if self.theme.name == "dark" else "Dark"),
            "panel": lambda: self.parts.panel.setVisible(self.actions_by_name["panel"].isChecked()),
            "settings": self._show_settings,
            "full": lambda: self.showNormal() if self.isFullScreen() else self.showFullScreen(),
            "help": lambda: HelpSheet(self, self.actions_by_name.values()).open(),
            "quit": self.close,
        }

    # What the worker tells

    def _show_view(self) -> None:
        view = self.worker.take_view()
        if view is None:
            return
        self._fresh = True
        self.parts.canvas.show_view(view)
        self.parts.canvas.set_caption(caption(view, self._keypoint, self.memory.look.mode))
        self.parts.transport.show_view(view)
        self.parts.stage.setCurrentWidget(self.parts.canvas)

    def _show_source(self, info: SourceInfo) -> None:
        self._info = info
        self.parts.header.show_source(info.name)
        self.parts.transport.show_source(info)
        self.parts.inspector.plots.clear()
        self.setWindowTitle(f"{info.name} – TransPose viewer")
        if isinstance(info.spec, str | Path):
            self.memory.opened(str(info.spec))
            self.parts.start_page.show_recent(self.memory.recent)

    def _show_network(self, network: Network, description: dict[str, Any]) -> None:
        self.memory.network = network
        attention = "" if description["has_attention"] else " It gives no attention: only heatmaps can be shown."
        what = "{name} runs in {precision} on {device}.".format(**description)
        self.parts.settings.show_network(network, what + attention)

    def _show_state(self, state: str) -> None:
        self.state = state
        actions = self.actions_by_name
        actions["play"].setEnabled(state != "idle")
        for name in ("step", "back"):
            actions[name].setEnabled(state in ("playing", "paused") or (name == "back" and state == "ended"))
        for name in ("record", "screenshot"):
            actions[name].setEnabled(state != "idle")
        self._color_actions()

    def _show_failure(self, message: str) -> None:
        self.parts.banner.error(message)
        self.parts.settings.show_network(self.memory.network)
        self._color_actions()

    def _show_recording(self, path: Path | None) -> None:
        self._recording = path is not None
        self._color_actions()

    def _sample(self) -> None:
        """What need not change with every frame."""
        view = self.parts.canvas.view
        fresh, self._fresh = self._fresh, False
        if fresh:
            self.parts.inspector.show_view(view, self._keypoint)
        if self.state == "playing" and view is not None:
            silent = self.worker.silent_for
            stalled = not fresh and silent > 1
            self.parts.inspector.plots.add(Speed(dropped=view.speed.dropped) if stalled else view.speed)
            if self._info is not None and self._info.kind == "camera" and silent > SILENCE:
                self.parts.canvas.set_caption(f"no picture from {self._info.name} for {silent:.0f} s; waiting for it")

    # What the user wants

    def _begin(self, what: str) -> None:
        if what == "camera":
            self.parts.header.open_menu()
        else:
            self.actions_by_name[what].trigger()

    def _follow_clicked(self, person: int, keypoint: int) -> None:
        view = self.parts.canvas.view
        if view is None or person >= len(view.poses):
            return
        track_id = None if view.poses.track_ids is None else int(view.poses.track_ids[person])
        self._follow(Following(keypoint, track_id, view.poses.boxes[person], chosen=True))

    def _pick(self, keypoint: int) -> None:
        view = self.parts.canvas.view
        before = None if view is None else view.following
        if keypoint < 0:
            self._follow(None)
        else:
            self._follow(Following(keypoint) if before is None else replace(before, keypoint=keypoint))

    def _pick_next(self, step: int) -> None:
        view = self.parts.canvas.view
        if view is not None:
            count = len(view.poses.skeleton)
            self._pick(0 if self._keypoint is None else (self._keypoint + step) % count)

    def _follow(self, following: Following | None) -> None:
        self._keypoint = None if following is None else following.keypoint
        if following is not None and self.memory.look.mode == "off":
            self._use_look(replace(self.memory.look, mode="dependency"))
        self.worker.follow(following)
        self.parts.inspector.show_view(self.parts.canvas.view, self._keypoint)

    def _step_back(self) -> None:
        view = self.parts.canvas.view
        if view is not None and view.index > 0:
            self.worker.pause()
            self.worker.seek(view.index - 1)

    def _toggle_loop(self) -> None:
        self.memory.loop = self.actions_by_name["loop"].isChecked()
        self.worker.set_loop(self.memory.loop)
        self._color_actions()

    def _toggle_recording(self) -> None:
        if self._recording:
            self.worker.stop_recording()
        else:
            self.worker.record(self.memory.new_file(".mp4"))

    def _show_settings(self) -> None:
        self.actions_by_name["panel"].setChecked(True)
        self.parts.panel.show()
        self.parts.panel.setCurrentWidget(self.parts.settings)

    def _use_look(self, look: Look) -> None:
        self.memory.look = look
        self.parts.canvas.min_score = look.min_score
        self.actions_by_name[look.mode].setChecked(True)
        self.parts.settings.show_look(look)
        self.worker.use_look(look)

    def _use_streaming(self, streaming: Streaming) -> None:
        self.memory.streaming = streaming
        self.worker.use_streaming(streaming)

    def _use_theme(self, choice: str) -> None:
        self.memory.theme = choice
        self.theme = chosen_theme(choice)
        QApplication.setPalette(palette(self.theme))
        self.setStyleSheet(style_sheet(self.theme))
        self.parts.use_theme(self.theme)
        self._color_actions()

    def _color_actions(self) -> None:
        color_actions(self.actions_by_name, self.theme, self.state == "playing", self._recording)

    # What Qt tells

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take files."""
        data = None if event is None else event.mimeData()
        if event is not None and data is not None and data.hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802 - Qt's name
        """Open the first file that is dropped."""
        data = None if event is None else event.mimeData()
        if data is not None and data.hasUrls():
            url = data.urls()[0]
            self.open(url.toLocalFile() if url.isLocalFile() else url.toString())

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Remember the settings and end all threads."""
        self.memory.geometry = bytes(self.saveGeometry().data())
        self.memory.panel = self.parts.panel.isVisible()
        save(self._store, self.memory)
        self._timer.stop()
        self.hide()  # at once; the threads may take a moment
        self.worker.close()
        super().closeEvent(event)
