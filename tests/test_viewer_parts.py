"""The parts of the viewer that need neither a network nor a window."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
import pytest

pytest.importorskip("PyQt6.QtWidgets", reason="the viewer needs PyQt6: pip install transpose-sdk[viewer]")
pytest.importorskip("pytestqt", reason="these tests need pytest-qt: pip install transpose-sdk[test-viewer]")

from PyQt6.QtCore import QSettings

from transpose_sdk import COCO17, Poses
from transpose_sdk.apps.viewer import memory
from transpose_sdk.apps.viewer.engine.cameras import list_cameras
from transpose_sdk.apps.viewer.engine.following import Following, joint_at
from transpose_sdk.apps.viewer.engine.playback import Playback
from transpose_sdk.apps.viewer.engine.settings import Look, Streaming
from transpose_sdk.apps.viewer.engine.statistics import SpeedMeter
from transpose_sdk.errors import InputError
from transpose_sdk.media.sources import open_source
from transpose_sdk.stream import Frame, Latency


def two_people(track_ids: list[int] | None = None) -> Poses:
    """Two people, 100 px high, at x = 0 and x = 300; joint k of each lies 5 k px below the top."""
    keypoints = np.zeros((2, 17, 2), np.float32)
    keypoints[1, :, 0] = 300
    keypoints[..., 1] = 5 * np.arange(17)
    return Poses(
        keypoints=keypoints,
        scores=np.ones((2, 17), np.float32),
        boxes=np.float32([[-20, 0, 40, 100], [280, 0, 40, 100]]),
        person_scores=np.float32([0.5, 0.9]),
        skeleton=COCO17,
        track_ids=None if track_ids is None else np.array(track_ids),
    )


@pytest.mark.parametrize(
    ("following", "ids", "person"),
    [
        (Following(3), None, 1),  # nobody chosen: the clearest
        (Following(3, 7, chosen=True), [7, 8], 0),  # by id
        (Following(3, 9, chosen=True), [7, 8], None),  # the one chosen has gone
        (Following(3, 9), [7, 8], 1),  # one nobody chose has gone: the clearest again
        (Following(3, None, np.float32([-15, 0, 40, 100]), True), [7, 8], 0),  # a new stream: by place
        (Following(3, None, np.float32([90, 0, 40, 100]), True), [7, 8], None),  # nobody at that place
    ],
)
def test_people_are_followed(following: Following, ids: list[int] | None, person: int | None) -> None:
    poses = two_people(ids)
    assert following.person(poses) == person
    seen = following.seen(poses)
    assert seen.track_id == (following.track_id if person is None or ids is None else ids[person])
    assert following.person(Poses.empty(COCO17)) is None


def test_a_click_means_the_nearest_joint_of_the_nearest_person() -> None:
    assert joint_at(two_people(), (302.0, 31.0)) == (1, 6)
    assert joint_at(two_people(), (-6.0, 79.0)) == (0, 16)


@pytest.mark.parametrize(
    ("poses", "point", "said"),
    [
        (two_people(), (150.0, 40.0), "no joint there"),  # between the two
        (Poses.empty(COCO17), (0.0, 0.0), "nobody"),
        (replace(two_people(), scores=np.zeros((2, 17), np.float32)), (0.0, 0.0), "no joint there"),  # none is shown
    ],
)
def test_a_click_beside_people_says_so(poses: Poses, point: tuple[float, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        joint_at(poses, point, 0.2)


@pytest.mark.parametrize(
    "build", [lambda: Look("glow"), lambda: Look(opacity=2.0), lambda: Streaming(0.0), lambda: Streaming(1.0, 0.0)]
)
def test_settings_that_cannot_be_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        build()


def array_playback(count: int = 20, fps: float = 200.0) -> Playback:
    return Playback(open_source(list(np.zeros((count, 8, 8, 3), np.uint8)), fps=fps))


def test_playback_keeps_the_clips_pace() -> None:
    started = time.monotonic()
    assert len(list(array_playback(20, 50.0).segment())) == 20
    assert time.monotonic() - started >= 0.36


def test_a_segment_goes_on_where_the_one_before_was_closed() -> None:
    playback = array_playback()
    first = playback.segment()
    frames = iter(first)
    indices = [next(frames).index for _ in range(5)]
    first.close()
    assert next(frames, None) is None
    indices += [frame.index for frame in playback.segment()]
    assert indices == list(range(20))
    assert playback.exhausted


def test_a_step_lets_one_frame_through() -> None:
    playback, passed = array_playback(), []
    playback.pause(True)
    thread = threading.Thread(target=lambda: passed.extend(frame.index for frame in playback.segment()))
    thread.start()
    time.sleep(0.1)
    assert passed == []
    playback.step()
    time.sleep(0.2)
    assert passed == [0]
    playback.pause(False)
    thread.join(10)
    assert passed == list(range(20))


def test_closing_ends_a_pause() -> None:
    playback = array_playback()
    playback.pause(True)
    waiting = threading.Thread(target=lambda: list(playback.segment()))
    waiting.start()
    playback.close()
    waiting.join(5)
    assert not waiting.is_alive()


def test_closing_ends_a_generator_at_once_or_when_it_comes_back() -> None:
    ended, asked, answers = [], threading.Event(), threading.Event()

    def camera() -> Iterator[np.ndarray]:
        try:
            yield np.zeros((8, 8, 3), np.uint8)
            asked.set()
            answers.wait(20)
            yield np.zeros((8, 8, 3), np.uint8)
        finally:
            ended.append(1)

    frames = camera()
    playback = Playback(open_source(frames))
    assert next(iter(playback.segment())).index == 0
    playback.close()
    assert ended == [1]

    frames = camera()
    playback = Playback(open_source(frames))
    reading = threading.Thread(target=lambda: list(playback.segment()))
    reading.start()
    assert asked.wait(10)
    playback.close()
    assert ended == [1]
    answers.set()
    reading.join(10)
    assert ended == [1, 1]


def test_speed_counts_rate_latency_and_drops_over_streams() -> None:
    meter = SpeedMeter()
    poses = Poses.empty(COCO17)
    predicted = np.zeros((0, 17), bool)
    latency = Latency(inference=0.01, delivery=0.002)
    for index in range(10):
        meter.add(Frame(index, index / 10, np.zeros((1, 1, 3), np.uint8), poses, predicted, None, latency, 3), 0.001)
        time.sleep(0.01)
    speed = meter.speed()
    assert 20 < speed.fps <= 100
    assert speed.p50 == pytest.approx(13) and speed.p99 == pytest.approx(13)
    assert speed.stages[3] == pytest.approx(10)
    meter.restart()
    assert meter.speed().dropped == 3


def test_cameras_are_listed_without_metadata_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for node, name, index in (("video10", "Front", "0"), ("video2", "Back", "0"), ("video3", "Back", "1")):
        (tmp_path / node).mkdir()
        (tmp_path / node / "name").write_text(f"{name}\n")
        (tmp_path / node / "index").write_text(f"{index}\n")
    assert [(camera.index, camera.name) for camera in list_cameras(tmp_path)] == [(2, "Back"), (10, "Front")]
    assert list_cameras(tmp_path / "none") == []


@pytest.fixture
def store(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat)


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"look": {"mode": "glow"}, "theme": 3, "recent": "x"}'])
def test_damaged_memory_gives_defaults(store: QSettings, text: str) -> None:
    store.setValue("viewer", text)
    assert memory.load(store) == memory.Remembered()


def test_memory_keeps_no_logins() -> None:
    kept = memory.Remembered()
    kept.opened("rtsp://user:secret@host/1")
    kept.opened("a.mp4")
    kept.opened("b.mp4")
    kept.opened("a.mp4")
    assert kept.recent == ["a.mp4", "b.mp4"]
