"""A camera or clip in a window, with skeletons. Needs PyQt6 (GPL-3.0): pip install 'transpose-sdk[viewer]'.

    python examples/webcam_window.py [0 | clip.mp4 | rtsp://...]

`webcam_headless.py` is the same without a window, `transpose view` the same with everything.
"""

from __future__ import annotations

import sys
from threading import Thread

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtGui import QCloseEvent, QImage, QPixmap
from PyQt6.QtWidgets import QApplication, QLabel

import transpose_sdk as tp


class PoseWindow(QLabel):
    """Shows a stream, and closes when it ends."""

    drawn = pyqtSignal(object)
    ended = pyqtSignal()

    def __init__(self, stream: tp.PoseStream) -> None:
        super().__init__("Waiting for the first frame…")
        self.setMinimumSize(640, 360)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.stream = stream
        self.drawn.connect(self.show_picture)
        self.ended.connect(self.close)
        self.thread_of_poses = Thread(target=self.pose, daemon=True)
        self.thread_of_poses.start()

    def pose(self) -> None:
        """On a thread of its own, so that the window never waits for the network."""
        annotator = tp.PoseAnnotator()
        try:
            for frame in self.stream:
                self.drawn.emit(annotator.annotate(frame.image, frame.poses))
        except tp.TransposeError as error:
            print(error, file=sys.stderr)
        self.ended.emit()

    def show_picture(self, picture: NDArray[np.uint8]) -> None:
        """Fit a (H, W, 3) BGR picture into the window."""
        height, width = picture.shape[:2]
        image = QImage(picture.data, width, height, 3 * width, QImage.Format.Format_BGR888)
        size, aspect = self.size(), Qt.AspectRatioMode.KeepAspectRatio
        self.setPixmap(QPixmap.fromImage(image).scaled(size, aspect, Qt.TransformationMode.SmoothTransformation))

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802 - Qt's name
        """End the stream with the window."""
        self.stream.close()


if __name__ == "__main__":
    source = sys.argv[1] if len(sys.argv) > 1 else "0"
    app = QApplication(sys.argv[:1])
    # A clip under "latest" is played at its own pace.
    window = PoseWindow(tp.PoseStream(int(source) if source.isdigit() else source, policy="latest"))
    window.show()
    app.exec()
    window.thread_of_poses.join()
