"""The viewer's picture in a PyQt6 program of your own: click a joint, and what it was inferred from glows.

    python examples/embed_viewer.py clip.mp4

Needs PyQt6, which is GPL-3.0, and so is a program that you give away with it: pip install 'transpose-sdk[viewer]'.
"""

from __future__ import annotations

import sys

from PyQt6.QtGui import QCloseEvent
from PyQt6.QtWidgets import QApplication, QLabel, QVBoxLayout, QWidget

from transpose_sdk.apps.viewer.bridge import Bridge
from transpose_sdk.apps.viewer.engine.following import Following
from transpose_sdk.apps.viewer.engine.settings import Network
from transpose_sdk.apps.viewer.engine.worker import ViewerWorker
from transpose_sdk.apps.viewer.widgets.canvas import Canvas


class MyProgram(QWidget):
    """A line of text over the viewer's canvas; the worker plays and poses on threads of its own."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.line, self.canvas, self.bridge = QLabel("Opening…"), Canvas(), Bridge()
        layout = QVBoxLayout(self)
        layout.addWidget(self.line)
        layout.addWidget(self.canvas, stretch=1)
        self.worker = ViewerWorker(self.bridge)
        told = self.bridge.signals
        told.viewed.connect(self.show_view)
        told.failed.connect(self.line.setText)
        told.stated.connect(lambda state: self.close() if state == "ended" else None)
        self.canvas.resized.connect(self.worker.resize)
        self.canvas.joint_clicked.connect(self.follow)
        self.worker.use_network(Network())
        self.worker.open(source)

    def show_view(self) -> None:
        """The newest picture."""
        view = self.worker.take_view()
        if view is not None:
            self.canvas.show_view(view)
            self.line.setText(f"{view.time:.2f} s: {len(view.poses)} people")

    def follow(self, person: int, keypoint: int) -> None:
        """Explain the joint that was clicked, of whoever it belongs to."""
        view = self.canvas.view
        ids = None if view is None else view.poses.track_ids
        self.worker.follow(Following(keypoint, None if ids is None else int(ids[person])))

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802 - Qt's name
        """End the threads with the window."""
        self.worker.close()


if __name__ == "__main__":
    app = QApplication(sys.argv[:1])
    window = MyProgram(sys.argv[1])
    window.resize(960, 600)
    window.show()
    app.exec()
