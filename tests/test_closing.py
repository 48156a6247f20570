"""What is closed says so and holds nothing; what was lent stays open."""

from __future__ import annotations

import gc
import io
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from blob_people import BlobDetector, picture, write_blob_bundle

from transpose_sdk import COCO17, PoseEstimator, Poses, PoseStream, open_source
from transpose_sdk.backend import Backend
from transpose_sdk.backends.choose import open_backend
from transpose_sdk.bundles.bundle import open_bundle
from transpose_sdk.detectors import open_detector
from transpose_sdk.errors import BackendError, DetectorError, InputError, MissingDependencyError, SinkError
from transpose_sdk.media import sinks

IMAGE = picture([(20.0, 40.0, 70.0, 160.0)])
PEOPLE = Poses.empty(COCO17)
FRAME = SimpleNamespace(index=0, time=0.0, image=IMAGE, poses=PEOPLE)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_bundle(tmp_path_factory.mktemp("bundles") / "blobs.tpose")


class Lent(BlobDetector):
    """A caller's detector, which counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_an_estimator_leaves_the_detector_open_that_it_was_lent(blobs: Path) -> None:
    detector = Lent()
    with PoseEstimator(blobs, "CPU", "fp32", detector) as one, PoseEstimator(blobs, "CPU", "fp32", detector) as other:
        one.close()
        assert len(other(IMAGE)) == 1
    assert detector.closed == 0
    assert len(detector(IMAGE)[0]) == 1


def test_a_stream_leaves_open_what_it_was_lent_and_closes_its_own(blobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[PoseEstimator] = []

    def open_default() -> PoseEstimator:
        opened.append(PoseEstimator(blobs, "CPU", "fp32", BlobDetector()))
        return opened[-1]

    with PoseEstimator(blobs, "CPU", "fp32", BlobDetector()) as estimator:
        source = open_source([IMAGE] * 3)
        with PoseStream(source, estimator) as stream:
            assert len(list(stream)) == 3
        assert len(estimator(IMAGE)) == 1
        assert len(list(source)) == 3  # it is open: the list can be gone through again
    monkeypatch.setattr("transpose_sdk.stream.pose_stream.PoseEstimator", open_default)
    with PoseStream([IMAGE] * 3) as stream:
        assert len(list(stream)) == 3
        assert stream.estimator is opened[0]
    with pytest.raises(BackendError, match="closed: open it again"):
        opened[0](IMAGE)


def test_a_source_that_cannot_be_posed_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> PoseEstimator:
        raise BackendError("no device")

    monkeypatch.setattr("transpose_sdk.stream.pose_stream.PoseEstimator", fail)
    source = open_source([IMAGE])
    closed: list[bool] = []
    monkeypatch.setattr(type(source), "close", lambda self: closed.append(True))
    with pytest.raises(BackendError, match="no device"):
        PoseStream([IMAGE])
    assert closed == [True]
    with pytest.raises(BackendError, match="no device"):
        PoseStream(source)
    assert closed == [True]


def test_a_detector_that_cannot_be_opened_costs_no_device(blobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(
        "transpose_sdk.backends.openvino.OpenVINOBackend.close", lambda self: closed.append(self.device)
    )
    with pytest.raises(DetectorError):
        PoseEstimator(blobs, "CPU", "fp32", "no_such_detector.onnx")
    assert closed == ["CPU"]


def test_a_closed_estimator_says_so_whatever_is_called(blobs: Path) -> None:
    estimator = PoseEstimator(blobs, "CPU", "fp32", BlobDetector())
    poses = estimator(IMAGE)
    estimator.close()
    estimator.close()
    calls: list[Callable[[], Any]] = [
        lambda: estimator(IMAGE),
        lambda: estimator(IMAGE, boxes=[[0, 0, 9, 9]]),
        lambda: estimator.batch([IMAGE]),
        lambda: estimator.attention(IMAGE, poses, 0, 0),
        lambda: list(PoseStream([IMAGE], estimator)),
    ]
    for call in calls:
        with pytest.raises(BackendError, match="is closed: open"):
            call()
    assert estimator.describe()["device"] == "CPU"


@pytest.fixture(params=["CPU", "ONNXRUNTIME:CPU", "TORCH:CPU"])
def backend(request: pytest.FixtureRequest, tiny_bundle: Path) -> Iterator[Backend]:
    try:
        opened = open_backend(open_bundle(tiny_bundle, "pose"), request.param)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    yield opened
    opened.close()


def test_a_closed_backend_answers_what_is_in_flight_and_nothing_else(backend: Backend) -> None:
    crops = np.zeros((3, *backend.input_size, 3), np.uint8)
    expected = backend.infer(crops).heatmaps
    flight = backend.submit(crops)
    backend.close()
    backend.close()
    np.testing.assert_array_equal(flight.result().heatmaps, expected)
    for call in (backend.infer, backend.submit):
        with pytest.raises(BackendError, match=rf"{backend.device}.*is closed: open"):
            call(crops)
    assert backend.batches
    assert backend.requests


def networks(backend: Backend) -> list[Any]:
    """The runtime's own objects, which hold the device's memory."""
    seen, found, waiting = set(), [], list(vars(backend).values())
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        module = type(value).__module__.split(".")[0]
        if isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
        elif module == "transpose_sdk":
            waiting += vars(value).values()
        if type(value).__name__ in ("InferRequest", "InferenceSession", "_DeviceNetwork"):
            found.append(value)
    return found


def test_a_closed_backend_lets_go_of_the_network(backend: Backend) -> None:
    """Closed, but still held by the caller, as an estimator is that somebody forgot."""
    references = [weakref.ref(network) for network in networks(backend)]
    assert references
    backend.close()
    gc.collect()
    assert [reference() for reference in references if reference() is not None] == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory in use is read from /proc")
def test_memory_of_closed_estimators_comes_back() -> None:
    """A network and a detector take some 60 MB; five more that are closed but held take less than one of them."""

    def resident() -> float:
        gc.collect()
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

    held = []
    for number in range(8):
        held.append(PoseEstimator(device="CPU"))
        held[-1](IMAGE)
        held[-1].close()
        if number == 2:
            before = resident()
    assert resident() - before < 40


@pytest.mark.parametrize("name", ["person", "frame"])
def test_a_closed_detector_says_so(name: str) -> None:
    detector = open_detector(name, "CPU")
    detector(IMAGE)
    detector.close()
    detector.close()
    with pytest.raises(DetectorError, match=f"{name} is closed: open it again"):
        detector(IMAGE)


def test_a_closed_detector_lets_go_of_the_network() -> None:
    detector: Any = open_detector("person", "CPU")
    detector(IMAGE.transpose(1, 0, 2).copy())  # the other way round too
    requests = [weakref.ref(network._request) for network in (detector._straight, detector._turned)]
    detector.close()
    gc.collect()
    assert [request() for request in requests] == [None, None]


SINKS: dict[str, Callable[[Path], Any]] = {
    "json": lambda folder: sinks.JsonSink(folder / "a.json", source="a", model="b", skeleton=COCO17),
    "jsonl": lambda folder: sinks.JsonLinesSink(folder / "a.jsonl"),
    "stream": lambda folder: sinks.JsonLinesSink(io.BytesIO()),
    "csv": lambda folder: sinks.CsvSink(folder / "a.csv"),
    "coco": lambda folder: sinks.CocoSink(folder / "a.json"),
    "openpose": lambda folder: sinks.OpenPoseSink(folder / "openpose"),
    "mot": lambda folder: sinks.MotSink(folder / "a.txt"),
    "video": lambda folder: sinks.VideoSink(folder / "a.avi"),
    "images": lambda folder: sinks.ImageSink(folder / "images"),
}


@pytest.mark.parametrize("name", SINKS)
def test_a_closed_sink_says_so(name: str, tmp_path: Path) -> None:
    sink = SINKS[name](tmp_path)
    sink.write(FRAME)
    sink.close()
    sink.close()
    person = Poses([[[1, 2]] * 17], [[0.5] * 17], [[0, 0, 9, 9]], [0.5], COCO17)  # CocoSink writes nothing for nobody
    with pytest.raises(SinkError, match="is closed: write inside the with block, or open it again"):
        sink.write(SimpleNamespace(index=1, time=0.1, image=IMAGE, poses=person))


def test_a_stream_that_was_lent_to_a_sink_stays_open() -> None:
    stream = io.BytesIO()
    with sinks.JsonLinesSink(stream) as sink:
        sink.write(FRAME)
    assert stream.getvalue().count(b"\n") == 1
    with sinks.JsonLinesSink(stream) as sink:
        stream.close()
        with pytest.raises(SinkError, match="is closed"):
            sink.write(FRAME)


def test_a_bare_word_is_a_name_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of photos that are called like what ships."""
    monkeypatch.chdir(tmp_path)
    for name in ("person", "tp_l_256x192", "frame"):
        (tmp_path / name).mkdir()
    for detector in ("person", "frame"):
        with PoseEstimator(device="CPU", detector=detector) as estimator:
            assert estimator.detector.name == detector
            assert estimator.bundle.name == "tp_l_256x192"
    assert open_bundle("person", "detector").folder.parent.name == "assets"
    for folder in ("./person", tmp_path / "person", Path("person")):  # what says that it is a folder is one
        with pytest.raises(Exception, match=r"bundle\.json"):
            open_bundle(folder, "detector")


def test_an_estimator_is_no_estimators_name() -> None:
    with pytest.raises(InputError, match="give a PoseEstimator"):
        PoseStream([IMAGE], "tp_l_256x192")  # type: ignore[arg-type]
