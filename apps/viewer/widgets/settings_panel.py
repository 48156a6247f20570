"""The settings: everything here takes effect at once, while the stream runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import QFileDialog, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from transpose_sdk.bundles.bundle import bundle_names
from transpose_sdk.dependency import Threshold

from ..engine.settings import Look, Network, Streaming
from ..memory import Remembered
from ..style.theme import CHOICES
from .forms import Amount, StillComboBox, Switch, choices, heading, labelled, line

DEVICES = ("AUTO", "CPU", "GPU", "NPU", "CUDA", "TENSORRT")
PRECISIONS = ("best", "fp16", "int8", "fp32")
DETECTORS = ("person", "frame")
OTHER = "Choose a folder…"
OTHER_FILE = "Choose a file…"


class SettingsPanel(QScrollArea):
    """The settings.

    Attributes:
        network_changed: Emitted with a Network.
        streaming_changed: Emitted with a Streaming.
        look_changed: Emitted with a Look.
        theme_changed: Emitted with one of theme.CHOICES.
        folder_changed: Emitted with a folder for recordings and screenshots.
    """

    network_changed = pyqtSignal(object)
    streaming_changed = pyqtSignal(object)
    look_changed = pyqtSignal(object)
    theme_changed = pyqtSignal(str)
    folder_changed = pyqtSignal(str)

    def __init__(self, remembered: Remembered) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._network, self._streaming = remembered.network, remembered.streaming
        self._look = remembered.look
        page = QWidget()
        page.setObjectName("page")
        self._layout = QVBoxLayout(page)
        self._layout.setContentsMargins(16, 14, 16, 14)
        self._layout.setSpacing(10)
        self._add_network()
        self._add_streaming()
        self._add_drawing()
        self._add_window(remembered)
        self._layout.addStretch()
        self.setWidget(page)
        self.show_network(self._network)

    def show_network(self, network: Network, note: str | None = None) -> None:
        """The network in use, after a change that worked or one that failed; a note of None stays as it is."""
        self._network = network
        lists = (
            (self.model, [*bundle_names("pose"), network.model, OTHER], network.model),
            (self.detector, [*DETECTORS, network.detector, OTHER_FILE], network.detector),
        )
        for box, entries, current in lists:
            box.blockSignals(True)
            box.clear()
            for entry in dict.fromkeys(entries):
                box.addItem(entry if entry in (OTHER, OTHER_FILE) else Path(entry).name, entry)
            box.setCurrentIndex(box.findData(current))
            box.setToolTip(current)
            box.blockSignals(False)
        for box, current in ((self.device, network.device), (self.precision, network.precision or "best")):
            box.blockSignals(True)
            box.setCurrentText(current)
            box.blockSignals(False)
        if note is not None:
            self._note.setText(note)

    def show_look(self, look: Look) -> None:
        """The look in use, where it was changed elsewhere."""
        self._look = look
        for box, ticked in ((self.skeletons, look.skeletons), (self.boxes, look.boxes)):
            box.blockSignals(True)
            box.setChecked(ticked)
            box.blockSignals(False)
        self.min_score.set_value(look.min_score)
        self.threshold.set_value(look.threshold.value if look.threshold.relative else 2.0)
        self.opacity.set_value(look.opacity)

    def _add_network(self) -> None:
        self.model, self.device = choices("Model", ()), choices("Device", DEVICES, editable=True)
        self.precision, self.detector = choices("Precision", PRECISIONS), choices("Detector", ())
        self._note = QLabel()
        self._note.setObjectName("muted")
        self._note.setWordWrap(True)
        named = {"Model": self.model, "Device": self.device, "Precision": self.precision, "Detector": self.detector}
        self._layout.addWidget(heading("Network"))
        for name, box in named.items():
            self._layout.addWidget(labelled(name, box))
        self._layout.addWidget(self._note)
        self.model.activated.connect(self._choose_model)
        self.detector.activated.connect(self._choose_detector)
        self.device.activated.connect(self._tell_network)
        self.precision.activated.connect(self._tell_network)

    def _add_streaming(self) -> None:
        self.smooth = Switch("Smooth the joints", "One-Euro filter for every joint of every track")
        self.smooth.setChecked(self._streaming.smoothing is not None)
        self.smoothing = Amount("Cut-off at rest", 0.2, 5.0, 0.1, lambda value: f"{value:.1f} Hz")
        self.smoothing.setToolTip("Lower is steadier and lags more")
        self.smoothing.set_value(self._streaming.smoothing or Streaming.smoothing or 1.0)
        self.interval = Amount("Detect at least every", 0.1, 3.0, 0.1, lambda value: f"{value:.1f} s")
        self.interval.setToolTip("Between detections the boxes follow the poses")
        self.interval.set_value(self._streaming.detection_interval)
        self._layout.addWidget(line())
        self._layout.addWidget(heading("Stream"))
        for widget in (self.smooth, self.smoothing, self.interval):
            self._layout.addWidget(widget)
        self.smooth.toggled.connect(self.smoothing.setEnabled)
        self.smoothing.setEnabled(self.smooth.isChecked())
        self.smooth.toggled.connect(self._tell_streaming)
        self.smoothing.changed.connect(self._tell_streaming)
        self.interval.changed.connect(self._tell_streaming)

    def _add_drawing(self) -> None:
        self.skeletons = Switch("Skeletons", "Draw the skeletons")
        self.boxes = Switch("Boxes and ids", "Draw the person boxes with the ids of the tracks")
        self.min_score = Amount("Show joints from probability", 0.0, 1.0, 0.05, lambda value: f"{value:.0%}")
        self.threshold = Amount("Attention from", 0.5, 10.0, 0.5, lambda value: f"{value:g}× uniform")
        self.opacity = Amount("Strength of the glow", 0.1, 1.0, 0.05, lambda value: f"{100 * value:.0f} %")
        self._layout.addWidget(line())
        self._layout.addWidget(heading("Drawing"))
        for widget in (self.skeletons, self.boxes, self.min_score, self.threshold, self.opacity):
            self._layout.addWidget(widget)
        self.show_look(self._look)
        for signal in (self.skeletons.toggled, self.boxes.toggled):
            signal.connect(self._tell_look)
        for amount in (self.min_score, self.threshold, self.opacity):
            amount.changed.connect(self._tell_look)

    def _add_window(self, remembered: Remembered) -> None:
        self.theme: StillComboBox = choices("Theme", [choice.capitalize() for choice in CHOICES])
        self.theme.setCurrentText(remembered.theme.capitalize())
        self.theme.currentTextChanged.connect(lambda text: self.theme_changed.emit(text.lower()))
        self._folder = QPushButton(Path(remembered.folder).name or remembered.folder)
        self._folder.setToolTip(remembered.folder)
        self._folder.clicked.connect(self._choose_folder)
        self._layout.addWidget(line())
        self._layout.addWidget(heading("Window"))
        self._layout.addWidget(labelled("Theme", self.theme))
        self._layout.addWidget(labelled("Save to", self._folder))

    def _choose_model(self) -> None:
        if self.model.currentData() == OTHER:
            folder = QFileDialog.getExistingDirectory(self, "A bundle (a folder with bundle.json)")
            self.show_network(replace(self._network, model=folder) if folder else self._network)
            if not folder:
                return
        self._tell_network()

    def _choose_detector(self) -> None:
        if self.detector.currentData() == OTHER_FILE:
            path, _ = QFileDialog.getOpenFileName(self, "A detector", "", "Detectors (*.onnx *.tflite *.xml)")
            self.show_network(replace(self._network, detector=path) if path else self._network)
            if not path:
                return
        self._tell_network()

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Where recordings and screenshots go", self._folder.toolTip())
        if folder:
            self._folder.setText(Path(folder).name or folder)
            self._folder.setToolTip(folder)
            self.folder_changed.emit(folder)

    def _tell_network(self) -> None:
        precision: Any = self.precision.currentText()
        self.network_changed.emit(
            Network(
                self.model.currentData(),
                self.device.currentText(),
                None if precision == "best" else precision,
                self.detector.currentData(),
            )
        )

    def _tell_streaming(self) -> None:
        smoothing = self.smoothing.value if self.smooth.isChecked() else None
        self.streaming_changed.emit(Streaming(smoothing, self.interval.value))

    def _tell_look(self) -> None:
        self._look = replace(
            self._look,
            skeletons=self.skeletons.isChecked(),
            boxes=self.boxes.isChecked(),
            min_score=self.min_score.value,
            threshold=Threshold(self.threshold.value, relative=True),
            opacity=self.opacity.value,
        )
        self.look_changed.emit(self._look)
