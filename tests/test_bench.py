"""`transpose bench`: what is measured is what the stream did, and the report says it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from blob_people import BlobDetector, picture, write_blob_bundle

from transpose_sdk.bundles.bundle import ASSETS, DEFAULT_MODEL
from transpose_sdk.cli.main import main
from transpose_sdk.diagnostics import bench
from transpose_sdk.diagnostics.clip import PEOPLE, KnownPeople, drawn_clip
from transpose_sdk.errors import InputError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.frames import Source
from transpose_sdk.media.sources import open_source
from transpose_sdk.stream import PoseStream


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoseEstimator]:
    bundle = write_blob_bundle(tmp_path_factory.mktemp("bundles") / "blobs.tpose")
    with PoseEstimator(bundle, "CPU", "fp32", BlobDetector(), requests=2) as estimator:
        yield estimator


def walk() -> Source:
    """Two people, of whom one comes later."""
    boxes = [(20.0, 40.0, 70.0, 160.0), (160.0, 60.0, 64.0, 140.0)]
    return open_source([picture(boxes[: 1 + (index > 6)]) for index in range(40)])


def test_the_work_is_what_the_stream_gives_network_and_detector(estimator: PoseEstimator) -> None:
    detector = estimator.detector
    assert isinstance(detector, BlobDetector)
    calls = detector.calls
    work = bench.record_work(walk, estimator)
    assert len(work.seen) == detector.calls - calls > 1
    assert len(work.crops) == 40
    assert [len(crops) for crops in work.crops][::39] == [1, 2]
    again = bench.time_stream(walk, estimator)
    assert (again.frames, again.people) == (40, work.people)
    alone = bench.time_network(work, estimator)
    assert alone.people == work.people
    # The crops are those of the poses: the network finds the same in them.
    with PoseStream(walk(), estimator, smooth=False) as stream:
        last = list(stream)[-1].poses
    heatmaps = estimator.backend.infer(work.crops[-1]).heatmaps
    np.testing.assert_allclose(np.sort(heatmaps.max(axis=(2, 3))), np.sort(last.raw_scores), atol=1e-3)


class SlowDetector(BlobDetector):
    """Takes 20 ms longer."""

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        time.sleep(0.02)
        return super().__call__(image)


def test_the_detector_is_counted(estimator: PoseEstimator) -> None:
    """A detector that takes most of the time is work, not overhead."""
    quick, estimator.detector = estimator.detector, SlowDetector()
    try:
        values = bench.stream_round(walk, bench.record_work(walk, estimator), estimator)
    finally:
        estimator.detector = quick
    share, plain = (values[name, "%"] for name in ("network and detector / stream", "stream / network"))
    assert share > plain
    assert values["stream, end to end", "frames/s"] == pytest.approx(
        values["stream, end to end", "persons/s"] * 40 / bench.record_work(walk, estimator).people, rel=0.01
    )


def test_reading_the_clip_is_told_apart(estimator: PoseEstimator) -> None:
    """A source that takes 10 ms of the processor for each frame."""

    def slow_frames() -> Iterator[np.ndarray]:
        for frame in walk():
            ends = time.thread_time() + 0.01
            while time.thread_time() < ends:
                pass
            yield frame.image

    def open_slow() -> Source:
        return open_source(slow_frames())

    reading = bench.time_reading(open_slow)
    assert reading.frames == 40
    assert reading.processor > 0.4
    slow = bench.stream_round(open_slow, bench.record_work(open_slow, estimator), estimator)
    assert 0 < slow["reading the clip / stream, processor time", "%"] < 100


def test_nobody_to_measure(estimator: PoseEstimator) -> None:
    empty = [np.zeros((240, 320, 3), np.uint8)] * 3
    with pytest.raises(InputError, match="nobody was found"):
        bench.measure(lambda: open_source(empty), estimator, 1)
    assert estimator.top_down.backend is estimator.backend


def test_figures_are_medians_with_their_range() -> None:
    figure = bench.Figure("stream", "frames/s", [3.0, 1.0, 8.0])
    assert figure.to_dict() == {"name": "stream", "unit": "frames/s", "median": 3.0, "lowest": 1.0, "highest": 8.0}
    assert bench.table([figure]).splitlines()[1].split() == ["stream,", "frames/s", "3.00", "1.00", "..", "8.00"]


def test_drawn_people_stand_in_their_boxes() -> None:
    crops = np.full((4, 64, 48, 3), 255, np.uint8)
    frames, boxes = drawn_clip(crops, 30)
    assert (len(frames), len(boxes)) == (30, PEOPLE)
    assert any((frame != frames[0]).any() for frame in frames)
    for x, y, width, height in boxes.astype(int):
        assert all((frame[y : y + height, x : x + width] == 255).all() for frame in frames)
    real = BlobDetector()
    found, scores = KnownPeople(real, boxes)(frames[0])
    assert real.calls == 1
    np.testing.assert_array_equal(found, boxes)
    assert len(scores) == len(boxes)


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (ASSETS / f"{DEFAULT_MODEL}.tpose").exists():
        pytest.skip("no bundle in transpose_sdk/assets")
    path = tmp_path / "bench.json"
    assert main(["bench", "--frames", "4", "--rounds", "2", "--requests", "2", "--json", str(path)]) == 0
    text = capsys.readouterr().out
    document = json.loads(path.read_text())
    assert document["schema"] == "transpose-sdk/bench/1"
    assert (document["rounds"], document["source"]["frames"], document["model"]["requests"]) == (2, 4, 2)
    for figure in document["figures"]:
        assert 0 < figure["lowest"] <= figure["median"] <= figure["highest"]
        assert f"{figure['name']}, {figure['unit']}" in text
    assert {"ms", "persons/s", "frames/s", "%"} == {figure["unit"] for figure in document["figures"]}


def test_bad_counts_and_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--rounds", "0"]) == 2
    assert "give 1 or more" in capsys.readouterr().err
    assert main(["bench", str(tmp_path / "missing.mp4"), "--model", str(tmp_path / "missing.tpose")]) == 2
