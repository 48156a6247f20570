"""The panel's first page: which joint is explained, and how fast the stream is."""

from __future__ import annotations

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import QLabel, QScrollArea, QVBoxLayout, QWidget

from transpose_sdk.skeletons import COCO17, Skeleton

from ..engine.events import FrameView
from .body import BodyDiagram
from .canvas import joint_name
from .forms import choices, heading, line
from .plots import SpeedPlots

NO_JOINT = "No joint"


class Inspector(QScrollArea):
    """The page.

    Attributes:
        picked: Emitted with the index of a keypoint, -1 for none.
    """

    picked = pyqtSignal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.body, self.plots = BodyDiagram(), SpeedPlots()
        self.joints = choices("Joint", ())
        self._skeleton: Skeleton | None = None
        self._facts = QLabel()
        self._facts.setObjectName("muted")
        self._facts.setWordWrap(True)
        page = QWidget()
        page.setObjectName("page")
        layout = QVBoxLayout(page)
        layout.setContentsMargins(16, 10, 16, 8)
        layout.setSpacing(6)
        layout.addWidget(heading("Joint"))
        layout.addWidget(self.body, 1)
        layout.addWidget(self.joints)
        layout.addWidget(self._facts)
        layout.addWidget(line())
        layout.addWidget(heading("Speed"))
        layout.addWidget(self.plots)
        self.setWidget(page)
        self.body.picked.connect(self.picked)
        self.joints.activated.connect(lambda place: self.picked.emit(place - 1))
        self.show_view(None, None)

    def show_view(self, view: FrameView | None, keypoint: int | None) -> None:
        """The joint chosen, as the view has it."""
        skeleton = COCO17 if view is None else view.poses.skeleton
        if skeleton != self._skeleton:
            self._skeleton = skeleton
            self.joints.clear()
            self.joints.addItems([NO_JOINT, *(joint_name(name) for name in skeleton.names)])
        place = 0 if keypoint is None else keypoint + 1
        if self.joints.currentIndex() != place:
            self.joints.setCurrentIndex(place)
        person = None if view is None else view.person
        scores = None if view is None or person is None else view.poses.scores[person]
        self.body.set_state(skeleton, keypoint, scores)
        self._facts.setText(_facts(view, keypoint))


def _facts(view: FrameView | None, keypoint: int | None) -> str:
    if view is None:
        return "Nothing is open."
    people = f"{len(view.poses)} {'person' if len(view.poses) == 1 else 'people'}"
    if keypoint is None:
        return f"{people} · click a joint to see its origin"
    if view.person is None:
        return f"{people} · out of sight"
    whose = "" if view.poses.track_ids is None else f"person #{view.poses.track_ids[view.person]} · "
    return f"{people} · {whose}score {view.poses.scores[view.person, keypoint]:.2f}"
