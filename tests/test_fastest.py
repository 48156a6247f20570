"""INT8 or FP16: what is clearly faster on this machine is taken, timed once, remembered, and told."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle
from pathlib import Path

import pytest
from test_lesser_processors import QUANTIZED, run_capped

from transpose_sdk.backend import Backend
from transpose_sdk.backends import choose, fastest
from transpose_sdk.backends.choose import open_backend
from transpose_sdk.bundles import probe as probes
from transpose_sdk.bundles.bundle import Bundle, open_bundle
from transpose_sdk.bundles.probe import Limits
from transpose_sdk.cli.main import main
from transpose_sdk.diagnostics import doctor
from transpose_sdk.disk.digest import file_digest
from transpose_sdk.errors import BackendError, BundleError
from transpose_sdk.estimator import PoseEstimator

Times = dict[str, Iterator[float]]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """A bundle whose INT8 graph is its FP16 graph under another name: what is right has the right answers."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "tiny.tpose"))
    description = json.loads((folder / "bundle.json").read_text())
    for suffix in ("xml", "bin"):
        shutil.copy(folder / f"model_fp16.{suffix}", folder / f"model_int8.{suffix}")
    files = {name: file_digest(folder / name) for name in ("model_int8.xml", "model_int8.bin")}
    description["graphs"]["int8"] = {"path": "model_int8.xml", "sha256": files}
    (folder / "bundle.json").write_text(json.dumps(description))
    return open_bundle(folder, "pose")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where choices are remembered."""
    monkeypatch.setenv("TRANSPOSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "timed"


@pytest.fixture
def timed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Precisions in the order in which they were timed; INT8 takes half of FP16's time."""
    order: list[str] = []
    give_times(monkeypatch, {"fp16": cycle([0.01]), "fp32": cycle([0.02]), "int8": cycle([0.005])}, order)
    return order


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Backend]:
    """The backends that were opened."""
    backends: list[Backend] = []

    def _open(*args: object) -> Backend:
        backends.append(original(*args))  # type: ignore[arg-type]
        return backends[-1]

    original = choose._open
    monkeypatch.setattr(choose, "_open", _open)
    return backends


def give_times(monkeypatch: pytest.MonkeyPatch, times: Times, order: list[str] | None = None) -> None:
    """Inferences take the given times; the graphs are not run for that, the probe's answers are real."""

    def inference_time(backend: Backend, crop: object) -> float:
        if order is not None:
            order.append(backend.precision)
        return next(times[backend.precision])

    monkeypatch.setattr(fastest, "inference_time", inference_time)
    monkeypatch.setattr(fastest, "BUDGET", 0)
    monkeypatch.setattr(fastest, "ROUNDS", 8)


def taken(bundle: Bundle, **options: object) -> str:
    """The precision that a user gets who states none."""
    with closing(open_backend(bundle, "CPU", **options)) as backend:  # type: ignore[arg-type]
        return backend.precision


def is_open(backend: Backend, bundle: Bundle) -> bool:
    try:
        backend.infer(probes.Probe.load(bundle).crops[:1])
    except BackendError:
        return False
    return True


@pytest.mark.parametrize(
    ("fp16", "int8", "precision"),
    [
        ([10.0], [5.0], "int8"),
        ([10.0], [8.4], "int8"),
        ([10.0], [8.6], "fp16"),  # faster, but not clearly
        ([10.0], [10.0], "fp16"),
        ([10.0], [12.0], "fp16"),
        ([10.0, 10.0, 10.0, 90.0], [7.0], "int8"),  # a neighbour took the core away from some rounds
        ([10.0, 10.0, 10.0, 90.0], [9.5], "fp16"),
        ([10.0], [9.5, 9.5, 9.5, 0.1], "fp16"),
        ([10.0, 20.0, 40.0, 80.0], [7.0, 14.0, 28.0, 56.0], "int8"),  # the machine is slowed down meanwhile
        ([0.0], [0.0], "fp16"),  # a clock that stands
    ],
)
def test_what_is_clearly_faster_is_taken(
    bundle: Bundle,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    fp16: list[float],
    int8: list[float],
    precision: str,
) -> None:
    give_times(monkeypatch, {"fp16": cycle(fp16), "int8": cycle(int8)})
    assert taken(bundle) == precision


def test_it_is_timed_once_in_turns_and_remembered(bundle: Bundle, timed: list[str], folder: Path) -> None:
    assert [taken(bundle) for _ in range(3)] == ["int8"] * 3
    assert timed == ["fp16", "int8", "int8", "fp16"] * 4
    (file,) = folder.iterdir()  # and nothing half written
    kept = json.loads(file.read_text())
    assert set(kept["facts"]) == {"machine", "processor", "runtime", "device", "bundle"}
    assert kept["finding"]["precision"] == "int8"
    assert kept["finding"]["milliseconds"] == {"fp16": 10.0, "int8": 5.0}


def test_each_graph_is_opened_once_and_only_what_is_taken_stays(
    bundle: Bundle, timed: list[str], opened: list[Backend]
) -> None:
    first = open_backend(bundle, "CPU")
    assert [backend.precision for backend in opened] == ["fp16", "int8"]
    assert [is_open(backend, bundle) for backend in opened] == [False, True]
    second = open_backend(bundle, "CPU")
    assert [backend.precision for backend in opened] == ["fp16", "int8", "int8"]
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("options", "precision"),
    [({"verify": False}, "fp16"), ({"precision": "fp16"}, "fp16"), ({"precision": "fp32"}, "fp32")],
)
def test_nothing_is_timed_where_it_is_not_asked_for(
    bundle: Bundle, timed: list[str], opened: list[Backend], folder: Path, options: dict[str, object], precision: str
) -> None:
    assert taken(bundle, **options) == precision
    assert not timed
    assert len(opened) == 1
    assert not folder.exists()


def test_a_bundle_with_one_graph_times_nothing(
    tiny_bundle: Path, timed: list[str], opened: list[Backend], folder: Path
) -> None:
    assert taken(open_bundle(tiny_bundle, "pose")) == "fp16"
    assert not timed
    assert len(opened) == 1
    assert not folder.exists()


def test_int8_that_nobody_can_check_is_not_taken(bundle: Bundle, timed: list[str]) -> None:
    description = json.loads((bundle.folder / "bundle.json").read_text())
    del description["probe"]
    (bundle.folder / "bundle.json").write_text(json.dumps(description))
    assert taken(open_bundle(bundle.folder, "pose")) == "fp16"
    assert not timed


@pytest.mark.parametrize("changed", ["bundle", "runtime", "instructions"])
def test_what_changed_is_timed_again(
    bundle: Bundle, timed: list[str], monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    taken(bundle)
    if changed == "bundle":
        path = bundle.folder / "bundle.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "licence": "another"}))
        bundle = open_bundle(bundle.folder, "pose")
    elif changed == "runtime":
        monkeypatch.setattr("openvino.get_version", lambda: "another")
    else:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    for _ in range(2):
        taken(bundle)
    assert len(timed) == 2 * 16


def test_with_verify_it_is_timed_every_time(bundle: Bundle, timed: list[str]) -> None:
    for _ in range(2):
        assert taken(bundle, verify=True) == "int8"
    assert len(timed) == 2 * 16


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 100, b"[]", b'{"finding": {"precision": "int8"}}'])
def test_a_damaged_memory_is_mended(bundle: Bundle, timed: list[str], folder: Path, content: bytes) -> None:
    taken(bundle)
    (file,) = folder.iterdir()
    kept = file.read_bytes()
    file.write_bytes(content)
    for _ in range(2):
        assert taken(bundle) == "int8"
    assert len(timed) == 2 * 16
    assert file.read_bytes() == kept


def test_where_nothing_can_be_written_it_is_timed_every_time(bundle: Bundle, timed: list[str], folder: Path) -> None:
    folder.parent.write_text("a file where the user's folder should be")
    for _ in range(2):
        assert taken(bundle) == "int8"
    assert len(timed) == 2 * 16


def test_int8_with_other_answers_is_not_taken_and_that_is_remembered(
    bundle: Bundle, timed: list[str], opened: list[Backend], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setitem(probes.LIMITS, "int8", Limits(mean_drift=0, max_drift=0, score_error=0, attention=1.0))
    for _ in range(2):
        assert taken(bundle) == "fp16"
    assert not timed
    assert [backend.precision for backend in opened] == ["fp16", "int8", "fp16"]
    assert not any(is_open(backend, bundle) for backend in opened)
    (file,) = folder.iterdir()
    assert "int8 gives other answers" in json.loads(file.read_text())["finding"]["refusal"]


def test_where_fp16_is_wrong_nothing_is_chosen_by_time(
    bundle: Bundle, timed: list[str], monkeypatch: pytest.MonkeyPatch, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A device whose answers are wrong once may be right the next time: that is asked again."""
    monkeypatch.setitem(probes.LIMITS, "fp16", Limits(mean_drift=0, max_drift=0, score_error=0, attention=1.0))
    with caplog.at_level(logging.WARNING):
        assert taken(bundle) == "fp32"
    assert "in fp32 instead: CPU in fp16 gives other answers" in caplog.text
    assert not timed
    assert not folder.exists()


def test_a_remembered_precision_that_turns_wrong_is_left_with_a_warning(
    bundle: Bundle, timed: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert taken(bundle) == "int8"
    shutil.rmtree(Path(os.environ["TRANSPOSE_HOME"]) / "verified")
    monkeypatch.setitem(probes.LIMITS, "int8", Limits(mean_drift=0, max_drift=0, score_error=0, attention=1.0))
    with caplog.at_level(logging.WARNING):
        assert taken(bundle) == "fp16"
    assert "in fp16 instead: CPU in int8 gives other answers" in caplog.text


def test_a_damaged_int8_graph_is_an_error_and_nothing_stays_open(
    bundle: Bundle, timed: list[str], opened: list[Backend]
) -> None:
    (bundle.folder / "model_int8.bin").write_bytes(b"")
    with pytest.raises(BundleError, match="SHA-256 differs"):
        open_backend(bundle, "CPU")
    assert len(opened) == 1
    assert not is_open(opened[0], bundle)


def test_a_device_that_fails_while_it_is_timed_is_let_go_of(
    bundle: Bundle, folder: Path, opened: list[Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> float:
        raise BackendError("CPU failed")

    monkeypatch.setattr(fastest, "inference_time", fail)
    with closing(open_backend(bundle, "CPU")) as backend:
        assert backend.precision == "fp32"  # the next one; nothing is known of fp16 any more
        assert [is_open(one, bundle) for one in opened] == [False, False, True]


def test_the_estimator_says_which_was_taken(bundle: Bundle, timed: list[str]) -> None:
    with PoseEstimator(bundle.folder, "CPU", detector="frame") as estimator:
        assert estimator.describe()["precision"] == "int8"


@pytest.mark.parametrize(
    ("int8", "words"),
    [
        ([0.005], "int8 is taken, of fp16 10.00 ms, int8 5.00 ms a crop: int8 takes 0.50 of the time"),
        ([0.012], "fp16 is taken, of fp16 10.00 ms, int8 12.00 ms a crop: int8 takes 1.20 of the time"),
    ],
)
def test_doctor_shows_the_choice_the_times_and_renews_them(
    bundle: Bundle,
    timed: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    int8: list[float],
    words: str,
) -> None:
    taken(bundle)
    monkeypatch.setattr(doctor, "MEASURING_TIME", 0.01)
    give_times(monkeypatch, {"fp16": cycle([0.01]), "int8": cycle(int8)})
    assert main(["doctor", str(bundle.folder)]) == 0
    assert words in capsys.readouterr().out
    (file,) = folder.iterdir()
    assert json.loads(file.read_text())["finding"]["precision"] == words[:4]


def test_several_processes_at_once_keep_one_whole_choice(bundle: Bundle, folder: Path) -> None:
    script = f"""if True:
        from transpose_sdk.backends.choose import open_backend
        from transpose_sdk.bundles.bundle import open_bundle

        print(open_backend(open_bundle({str(bundle.folder)!r}, "pose"), "CPU").precision)"""
    processes = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [process.communicate(timeout=300)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert set(answers) <= {"fp16", "int8"}
    (file,) = folder.iterdir()
    remembered = json.loads(file.read_text())["finding"]["precision"]
    assert remembered in answers
    assert taken(bundle) == remembered


CHOICE = """
    import json
    from dataclasses import asdict

    from transpose_sdk.backends.choose import choose_backend

    backend, choice = choose_backend(open_bundle(NAME, "pose"), "CPU", verify=True)
    print(json.dumps([backend.precision, asdict(choice)]))
"""


@pytest.mark.parametrize("cap", ["AVX2", "AVX512_CORE_VNNI"])
@pytest.mark.parametrize("name", QUANTIZED[:1])
def test_the_whole_road_on_a_lesser_processor(
    name: str, cap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real graphs and times: what is taken has to fit; the faster is for examples/benchmarks/precision_choice.py."""
    monkeypatch.setenv("TRANSPOSE_HOME", str(tmp_path))
    precision, choice = json.loads(run_capped(cap, f"\n    NAME = {name!r}" + CHOICE))
    assert set(choice["milliseconds"]) == {"fp16", "int8"}
    assert min(choice["milliseconds"].values()) > 0
    assert choice["precision"] == precision == ("int8" if choice["share"] <= fastest.CLEARLY_FASTER else "fp16")
    (file,) = (tmp_path / "timed").iterdir()
    kept = json.loads(file.read_text())
    assert cap in kept["facts"]["processor"]
    assert kept["finding"] == choice
