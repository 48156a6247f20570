"""What can be changed while the viewer runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from transpose_sdk.backend import Precision
from transpose_sdk.bundles.bundle import DEFAULT_MODEL
from transpose_sdk.dependency import Threshold
from transpose_sdk.drawing.overlay import DEFAULT_THRESHOLD
from transpose_sdk.errors import InputError
from transpose_sdk.scores import LIKELY
from transpose_sdk.stream import DetectionOptions
from transpose_sdk.tracking.smoothing import SmoothingOptions

GlowMode = Literal["off", "heatmap", "dependency", "affected"]
MODES: tuple[GlowMode, ...] = get_args(GlowMode)


@dataclass(frozen=True)
class Network:
    """Which networks run, and where. Another one has to be compiled first.

    Attributes:
        model: A bundle's name or folder.
        device: Such as "AUTO" or "CPU".
        precision: "fp32", "fp16", "int8", or None for the fastest that gives the right answers.
        detector: As `PoseEstimator` takes it.
    """

    model: str = DEFAULT_MODEL
    device: str = "AUTO"
    precision: Precision | None = None
    detector: str = "person"


@dataclass(frozen=True)
class Streaming:
    """How the stream treats the frames; a change starts a new stream on the same source.

    Attributes:
        smoothing: Cut-off frequency in Hz for a joint at rest, lower is steadier; None leaves the keypoints as found.
        detection_interval: Longest time between two runs of the person detector, in seconds.
    """

    smoothing: float | None = SmoothingOptions.min_cutoff
    detection_interval: float = DetectionOptions.longest

    def __post_init__(self) -> None:
        if self.smoothing is not None and not self.smoothing > 0:
            raise InputError(f"smoothing={self.smoothing!r}: give a frequency above 0 Hz, or None")
        if not 0 < self.detection_interval <= 60:
            raise InputError(f"detection_interval={self.detection_interval!r}: give seconds, above 0 and up to 60")

    @property
    def detection(self) -> DetectionOptions:
        """The stream's own options."""
        return DetectionOptions(
            shortest=min(DetectionOptions.shortest, self.detection_interval), longest=self.detection_interval
        )


@dataclass(frozen=True)
class Look:
    """What is drawn; a change redraws the frame at hand.

    Attributes:
        mode: One of MODES, what is drawn of the joint that is followed.
        boxes: Draw the person boxes and their labels.
        skeletons: Draw the skeletons.
        min_score: Joints with a lower score, the probability that they are right, are left out.
        threshold: The smallest attention that is drawn.
        opacity: Of the strongest attention, 0..1.
    """

    mode: GlowMode = "dependency"
    boxes: bool = True
    skeletons: bool = True
    min_score: float = LIKELY
    threshold: Threshold = DEFAULT_THRESHOLD
    opacity: float = 0.75

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"no mode {self.mode!r}: use one of {', '.join(MODES)}")
        for name in ("min_score", "opacity"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)!r}: give a number from 0 to 1")
