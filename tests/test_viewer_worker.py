"""The viewer's worker, which knows no Qt, on a trained network."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from blob_people import BlobDetector, picture, write_blob_bundle

from transpose_sdk.apps import viewer
from transpose_sdk.apps.viewer.engine.events import FrameView
from transpose_sdk.apps.viewer.engine.following import Following
from transpose_sdk.apps.viewer.engine.glow import heatmap_area
from transpose_sdk.apps.viewer.engine.recording import Recording
from transpose_sdk.apps.viewer.engine.settings import MODES, Look, Network, Streaming
from transpose_sdk.apps.viewer.engine.worker import ViewerWorker
from transpose_sdk.bundles.bundle import open_bundle
from transpose_sdk.crops import apply_affine
from transpose_sdk.decoding import decode_dark
from transpose_sdk.errors import SourceError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.frames import SourceFrame
from transpose_sdk.media.sources import open_source
from transpose_sdk.stream import Frame, Latency, PoseStream

VIEWER = Path(viewer.__file__).parent
WAIT = 60.0  # seconds; a busy machine compiles slowly


class Events:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values: self.told.append((name, values))

    def last(self, name: str) -> Any:
        """What it was told last by that name, None if nothing."""
        return next((values[0] for told, values in reversed(self.told) if told == name), None)


@pytest.fixture
def worker() -> Iterator[ViewerWorker]:
    before = set(threading.enumerate())
    opened = ViewerWorker(Events())
    opened.resize(640, 400)
    yield opened
    opened.close()
    wait_for(lambda: set(threading.enumerate()) <= before, 5, "the threads to end")


@pytest.fixture
def network(trained_network: dict[str, str]) -> Network:
    return Network(**trained_network)


def wait_for(condition: Callable[[], object], seconds: float = WAIT, what: str = "") -> Any:
    """The condition's first true value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s in vain for {what or condition}")


def next_view(worker: ViewerWorker, fits: Callable[[FrameView], object] = lambda _: True) -> FrameView:
    """The next view that fits."""

    def fitting() -> FrameView | None:
        view = worker.take_view()
        return view if view is not None and fits(view) else None

    return wait_for(fitting, what="a view")


def test_the_worker_knows_no_qt() -> None:
    code = "import sys, transpose_sdk.apps.viewer.engine.worker; sys.exit('PyQt6' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# From what everybody may import to what nobody does.
ROOMS = [{"engine"}, {"style"}, {"memory", "bridge", "actions"}, {"widgets"}, {"window"}, {"app"}]


def imports_of(file: Path) -> set[str]:
    """The rooms of the viewer and the other packages that a file of the viewer imports."""
    folder, found = file.relative_to(VIEWER).parent.parts, set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level + 1] if node.level else ()
            found.add((*above, *str(node.module).split("."))[0])
    return found


def test_imports_point_from_the_window_to_the_engine() -> None:
    height = {name: index for index, names in enumerate(ROOMS) for name in names}
    imports: dict[str, set[str]] = {name: set() for name in height}
    for file in VIEWER.rglob("*.py"):
        if file != VIEWER / "__init__.py":
            imports[file.relative_to(VIEWER).parts[0].removesuffix(".py")] |= imports_of(file)
    wrong = [
        (room, name) for room in imports for name in imports[room] - {room} if height.get(name, -1) >= height[room]
    ]
    assert wrong == []
    assert "PyQt6" not in imports["engine"]
    assert {"PyQt6", "engine", "style"} <= imports["widgets"]


def test_worker_plays_follows_and_changes_while_it_runs(
    worker: ViewerWorker, network: Network, people_clip: Path
) -> None:
    events: Any = worker._listener
    worker.set_loop(True)
    worker.use_network(network)
    worker.open(str(people_clip))
    view = next_view(worker, lambda view: len(view.poses))
    assert view.image.shape[:2] == (400, 227)
    assert view.poses.track_ids is not None
    worker.follow(Following(9, int(view.poses.track_ids[0]), view.poses.boxes[0], True))
    view = next_view(worker, lambda view: view.person is not None)
    assert view.problem is None
    for mode in MODES:
        worker.use_look(Look(mode))
        assert next_view(worker, lambda view: view.person is not None).problem is None
    worker.use_streaming(Streaming(None, 0.3))  # numbers people anew; the one followed is found again by the place
    time.sleep(0.5)
    assert next_view(worker, lambda view: view.person is not None).following is not None
    worker.use_network(replace(network, precision="fp32"))
    wait_for(lambda: events.last("network_loaded") == replace(network, precision="fp32"), what="the network")
    next_view(worker, lambda view: len(view.poses))
    assert events.last("failed") is None


def test_worker_draws_another_glow_for_another_mode(worker: ViewerWorker, network: Network, people_clip: Path) -> None:
    worker.follow(Following(9))
    worker.use_network(network)
    worker.open(str(people_clip))
    next_view(worker, lambda view: view.person is not None)
    worker.pause()
    time.sleep(1.0)
    pictures = []
    for mode in MODES:
        while worker.take_view() is not None:
            time.sleep(0.2)
        worker.use_look(Look(mode))
        pictures.append(next_view(worker).image)
    for first in range(len(MODES)):
        for second in range(first):
            assert (pictures[first] != pictures[second]).any(), (MODES[first], MODES[second])


def test_worker_steps_and_seeks(worker: ViewerWorker, network: Network, people_clip: Path) -> None:
    events: Any = worker._listener
    worker.use_network(network)
    worker.open(str(people_clip))
    next_view(worker)
    worker.pause()
    worker.seek(80)
    next_view(worker, lambda view: view.index == 80)
    assert events.last("state_changed") == "paused"
    worker.step()
    next_view(worker, lambda view: view.index == 81)
    worker.play()
    next_view(worker, lambda view: view.index == 99)  # the last frame is always shown
    wait_for(lambda: events.last("state_changed") == "ended")
    worker.play()
    next_view(worker, lambda view: view.index < 50)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (lambda worker: worker.open("/no/such/clip.mp4"), "no file or folder"),
        (lambda worker: worker.use_network(Network("/no/such.tpose", "CPU")), "no pose bundle"),
        (lambda worker: worker.screenshot(Path("shot.png")), "no picture yet"),
        (lambda worker: worker.record(Path("clip.mp4")), "nothing to record"),
    ],
)
def test_what_fails_is_told_and_the_worker_lives_on(
    worker: ViewerWorker, command: Callable[[ViewerWorker], None], said: str
) -> None:
    events: Any = worker._listener
    for _ in range(2):
        events.told.clear()
        command(worker)
        assert said in wait_for(lambda: events.last("failed"))


def test_a_network_that_fails_leaves_the_one_before(
    worker: ViewerWorker, network: Network, people_clip: Path, tmp_path: Path
) -> None:
    events: Any = worker._listener
    damaged = tmp_path / "damaged.tpose"
    damaged.mkdir()
    (damaged / "bundle.json").write_text("{}")
    worker.set_loop(True)
    worker.use_network(network)
    worker.open(str(people_clip))
    next_view(worker)
    worker.use_network(replace(network, model=str(damaged)))
    assert "damaged.tpose" in wait_for(lambda: events.last("failed"))
    next_view(worker)
    next_view(worker)


def test_a_bundle_without_attention_says_so_and_still_poses(
    worker: ViewerWorker, network: Network, people_clip: Path, tmp_path: Path
) -> None:
    blind = tmp_path / "blind.tpose"
    shutil.copytree(open_bundle(network.model, "pose").folder, blind)
    description = json.loads((blind / "bundle.json").read_text())
    del description["attention"]
    (blind / "bundle.json").write_text(json.dumps(description))
    worker.set_loop(True)
    worker.follow(Following(9))
    worker.use_network(replace(network, model=str(blind)))
    worker.open(str(people_clip))
    view = next_view(worker, lambda view: view.person is not None)
    assert view.problem is not None and "gives no attention" in view.problem
    worker.use_look(Look("heatmap"))
    assert next_view(worker, lambda view: view.person is not None and view.problem is None)


@pytest.fixture(scope="module")
def blob_network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return Network(str(write_blob_bundle(tmp_path_factory.mktemp("bundles") / "blobs.tpose")), "CPU", "fp16", "frame")


@pytest.fixture(scope="module")
def blob_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One person who walks for 20 s."""
    path = tmp_path_factory.mktemp("clips") / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15.0, (320, 240))
    for index in range(300):
        writer.write(picture([(20 + index / 2, 40, 70, 160)]))
    writer.release()
    return path


def test_a_recording_that_fails_says_so_and_holds_nobody(blob_network: Network, tmp_path: Path) -> None:
    ended: list[tuple[Path, Exception | None]] = []
    path = tmp_path / "out.mp4"
    with PoseEstimator(blob_network.model, "CPU", "fp16", "frame") as estimator:
        recording = Recording(path, 30.0, {}, estimator, 0, lambda *told: ended.append(told))
        image = picture([(40, 40, 70, 160)])
        poses = estimator(image)
        frame = Frame(0, 0.0, image, poses, np.zeros(poses.scores.shape, bool), None, Latency(), 0)
        started = time.monotonic()
        for index in range(30):  # more than wait for the encoder
            # A joint that another network's skeleton had: no error of ours, but NumPy's.
            recording.add(replace(frame, index=index, time=index / 30), Following(99), Look("off"))
        assert time.monotonic() - started < 10
        assert recording.join(10)
    assert [told[0] for told in ended] == [path]
    assert isinstance(ended[0][1], IndexError)
    assert not list(tmp_path.iterdir())


def test_a_recording_asked_for_while_the_network_changes_is_of_the_new_one(
    worker: ViewerWorker, blob_network: Network, blob_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: Any = worker._listener
    worker.use_network(blob_network)
    worker.open(str(blob_clip))
    next_view(worker)
    path, use = tmp_path / "out.mp4", worker._player.use

    def use_later(**changes: Any) -> None:
        if "estimator" in changes:
            worker.record(path)
            time.sleep(0.5)
        use(**changes)

    monkeypatch.setattr(worker._player, "use", use_later)
    events.told.clear()
    worker.use_network(blob_network)
    wait_for(lambda: events.last("network_loaded") and events.last("recording_changed") == path, what="the recording")
    seen = [next_view(worker).index for _ in range(5)]
    worker.stop_recording()
    wait_for(lambda: events.last("saved") == path or events.last("failed"))
    assert events.last("failed") is None
    frames = json.loads(path.with_suffix(".json").read_text())["frames"]
    assert frames[0]["people"]
    assert frames[-1]["index"] >= seen[-2]  # it did not stop with the network before
    assert len(list(open_source(path))) >= len(frames) - 1


def test_a_recording_without_a_picture_leaves_no_files(
    worker: ViewerWorker, blob_network: Network, blob_clip: Path, tmp_path: Path
) -> None:
    events: Any = worker._listener
    worker.use_network(blob_network)
    worker.open(str(blob_clip))
    next_view(worker)
    worker.pause()
    time.sleep(0.5)
    worker.record(tmp_path / "out.mp4")
    wait_for(lambda: events.last("recording_changed"))
    worker.stop_recording()
    assert "nothing was recorded" in wait_for(lambda: events.last("failed"))
    assert events.last("saved") is None
    assert not list(tmp_path.iterdir())


def test_a_heatmap_glows_where_its_own_crop_was_cut() -> None:
    """A stream cuts its crops on whole pixels of the frame, the heatmap's crop is cut where the box is."""
    with PoseEstimator("tp_m16_192x144", "CPU", "fp16", BlobDetector(), attention=True) as estimator:
        pictures = [picture([(20 + 1.3 * index, 40, 70, 160)]) for index in range(6)]
        with PoseStream(pictures, estimator, smooth=False) as stream:
            frames = [frame for frame in stream if len(frame.poses)]
        assert len(frames) > 2
        for frame in frames:
            truth = estimator(frame.image, boxes=frame.poses.boxes).keypoints[0]
            for keypoint in range(0, 17, 4):
                area = heatmap_area(estimator, frame, 0, keypoint)
                peak = decode_dark(area.grid[None, None].astype(np.float32))[0][0]
                # Along y the published decoding is no affine map of the crop.
                assert apply_affine(peak, area.transform)[0, 0] == pytest.approx(truth[keypoint, 0], abs=0.01)


class VanishingCamera:
    """A live source that is lost after some frames."""

    name, kind, fps, frame_count, size, live = "camera 0", "camera", 30.0, None, (64, 48), True

    def __iter__(self) -> Iterator[SourceFrame]:
        for index in range(5):
            yield SourceFrame(index, index / 30, np.zeros((48, 64, 3), np.uint8))
        raise SourceError("camera 0 disappeared: check its cable")

    def __enter__(self) -> VanishingCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        pass


def test_a_camera_that_goes_away_is_told(worker: ViewerWorker, network: Network, people_clip: Path) -> None:
    events: Any = worker._listener
    worker.use_network(network)
    worker.open(VanishingCamera())
    assert "disappeared" in wait_for(lambda: events.last("failed"))
    wait_for(lambda: events.last("state_changed") == "ended")
    worker.open(str(people_clip))
    next_view(worker, lambda view: view.image.shape[1] == 227)
