"""The streaming runtime, with real threads, a real network and a real detector (see blob_people)."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from blob_people import BlobDetector, joints_of, picture, write_blob_bundle

from transpose_sdk.detectors import open_detector
from transpose_sdk.errors import BackendError, InputError, SourceError, TransposeError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.frames import SourceFrame
from transpose_sdk.media.sources import open_source
from transpose_sdk.stream import DetectionOptions, PoseStream
from transpose_sdk.stream.channel import Channel, Closed
from transpose_sdk.stream.pose_stream import Policy

STOPS_WITHIN = 1.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_bundle(tmp_path_factory.mktemp("bundles") / "blobs.tpose")


@pytest.fixture
def estimator(bundle: Path) -> Iterator[PoseEstimator]:
    with PoseEstimator(bundle, "CPU", "fp32", BlobDetector(), requests=2) as estimator:
        yield estimator


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Whatever a test does to a stream, its threads are gone at once afterwards."""
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("transpose")]
    assert not left


def two_people(index: int) -> list[tuple[float, float, float, float]]:
    """Boxes of two people who walk to the right and stay apart."""
    return [(20 + 1.5 * index, 40, 70, 160), (160 + index, 60, 64, 140)]


def walk(count: int, pause: float = 0.0, fps: float = 30.0) -> Iterator[tuple[float, np.ndarray]]:
    """Timed pictures of two people who walk."""
    for index in range(count):
        time.sleep(pause)
        yield index / fps, picture(two_people(index))


def fails_at(index: int, error: BaseException) -> Iterator[np.ndarray]:
    yield from (picture(two_people(number)) for number in range(index))
    raise error


def test_every_frame_comes_in_order_with_ids_that_last(estimator: PoseEstimator) -> None:
    with PoseStream(walk(60), estimator, smooth=False) as stream:
        frames = list(stream)
    assert [frame.index for frame in frames] == list(range(60))
    assert [round(30 * frame.time) for frame in frames] == list(range(60))
    assert {frame.dropped for frame in frames} == {0}
    for frame in frames:
        order = np.argsort(frame.poses.track_ids)
        truth = np.stack([joints_of(box) for box in two_people(frame.index)])
        found = frame.poses.keypoints[order]
        if abs(found[0, 0, 0] - truth[0, 0, 0]) > abs(found[0, 0, 0] - truth[1, 0, 0]):
            truth = truth[::-1]
        assert np.abs(found - truth).max() < 3
        assert sorted(frame.poses.track_ids) == [1, 2]
        assert not frame.predicted.any()
    # The person on the left keeps the id.
    assert len({int(f.poses.track_ids[f.poses.keypoints[:, 0, 0].argmin()]) for f in frames}) == 1


def test_the_detector_runs_only_when_it_has_to(estimator: PoseEstimator) -> None:
    with PoseStream(walk(90), estimator) as stream:
        reasons = [frame.look for frame in stream]
    detector = estimator.detector
    assert isinstance(detector, BlobDetector)
    assert detector.calls == sum(reason is not None for reason in reasons) < 15
    assert reasons[0] == "start"
    # 3 s in which nobody comes: the interval grows from 0.2 s to 1 s.
    regular = [index for index, reason in enumerate(reasons) if reason == "interval"]
    assert np.diff(regular)[-1] > np.diff(regular)[0]


class SeesGhosts(BlobDetector):
    """Takes an empty corner for a person, every time."""

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes, scores = super().__call__(image)
        ghost = np.array([[270, 10, 40, 30]], np.float32)
        return np.concatenate((boxes, ghost)), np.append(scores, np.float32(0.9))


def test_a_false_alarm_does_not_keep_the_detector_busy(bundle: Path) -> None:
    detector = SeesGhosts()
    still = [picture([(40, 40, 70, 160)])] * 90
    with (
        PoseEstimator(bundle, "CPU", "fp32", detector, requests=2) as estimator,
        PoseStream(still, estimator) as stream,
    ):
        assert {len(frame.poses) for frame in stream} == {1}
    assert detector.calls < 10  # every 0.2 s in 3 s would be 15


def test_who_enters_is_tracked_while_frames_are_in_flight(bundle: Path) -> None:
    """The frames in the network when someone is first seen know nothing of them, which is no reason to forget them."""
    boxes = two_people(0)
    pictures = [picture(boxes[: 1 if index < 8 else 2]) for index in range(40)]
    often = DetectionOptions(shortest=0.2, longest=0.2)
    with (
        PoseEstimator(bundle, "CPU", "fp32", BlobDetector(), requests=4) as estimator,
        PoseStream(pictures, estimator, detection=often) as stream,
    ):
        ids = [sorted(frame.poses.track_ids.tolist()) for frame in stream]
    assert ids[0] == [1]
    assert ids[25:] == [[1, 2]] * 15


@pytest.mark.parametrize(
    ("people", "reason"),
    [
        (lambda index: [] if index < 10 else two_people(index), "start"),  # nobody is there at first
        (lambda index: two_people(index)[: 1 if index > 10 else 2], "lost"),  # someone vanishes
        (lambda index: [(20, 40, 70, 160)] if index < 10 else [(220, 90, 60, 140)], "lost"),  # another place
    ],
)
def test_why_the_detector_runs(
    estimator: PoseEstimator, people: Callable[[int], list[tuple[float, float, float, float]]], reason: str
) -> None:
    rare = DetectionOptions(shortest=100, longest=100)
    with PoseStream((picture(people(index)) for index in range(30)), estimator, detection=rare) as stream:
        frames = list(stream)
    assert reason in [frame.look for frame in frames[10:]]
    assert len(frames[-1].poses) == len(people(29))


def test_another_scene_is_searched_at_once(estimator: PoseEstimator) -> None:
    def scenes() -> Iterator[np.ndarray]:
        for index in range(20):
            background = np.uint8(0 if index < 10 else 35)
            yield np.maximum(picture([(40, 40, 70, 160)]), background)

    rare = DetectionOptions(shortest=100, longest=100, scene_change=20)
    with PoseStream(scenes(), estimator, detection=rare) as stream:
        assert [frame.index for frame in stream if frame.look == "scene"] == [10]


@pytest.mark.parametrize("policy", ["every", "latest"])
def test_ids_end_with_a_cut_and_nobody_haunts_the_next_scene(bundle: Path, policy: Any) -> None:
    """Two people, then one of another clip who stands where one of them stood, then light in that clip."""
    rng = np.random.default_rng(0)
    streets = [np.kron(rng.integers(0, 110, (6, 8, 1)), np.ones((40, 40, 3))).astype(np.uint8) for _ in range(2)]

    def scenes() -> Iterator[tuple[float, np.ndarray]]:
        for index in range(36):
            people = [(20.0, 40.0, 70.0, 160.0), (200.0, 50.0, 70.0, 160.0)][: 2 if index < 12 else 1]
            drawn = picture(people)
            street = streets[index >= 12].astype(np.float32) * (1.8 if index >= 24 else 1)
            time.sleep(0.02 if policy == "latest" else 0)
            shown = np.where(drawn.max(axis=2, keepdims=True) > 0, drawn, street.clip(0, 254))
            yield index / 30, shown.astype(np.uint8)

    class Detector(BlobDetector):
        """Finds the people on any street, for their colours are known."""

        def __call__(self, image: np.ndarray) -> Any:
            self.calls += 1
            two = bool((image[60:200, 215:255] != image[60:200, 215:255, :1]).any())
            boxes = np.float32([(20, 40, 70, 160), (200, 50, 70, 160)])[: 2 if two else 1]
            return boxes, np.full(len(boxes), 0.9, np.float32)

    with (
        PoseEstimator(bundle, "CPU", "fp32", Detector(), requests=2) as estimator,
        PoseStream(scenes(), estimator, policy=policy) as stream,
    ):
        frames = list(stream)
    ids = {frame.index: sorted(frame.poses.track_ids.tolist()) for frame in frames}
    assert all(found == [1, 2] for index, found in ids.items() if index < 12)
    assert all(found == [3] for index, found in ids.items() if index >= 12)
    assert 3 in [identity for found in ids.values() for identity in found]
    if policy == "every":
        assert [frame.index for frame in frames if frame.look == "scene"] == [12, 24]


def test_a_file_gives_the_same_poses_every_time(estimator: PoseEstimator) -> None:
    def run(pause: float) -> list[np.ndarray]:
        with PoseStream(walk(40), estimator) as stream:
            return [frame.poses.keypoints for frame in stream if time.sleep(pause) is None]

    for one, two in zip(run(0), run(0.01), strict=True):
        np.testing.assert_array_equal(one, two)


def test_without_tracks_a_stream_is_the_estimator(estimator: PoseEstimator) -> None:
    pictures = [picture(two_people(index)) for index in range(5)]
    with PoseStream(pictures, estimator, track=False) as stream:
        for frame in stream:
            alone = estimator(frame.image)
            assert frame.poses.track_ids is None
            assert frame.look == "always"
            np.testing.assert_allclose(frame.poses.keypoints, alone.keypoints, atol=1e-3)


def test_flip_test_and_stream_agree(bundle: Path) -> None:
    with PoseEstimator(bundle, "CPU", "fp32", BlobDetector(), flip_test=True) as estimator:
        image = picture(two_people(0))
        frame = next(PoseStream([image], estimator, track=False))
        np.testing.assert_allclose(frame.poses.keypoints, estimator(image).keypoints, atol=1e-3)


def test_two_streams_share_an_estimator(estimator: PoseEstimator) -> None:
    """Also the shipped detector's canvas and request, which see frames of two sizes at once."""
    detector = open_detector("person")
    pictures = [picture(two_people(0)), picture(two_people(30), (480, 640))]
    alone = [(estimator(image).keypoints, detector(image)[0]) for image in pictures]
    wrong: list[str] = []

    def watch(place: int) -> None:
        with PoseStream([pictures[place]] * 12, estimator, track=False) as stream:
            for frame in stream:
                same = np.array_equal(frame.poses.keypoints, alone[place][0])
                if not same or not np.array_equal(detector(frame.image)[0], alone[place][1]):
                    wrong.append(f"frame {frame.index} of stream {place}")

    threads = [threading.Thread(target=watch, args=(place,)) for place in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_people_of_neighbouring_frames_share_a_batch(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a backend of padded batches, as a GPU's, the crops of the frames that wait for it run together."""
    with PoseEstimator(tiny_bundle, "TORCH:CPU", detector=BlobDetector()) as estimator:
        pictures = [picture(two_people(index)) for index in range(12)]
        alone = [estimator(image) for image in pictures]
        backend: Any = estimator.backend
        run, sizes = backend._run, []

        def slowly(crops: np.ndarray, attention: bool) -> Any:
            sizes.append(len(crops))
            time.sleep(0.05)  # a network that is slower than the other stages
            return run(crops, attention)

        monkeypatch.setattr(backend, "_run", slowly)
        with PoseStream(pictures, estimator, track=False) as stream:
            frames = list(stream)
    assert sum(sizes) == 2 * len(pictures)
    assert max(sizes) >= 6  # three frames
    for frame, wanted in zip(frames, alone, strict=True):
        np.testing.assert_allclose(frame.poses.keypoints, wanted.keypoints, atol=0.05)


def test_image_files_have_nothing_to_do_with_each_other(estimator: PoseEstimator, tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture(two_people(40 * index)[:1]))
    with PoseStream(tmp_path, estimator) as stream:
        assert [(len(frame.poses), frame.poses.track_ids) for frame in stream] == [(1, None)] * 3


class BrokenDetector(BlobDetector):
    """Works for some calls."""

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.calls == 5:
            raise ZeroDivisionError("the detector broke")
        return super().__call__(image)


@pytest.mark.parametrize(
    ("source", "detector", "expected", "cause"),
    [
        # an error of ours comes as it is, a foreign one as the cause of one that says where
        (lambda: fails_at(5, SourceError("the disk broke")), BlobDetector, SourceError, None),
        (lambda: fails_at(5, ZeroDivisionError("the iterable broke")), BlobDetector, SourceError, ZeroDivisionError),
        (lambda: (picture(two_people(i)).astype(float if i == 5 else np.uint8) for i in range(9)), BlobDetector,
         SourceError, None),
        (lambda: walk(40), BrokenDetector, TransposeError, ZeroDivisionError),
    ],
)  # fmt: skip
def test_an_error_in_a_stage_comes_once_and_after_the_frames_before(
    bundle: Path, source: Callable[[], Any], detector: type, expected: type, cause: type | None
) -> None:
    taken = []
    with PoseEstimator(bundle, "CPU", "fp32", detector()) as estimator:
        stream = PoseStream(source(), estimator, track=False)
        with pytest.raises(expected) as failure:
            for frame in stream:
                taken.append(frame.index)
        assert list(stream) == []
    assert taken == list(range(5))
    assert cause is None or isinstance(failure.value.__cause__, cause)


def test_an_error_of_the_network_comes_out(estimator: PoseEstimator, monkeypatch: pytest.MonkeyPatch) -> None:
    started = estimator.backend.submit

    def submit(crops: np.ndarray, attention: bool = False, ahead: bool = False) -> Any:
        flight = started(crops, attention, ahead)
        flight.error = BackendError("the device broke")
        return flight

    monkeypatch.setattr(estimator.backend, "submit", submit)
    with PoseStream(walk(1000, 0.01), estimator) as stream, pytest.raises(BackendError, match="the device broke"):
        list(stream)


@pytest.mark.parametrize(("policy", "ahead"), [("every", True), ("latest", False)])
def test_a_file_wants_most_people_a_second_and_a_camera_the_next_answer(
    estimator: PoseEstimator, monkeypatch: pytest.MonkeyPatch, policy: Policy, ahead: bool
) -> None:
    started, told = estimator.backend.submit, []

    def submit(crops: np.ndarray, attention: bool = False, ahead: bool = False) -> Any:
        told.append(ahead)
        return started(crops, attention, ahead)

    monkeypatch.setattr(estimator.backend, "submit", submit)
    with PoseStream(walk(5, 0.01), estimator, policy=policy) as stream:
        assert list(stream)
    assert set(told) == {ahead}


def leave(stream: PoseStream) -> None:
    next(stream)


def fail(stream: PoseStream) -> None:
    next(stream)
    raise ZeroDivisionError("the consumer broke")


def interrupt(stream: PoseStream) -> None:
    threading.Timer(0.2, _thread.interrupt_main).start()
    for _ in stream:
        pass


@pytest.mark.parametrize("policy", ["every", "latest"])
@pytest.mark.parametrize(
    ("consume", "raised"), [(leave, None), (fail, ZeroDivisionError), (interrupt, KeyboardInterrupt)]
)
@pytest.mark.parametrize("source", ["endless", "slow"])
def test_whatever_ends_the_block_ends_the_threads(
    estimator: PoseEstimator, policy: Any, consume: Callable[[PoseStream], None], raised: Any, source: str
) -> None:
    frames = walk(100_000) if source == "endless" else walk(100, pause=0.3)
    ended = []

    def run() -> None:
        with PoseStream(frames, estimator, policy=policy) as stream:
            try:
                consume(stream)
            finally:
                ended.append(time.monotonic())

    if raised is None:
        run()
    else:
        with pytest.raises(raised):
            run()
    assert time.monotonic() - ended[0] < STOPS_WITHIN


def test_a_source_that_does_not_return_does_not_hold_the_consumer(estimator: PoseEstimator) -> None:
    release = threading.Event()

    def stuck() -> Iterator[np.ndarray]:
        yield picture(two_people(0))
        release.wait(20)

    with PoseStream(stuck(), estimator) as stream:
        next(stream)
        started = time.monotonic()
    assert time.monotonic() - started < STOPS_WITHIN
    release.set()
    deadline = time.monotonic() + 5
    while any(thread.name == "transpose-capture" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)


def one_buffer(count: int) -> Iterator[np.ndarray]:
    """Pictures of people who walk, all in one array."""
    buffer = picture(two_people(0))
    for index in range(count):
        buffer[:] = picture(two_people(index))
        yield buffer


class BufferedCamera:
    """A source of the user's own whose driver has one buffer."""

    name, kind, fps, frame_count, size, live = "own camera", "camera", 30.0, None, (320, 240), False

    def __iter__(self) -> Iterator[SourceFrame]:
        for index, image in enumerate(one_buffer(12)):
            yield SourceFrame(index, index / 30, image)

    def __enter__(self) -> BufferedCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        pass


@pytest.mark.parametrize("frames", [lambda: one_buffer(12), BufferedCamera], ids=["generator", "source"])
def test_frames_that_are_read_ahead_are_the_streams_own(estimator: PoseEstimator, frames: Callable[[], Any]) -> None:
    with PoseStream(frames(), estimator, smooth=False) as stream:
        next(stream)
        time.sleep(0.3)  # as much as possible is read ahead
        rest = list(stream)
    assert [frame.index for frame in rest] == list(range(1, 12))
    for frame in rest:
        assert (frame.image == picture(two_people(frame.index))).all()
        truth = joints_of(two_people(frame.index)[0])
        assert np.abs(frame.poses.keypoints - truth).max(axis=(1, 2)).min() < 3


class GeneratorCamera:
    """A camera that is a generator, as users write them; says on which thread it was freed."""

    def __init__(self) -> None:
        self.freed_by: str | None = None
        self.answers = threading.Event()
        self.answers.set()
        self.frames = self._frames()

    def _frames(self) -> Iterator[np.ndarray]:
        try:
            for index in range(100_000):
                yield picture(two_people(index % 20))
                self.answers.wait(20)
        finally:
            self.freed_by = threading.current_thread().name


@pytest.mark.parametrize("policy", ["every", "latest"])
@pytest.mark.parametrize("consume", [leave, fail])
def test_a_generator_is_closed_on_leaving_the_block(
    estimator: PoseEstimator, consume: Callable[[PoseStream], None], policy: Any
) -> None:
    camera = GeneratorCamera()
    with suppress(ZeroDivisionError), PoseStream(camera.frames, estimator, policy=policy) as stream:
        consume(stream)
    assert camera.freed_by == "transpose-capture"


def test_a_generator_that_waits_for_its_camera_is_closed_when_it_comes_back(estimator: PoseEstimator) -> None:
    camera = GeneratorCamera()
    camera.answers.clear()
    with PoseStream(camera.frames, estimator) as stream:
        next(stream)
        started = time.monotonic()
    assert time.monotonic() - started < STOPS_WITHIN
    assert camera.freed_by is None
    camera.answers.set()
    deadline = time.monotonic() + 5
    while camera.freed_by is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert camera.freed_by == "transpose-capture"


def test_a_generator_is_closed_when_a_stage_fails(bundle: Path) -> None:
    camera = GeneratorCamera()
    with (
        PoseEstimator(bundle, "CPU", "fp32", BrokenDetector()) as estimator,
        pytest.raises(TransposeError, match="detecting people"),
        PoseStream(camera.frames, estimator, track=False) as stream,
    ):
        list(stream)
    assert camera.freed_by == "transpose-capture"


def test_what_is_finished_can_be_taken_after_the_block(estimator: PoseEstimator) -> None:
    with PoseStream(walk(100), estimator) as stream:
        first = next(stream)
        time.sleep(0.5)
    rest = [frame.index for frame in stream]
    assert first.index == 0
    assert rest == list(range(1, 1 + len(rest)))
    assert len(rest) >= 4  # the queue was full


def test_a_stream_that_is_forgotten_ends(estimator: PoseEstimator) -> None:
    for frame in PoseStream(walk(100_000), estimator):
        assert frame.index == 0
        break


def test_latest_drops_waiting_frames_and_stays_young(estimator: PoseEstimator) -> None:
    frames = []
    with PoseStream(walk(200, pause=0.005), estimator, policy="latest") as stream:
        for frame in stream:
            frames.append(frame)
            time.sleep(0.04)  # the consumer is the slowest
    indices = [frame.index for frame in frames]
    assert indices == sorted(set(indices))
    assert frames[-1].dropped > 50
    # Every frame came out or was counted.
    assert frames[-1].dropped + len(frames) == frames[-1].index + 1
    # 200 frames took about a second; without drops the last ones would be 7 s old. Shared machines are slow at times.
    assert np.median([frame.latency.total for frame in frames]) < 0.3


def test_a_video_that_may_drop_frames_plays_at_its_own_speed(estimator: PoseEstimator, tmp_path: Path) -> None:
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 240))
    for index in range(20):
        writer.write(picture(two_people(index)))
    writer.release()
    started = time.monotonic()
    with PoseStream(path, estimator, policy="latest") as stream:
        count = sum(1 for _ in stream)
    assert time.monotonic() - started > 0.6
    assert count > 5


def test_latency_adds_up(estimator: PoseEstimator) -> None:
    with PoseStream(walk(10), estimator) as stream:
        for frame in stream:
            parts = [value for name, value in vars(frame.latency).items() if name != "total"]
            assert min(parts) >= 0
            assert sum(parts) == pytest.approx(frame.latency.total)


@pytest.mark.parametrize(
    "pictures",
    [
        pytest.param([], id="nothing"),
        pytest.param([np.zeros((240, 320, 3), np.uint8)] * 3, id="nobody"),
        pytest.param([np.zeros((240, 320), np.uint8)] * 3, id="grey"),
        pytest.param([np.zeros((1, 1, 3), np.uint8)] * 3, id="one pixel"),
    ],
)
def test_frames_without_people(estimator: PoseEstimator, pictures: list[np.ndarray]) -> None:
    with PoseStream(pictures, estimator) as stream:
        assert [len(frame.poses) for frame in stream] == [0] * len(pictures)


def test_frames_may_change_size(estimator: PoseEstimator) -> None:
    sizes = [(240, 320)] * 8 + [(200, 150)] * 8 + [(480, 640)] * 8
    pictures = [picture([(40, 20, 70, 160)], size) for size in sizes]
    with PoseStream(pictures, estimator) as stream:
        frames = list(stream)
    assert [frame.image.shape[:2] for frame in frames] == sizes
    assert [len(frame.poses) for frame in frames] == [1] * len(sizes)
    assert [frame.index for frame in frames if frame.look == "scene"] == [8, 16]


def test_times_that_repeat_or_jump(estimator: PoseEstimator) -> None:
    times = [0.0, 0.0, 0.1, 0.05, 50.0, 50.1, 1.0, float("nan"), 1.1, 1.2]
    with PoseStream(((t, picture([(40, 40, 70, 160)])) for t in times), estimator) as stream:
        frames = list(stream)
    assert len(frames) == len(times)
    assert (np.diff([frame.time for frame in frames]) > 0).all()
    assert all(np.isfinite(frame.poses.keypoints).all() for frame in frames)
    assert len(frames[-1].poses) == 1


def test_a_source_can_be_given_open_and_a_stream_closed_unused(estimator: PoseEstimator) -> None:
    source = open_source([picture(two_people(0))] * 3)
    stream = PoseStream(source, estimator)
    stream.close()
    assert list(stream) == []


def test_an_unknown_policy_is_refused(estimator: PoseEstimator) -> None:
    policy: Any = "newest"
    with pytest.raises(InputError, match="latest"):
        PoseStream([], estimator, policy=policy)


def test_a_channel_waits_drops_and_ends() -> None:
    waiting: Channel[int] = Channel(2)
    waiting.put(1)
    waiting.put(2)
    threading.Timer(0.05, waiting.stop).start()
    with pytest.raises(Closed):
        waiting.put(3)
    assert [waiting.get(), waiting.get()] == [1, 2]
    with pytest.raises(Closed):
        waiting.get()

    dropping: Channel[int] = Channel(1, drop_oldest=True)
    dropping.put(1)
    dropping.put(2)
    dropping.finish()
    assert dropping.get() == 2
    assert dropping.dropped == 1
