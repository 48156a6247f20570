"""Take screenshots of the running viewer on a clip, with or without a screen.

    python examples/benchmarks/viewer_screenshots.py clip.mp4 --out docs/pictures [--joint left_wrist] [--frame 120] \
        [--all]

Writes viewer.jpg (light) and viewer_dark.jpg, both of the same frame with the joint's attention; with --all the start
page, the settings, the shortcuts, an error and smaller and larger windows too. Nothing that is remembered changes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

if sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PyQt6.QtCore import QSettings
from PyQt6.QtWidgets import QApplication, QWidget

from transpose_sdk.apps.viewer.widgets.dialogs import HelpSheet
from transpose_sdk.apps.viewer.window import MainWindow
from transpose_sdk.bundles.bundle import DEFAULT_MODEL
from transpose_sdk.errors import SinkError, SourceError

PATIENCE = 120.0  # seconds for a network to compile and a frame to come
QUALITIES = range(90, 50, -4)  # of a JPEG, tried until it is small enough
LARGEST = 190_000  # bytes


def until(app: QApplication, condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Run the window until something is so.

    Raises:
        SourceError: It did not come.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SourceError(f"waited {seconds:.0f} s in vain for {what}: try another clip or an earlier --frame")
        app.processEvents()
        time.sleep(0.005)


def rest(app: QApplication, seconds: float) -> None:
    """Run the window for some time."""
    end = time.monotonic() + seconds
    until(app, lambda: time.monotonic() > end, "the time to pass")


def save(widget: QWidget, path: Path) -> None:
    """Write what a widget shows. Raises SinkError."""
    picture = widget.grab()
    for quality in QUALITIES:
        if not picture.save(str(path), quality=quality):
            raise SinkError(f"cannot write {path}: give --out a writable folder")
        if path.stat().st_size <= LARGEST:
            break
    sys.stderr.write(f"wrote {path}\n")


def play_to(app: QApplication, window: MainWindow, args: argparse.Namespace) -> None:
    """Play with the joint's attention until the frame is shown, and hold it there."""
    canvas = window.parts.canvas
    window.open(args.source)
    until(app, lambda: canvas.view is not None and len(canvas.view.poses), "somebody in the clip")
    assert canvas.view is not None
    window.parts.inspector.picked.emit(canvas.view.poses.skeleton.index(args.joint))
    # Loops of the clip fill the plots.
    started = time.monotonic()
    until(app, lambda: time.monotonic() - started > args.seconds, "the plots to fill")
    until(app, lambda: canvas.view is not None and canvas.view.index < args.frame, "the clip's next loop")
    until(app, lambda: canvas.view is not None and canvas.view.index >= args.frame, f"frame {args.frame}")


def hold(app: QApplication, window: MainWindow, frame: int) -> None:
    """Show one frame, whatever the machine's speed, with the attention of a joint of the largest person."""
    canvas = window.parts.canvas
    window.worker.pause()
    window.worker.seek(frame)
    until(
        app,
        lambda: canvas.view is not None and canvas.view.index == frame and canvas.view.person is not None,
        f"the joint on frame {frame}",
    )
    rest(app, 1.0)
    assert canvas.view is not None and canvas.view.following is not None
    person = int(canvas.view.poses.boxes[:, 3].argmax())
    canvas.joint_clicked.emit(person, canvas.view.following.keypoint)
    until(app, lambda: canvas.view is not None and canvas.view.person == person, "the person's attention")
    rest(app, 0.5)


def main() -> None:
    """Open, play, grab."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--joint", default="left_wrist")
    parser.add_argument("--frame", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=20.0, help="of playing before, which fill the plots")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--detector", default="person")
    parser.add_argument("--all", action="store_true", help="also the start page, settings, shortcuts and an error")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    app = QApplication(sys.argv[:1])
    app.setStyle("Fusion")
    with tempfile.TemporaryDirectory() as folder:
        store = QSettings(str(Path(folder) / "viewer.ini"), QSettings.Format.IniFormat)
        window = MainWindow(store, {"model": args.model, "detector": args.detector})
        window.show()
        try:
            take(app, window, args)
        finally:
            window.close()


def take(app: QApplication, window: MainWindow, args: argparse.Namespace) -> None:
    """All pictures, one after another."""
    theme, actions = window.parts.settings.theme, window.actions_by_name
    theme.setCurrentText("Light")
    actions["loop"].trigger()
    if args.all:
        rest(app, 1.0)
        until(app, window.parts.chip.isHidden, "the network")
        save(window, args.out / "viewer_start.jpg")
    play_to(app, window, args)
    if args.all:
        save(window, args.out / "viewer_playing.jpg")
    hold(app, window, args.frame)
    save(window, args.out / "viewer.jpg")
    theme.setCurrentText("Dark")
    rest(app, 0.5)
    save(window, args.out / "viewer_dark.jpg")
    if not args.all:
        return
    actions["settings"].trigger()
    rest(app, 0.5)
    save(window, args.out / "viewer_settings.jpg")
    for width, height in ((900, 560), (1920, 1080)):
        window.resize(width, height)
        rest(app, 1.5)
        save(window, args.out / f"viewer_{width}x{height}.jpg")
    window.resize(1280, 720)
    actions["help"].trigger()
    rest(app, 0.3)
    sheet = window.findChild(HelpSheet)
    if sheet is not None:
        save(sheet, args.out / "viewer_shortcuts.jpg")
        sheet.close()
    window.open("missing/clip.mp4")
    until(app, lambda: window.parts.banner.text, "the message")
    rest(app, 0.3)
    save(window, args.out / "viewer_error.jpg")


if __name__ == "__main__":
    main()
