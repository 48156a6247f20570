"""The viewer's window, on Qt's offscreen platform."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import cv2
import numpy as np
import pytest

pytest.importorskip("PyQt6.QtWidgets", reason="the viewer needs PyQt6: pip install transpose-sdk[viewer]")
pytest.importorskip("pytestqt", reason="these tests need pytest-qt: pip install transpose-sdk[test-viewer]")

from PyQt6.QtCore import QPoint, QSettings, Qt, QTimer

from transpose_sdk import COCO17
from transpose_sdk.apps.viewer import memory
from transpose_sdk.apps.viewer.engine.following import joint_at
from transpose_sdk.apps.viewer.engine.settings import MODES, Streaming
from transpose_sdk.apps.viewer.widgets.body import BodyDiagram
from transpose_sdk.apps.viewer.widgets.dialogs import HelpSheet, StreamDialog
from transpose_sdk.apps.viewer.window import MainWindow

WAIT = 60.0  # seconds; a busy machine compiles slowly
BLOCKED = 0.05
CLOSING = 3.0  # seconds, on a busy machine; the stream's own threads take up to one


@pytest.fixture
def store(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat)


@pytest.fixture
def open_window(
    qtbot: Any, store: QSettings, trained_network: dict[str, str], tmp_path: Path
) -> Iterator[Callable[[], MainWindow]]:
    """Opens windows of 1280x720 px on the same remembered settings; all threads must end with the last one."""
    before, windows = set(threading.enumerate()), []

    def opened() -> MainWindow:
        window = MainWindow(store, trained_network)
        window.memory.folder = str(tmp_path / "saved")
        windows.append(window)
        qtbot.addWidget(window)
        window.show()
        return window

    yield opened
    for window in windows:
        window.close()
    until(qtbot, lambda: set(threading.enumerate()) <= before)


def until(qtbot: Any, condition: Callable[[], object]) -> None:
    qtbot.waitUntil(lambda: bool(condition()), timeout=int(1000 * WAIT))


def play(qtbot: Any, window: MainWindow, clip: Path) -> None:
    """Open a clip and wait for somebody in it."""
    window.open(str(clip))
    until(qtbot, lambda: window.parts.canvas.view is not None and len(window.parts.canvas.view.poses))


def test_window_plays_and_follows_the_joint_that_is_clicked(
    qtbot: Any, open_window: Callable[[], MainWindow], people_clip: Path
) -> None:
    window = open_window()
    parts = window.parts
    assert parts.stage.currentWidget() is parts.start_page
    assert (window.width(), window.height()) == (1280, 720)
    play(qtbot, window, people_clip)
    assert parts.stage.currentWidget() is parts.canvas
    assert window.windowTitle().startswith("people.avi")
    window.actions_by_name["play"].trigger()
    until(qtbot, lambda: window.state == "paused")
    qtbot.wait(1000)  # what was in the stream still comes
    view = parts.canvas.view
    assert view is not None and len(view.poses)
    keypoint = int(np.argmax(view.poses.scores[0]))
    place = parts.canvas.position_of(0, keypoint).toPoint()
    qtbot.mouseClick(parts.canvas, Qt.MouseButton.LeftButton, pos=place)
    until(qtbot, lambda: parts.canvas.view.person is not None)
    following = parts.canvas.view.following
    assert following is not None and following.chosen
    whose, chosen = joint_at(view.poses, tuple(view.poses.keypoints[0, keypoint].tolist()))
    assert (following.keypoint, following.track_id) == (chosen, int(view.poses.track_ids[whose]))
    until(qtbot, lambda: parts.inspector.joints.currentIndex() == chosen + 1)
    window.actions_by_name["play"].trigger()
    until(qtbot, lambda: parts.canvas.view.index != view.index and parts.canvas.view.person is not None)
    assert parts.canvas.view.following.track_id == following.track_id


def test_window_records_and_remembers(
    qtbot: Any, open_window: Callable[[], MainWindow], store: QSettings, people_clip: Path, tmp_path: Path
) -> None:
    window = open_window()
    parts, actions = window.parts, window.actions_by_name
    play(qtbot, window, people_clip)
    actions["record"].trigger()
    until(qtbot, lambda: window._recording)
    qtbot.wait(1500)
    actions["record"].trigger()
    until(qtbot, lambda: parts.banner.text.startswith("Saved"))
    (video,) = (tmp_path / "saved").glob("*.mp4")
    capture = cv2.VideoCapture(str(video))
    assert capture.read()[1].shape == (960, 544, 3)
    capture.release()
    document = json.loads(video.with_suffix(".json").read_text())
    assert document["frames"] and document["source"]["fps"] == 20.0
    assert any(frame["people"] for frame in document["frames"])

    actions["screenshot"].trigger()
    until(qtbot, lambda: list((tmp_path / "saved").glob("*.png")))
    until(qtbot, lambda: parts.banner.text.endswith(".png"))
    (shot,) = (tmp_path / "saved").glob("*.png")
    assert cv2.imread(str(shot)).shape == (960, 544, 3)

    parts.settings.precision.setCurrentText("fp32")
    parts.settings.precision.activated.emit(parts.settings.precision.currentIndex())
    until(qtbot, lambda: window.memory.network.precision == "fp32")
    parts.settings.smooth.setChecked(False)
    parts.settings.interval.slider.setValue(2)
    actions["heatmap"].trigger()
    parts.settings.theme.setCurrentText("Light")
    window.close()

    kept = memory.load(store)
    assert kept.network.precision == "fp32"
    assert kept.streaming == Streaming(None, 0.3)
    assert (kept.look.mode, kept.theme, kept.recent) == ("heatmap", "light", [str(people_clip)])


def test_window_says_what_failed_and_stays_usable(
    qtbot: Any, open_window: Callable[[], MainWindow], people_clip: Path, tmp_path: Path
) -> None:
    window = open_window()
    parts = window.parts
    window.open("/no/such/clip.mp4")
    until(qtbot, lambda: "/no/such/clip.mp4" in parts.banner.text)
    window.worker.use_network(replace(window.memory.network, model=str(tmp_path)))
    until(qtbot, lambda: "bundle.json" in parts.banner.text)
    play(qtbot, window, people_clip)
    window.worker.pause()
    qtbot.wait(500)
    qtbot.mouseClick(parts.canvas, Qt.MouseButton.LeftButton, pos=QPoint(3, 3))
    until(qtbot, lambda: "click a joint" in parts.banner.text)
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert parts.banner.text == ""


class Pulse:
    """Longest gap between two events of this thread's event loop, in seconds.

    The time for which the thread was ready but the machine ran something else, which Linux tells, does not count.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._last: float | None = None
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(5)

    def longest_of(self, qtbot: Any, action: Callable[[], object], milliseconds: int = 700) -> float:
        """The longest gap in the time that an action of the window begins."""
        self.longest, self._last = 0.0, None
        QTimer.singleShot(50, action)
        qtbot.wait(milliseconds)
        return self.longest

    def _beat(self) -> None:
        now = time.perf_counter() - _ready_seconds()
        if self._last is not None:
            self.longest = max(self.longest, now - self._last)
        self._last = now


def _ready_seconds() -> float:
    """Seconds for which this thread has waited for a core."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def test_window_is_never_blocked_while_the_network_is_slow(
    qtbot: Any, open_window: Callable[[], MainWindow], people_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transpose_sdk.backends.openvino import OpenVINOBackend

    submit = OpenVINOBackend.submit

    def slow(self: OpenVINOBackend, crops: Any, attention: bool = False, ahead: bool = False) -> Any:
        time.sleep(0.4)
        return submit(self, crops, attention, ahead)

    monkeypatch.setattr(OpenVINOBackend, "submit", slow)
    window = open_window()
    actions, worker = window.actions_by_name, window.worker
    play(qtbot, window, people_clip)
    pulse = Pulse()
    assert pulse.longest_of(qtbot, lambda: time.sleep(BLOCKED + 0.01)) > BLOCKED  # it would be seen
    deeds: dict[str, Callable[[], object]] = {
        "follow": lambda: window.parts.inspector.picked.emit(9),
        "heatmap": actions["heatmap"].trigger,
        "affected": actions["affected"].trigger,
        "seek": lambda: window.parts.transport.sought.emit(40),
        "smooth": window.parts.settings.smooth.toggle,
        "compile": lambda: worker.use_network(replace(window.memory.network, precision="fp32")),
        "record": actions["record"].trigger,
        "pause": actions["play"].trigger,
    }
    for name, deed in deeds.items():
        # Other threads' turns at the interpreter depend on the machine's load: one undisturbed time is asked for.
        gaps: list[float] = []
        while not gaps or (gaps[-1] >= BLOCKED and len(gaps) < 6):
            gaps.append(pulse.longest_of(qtbot, deed))
        assert min(gaps) < BLOCKED, (name, gaps)


def test_window_closes_at_once_while_a_network_compiles(
    qtbot: Any, open_window: Callable[[], MainWindow], people_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transpose_sdk import estimator
    from transpose_sdk.backends.openvino import OpenVINOBackend

    compiling, compiled, closed = threading.Event(), threading.Event(), threading.Event()
    open_backend, close = estimator.open_backend, OpenVINOBackend.close

    def slow(*arguments: Any, **options: Any) -> Any:
        backend = open_backend(*arguments, **options)
        compiling.set()
        assert compiled.wait(WAIT)
        monkeypatch.setattr(OpenVINOBackend, "close", lambda self: (close(self), closed.set()))
        return backend

    window = open_window()
    play(qtbot, window, people_clip)
    monkeypatch.setattr(estimator, "open_backend", slow)
    window.worker.use_network(replace(window.memory.network, precision="fp32"))
    until(qtbot, compiling.is_set)
    started = time.monotonic()
    window.close()
    assert time.monotonic() - started < CLOSING
    assert not window.worker.ended
    compiled.set()
    until(qtbot, lambda: window.worker.ended)
    assert closed.is_set()  # what came too late


def test_keys_do_what_the_help_sheet_says(qtbot: Any, open_window: Callable[[], MainWindow]) -> None:
    window = open_window()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    for key, mode in zip((Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_3, Qt.Key.Key_4), MODES, strict=True):
        qtbot.keyClick(window, key)
        assert window.memory.look.mode == mode
    boxes = window.memory.look.boxes
    qtbot.keyClick(window, Qt.Key.Key_B)
    assert window.memory.look.boxes is not boxes
    qtbot.keyClick(window, Qt.Key.Key_P)
    assert not window.parts.panel.isVisible()
    qtbot.keyClick(window, Qt.Key.Key_F1)
    sheet = window.findChild(HelpSheet)
    assert sheet is not None and sheet.isVisible()
    sheet.close()


def test_the_start_page_leads_to_sources(qtbot: Any, open_window: Callable[[], MainWindow]) -> None:
    window = open_window()
    window.parts.start_page.wanted.emit("network")
    dialog = window.findChild(StreamDialog)
    assert dialog is not None and dialog.isVisible()
    dialog.address.setText("rtsp://127.0.0.1:9/none")
    dialog.accept()
    until(qtbot, lambda: "rtsp://127.0.0.1:9/none" in window.parts.banner.text)
    window.parts.header.fill_menu()
    assert [action.text() for action in window.parts.header._menu.actions()][:2] == ["File…", "Folder of images…"]


def test_everything_fits_1280_by_720(qtbot: Any, open_window: Callable[[], MainWindow]) -> None:
    window = open_window()
    inspector = window.parts.inspector
    qtbot.waitExposed(window)
    bar = inspector.verticalScrollBar()
    assert bar is not None and bar.maximum() == 0
    assert window.parts.stage.width() >= 900


def test_body_diagram_picks_by_mouse_and_by_key(qtbot: Any) -> None:
    diagram = BodyDiagram()
    qtbot.addWidget(diagram)
    diagram.resize(280, 250)
    diagram.set_state(COCO17, None, None)
    picked: list[int] = []
    diagram.picked.connect(picked.append)
    for keypoint in range(5, len(COCO17)):
        qtbot.mouseClick(diagram, Qt.MouseButton.LeftButton, pos=diagram.place(keypoint).toPoint())
    assert picked == list(range(5, len(COCO17)))
    diagram.set_state(COCO17, 16, None)
    qtbot.keyClick(diagram, Qt.Key.Key_Down)
    assert picked[-1] == 0


def test_only_addresses_can_be_opened_as_streams(qtbot: Any) -> None:
    dialog = StreamDialog(None)  # type: ignore[arg-type]
    qtbot.addWidget(dialog)
    for text, allowed in (("", False), ("camera", False), ("rtsp://", False), ("rtsp://host/1", True)):
        dialog.address.setText(text)
        assert dialog._open is not None and dialog._open.isEnabled() is allowed


@pytest.mark.parametrize(
    ("platform", "hidden", "said"),
    [("", "", "no screen"), ("offscreen", "PyQt6", "transpose-sdk[viewer]")],
)
def test_the_command_says_what_is_missing(platform: str, hidden: str, said: str) -> None:
    script = (
        f"import sys; sys.modules[{hidden!r} or 'nothing'] = None\n"
        "from transpose_sdk.cli.main import main; sys.exit(main(['view']))"
    )
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    environment["QT_QPA_PLATFORM"] = platform
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert said in result.stderr and "Traceback" not in result.stderr
