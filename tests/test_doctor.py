"""`transpose doctor`: what it reports of a sound bundle, of a wrong one, and of none."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from transpose_sdk.backends.choose import open_backend
from transpose_sdk.bundles.bundle import ASSETS, kind_of, named_folders, open_bundle
from transpose_sdk.bundles.probe import Probe, check
from transpose_sdk.cli.main import main
from transpose_sdk.diagnostics import doctor
from transpose_sdk.disk.digest import file_digest


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSPOSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(doctor, "MEASURING_TIME", 0.01)


def test_a_sound_bundle(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tiny_bundle)]) == 0
    text = capsys.readouterr().out
    rows = [line.split() for line in text.splitlines()]
    for device, precision in (("CPU", "fp16"), ("CPU", "fp32"), ("ONNXRUNTIME:CPU", "fp32")):
        row = next(row for row in rows if row[:2] == [device, precision])
        assert row[2] == "ok"
        assert float(row[-1]) > 0  # ms per crop of eight
    assert "default: CPU fp16, answers as in FP32" in text
    assert "openvino 20" in text


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        (folder.stem, precision)
        for folder in named_folders(ASSETS)
        if kind_of(folder) == "pose"
        for precision in ("fp16", "int8")
        if precision in open_bundle(folder, "pose").graphs
    ],
)
def test_what_ships_gives_the_networks_answers_on_this_processor(name: str, precision: str) -> None:
    bundle = open_bundle(name, "pose")
    with closing(open_backend(bundle, "CPU", precision, verify=False)) as backend:
        report = check(backend, Probe.load(bundle))
    assert report.joints >= 30
    assert not report.failures


def test_a_bundle_with_other_answers_is_refused(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "wrong.tpose"))
    probe = Probe.load(open_bundle(folder, "pose"))
    Probe(**{**vars(probe), "scores": 2 * probe.scores}).save(folder / "probe.npz")
    description = json.loads((folder / "bundle.json").read_text())
    description["probe"]["sha256"] = file_digest(folder / "probe.npz")
    (folder / "bundle.json").write_text(json.dumps(description))
    assert main(["doctor", str(folder)]) == 1
    text = capsys.readouterr().out
    refused = [line for line in text.splitlines() if " refused " in line]
    assert len(refused) >= 3
    assert all("score error" in line and "limit" in line for line in refused)
    assert "default: fails" in text


def test_a_graph_that_cannot_run_is_a_row_and_not_the_end(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "damaged.tpose"))
    (folder / "model.onnx").write_bytes(b"")
    assert main(["doctor", str(folder)]) == 0  # what a user gets by default is sound
    text = capsys.readouterr().out
    assert any(line.startswith("ONNXRUNTIME:CPU") and "SHA-256 differs" in line for line in text.splitlines())


def test_imported_bundles_are_examined_by_default(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transpose_sdk.bundles.bundle.ASSETS", tmp_path / "assets")
    assert main(["doctor"]) == 1
    assert "no pose bundle is installed" in capsys.readouterr().out
    shutil.copytree(tiny_bundle, tmp_path / "home" / "models" / "tiny.tpose")
    assert main(["doctor"]) == 0
    assert "tiny (" in capsys.readouterr().out


def test_an_unknown_bundle_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "nobody"]) == 2
    assert "no pose bundle 'nobody'" in capsys.readouterr().err
