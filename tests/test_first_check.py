"""The probe is asked when something is first opened on a machine, and not again before something changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from transpose_sdk.backend import Backend
from transpose_sdk.backends import first_check
from transpose_sdk.backends.choose import open_backend
from transpose_sdk.backends.openvino import OpenVINOBackend
from transpose_sdk.bundles.bundle import Bundle, open_bundle
from transpose_sdk.bundles.probe import Probe, ProbeReport


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    return open_bundle(shutil.copytree(tiny_bundle, tmp_path / "tiny.tpose"), "pose")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where right answers are remembered."""
    monkeypatch.setenv("TRANSPOSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "verified"


@pytest.fixture
def asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Precisions of which the probe was asked."""
    precisions: list[str] = []

    def check(backend: Backend, probe: Probe) -> ProbeReport:
        precisions.append(backend.precision)
        return original(backend, probe)

    original = first_check.check
    monkeypatch.setattr(first_check, "check", check)
    return precisions


def test_a_right_answer_is_remembered(bundle: Bundle, asked: list[str], folder: Path) -> None:
    for precision in ("fp16", "fp16", None, "fp32", "fp32"):  # None is fp16 here
        open_backend(bundle, "CPU", precision).close()
    assert asked == ["fp16", "fp32"]
    assert len(list(folder.iterdir())) == 2  # and nothing half written
    open_backend(bundle, "CPU", "fp16", verify=True).close()
    assert asked == ["fp16", "fp32", "fp16"]
    open_backend(bundle, "CPU", "fp32", verify=False).close()
    assert len(asked) == 3


@pytest.mark.parametrize("changed", ["bundle", "runtime", "instructions", "machine"])
def test_what_changed_is_asked_again(
    bundle: Bundle, asked: list[str], monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    open_backend(bundle, "CPU").close()
    if changed == "bundle":
        path = bundle.folder / "bundle.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "licence": "another"}))
        bundle = open_bundle(bundle.folder, "pose")
    elif changed == "runtime":
        monkeypatch.setattr("openvino.get_version", lambda: "another")
    elif changed == "instructions":
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    else:
        monkeypatch.setattr("platform.node", lambda: "another")
    for _ in range(2):
        open_backend(bundle, "CPU").close()
    assert asked == ["fp16", "fp16"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 100, b"{}"])
def test_a_damaged_memory_is_mended(bundle: Bundle, asked: list[str], folder: Path, content: bytes) -> None:
    open_backend(bundle, "CPU").close()
    (file,) = folder.iterdir()
    kept = file.read_bytes()
    file.write_bytes(content)
    for _ in range(2):
        open_backend(bundle, "CPU").close()
    assert asked == ["fp16", "fp16"]
    assert file.read_bytes() == kept


def test_where_nothing_can_be_written_it_is_asked_every_time(bundle: Bundle, asked: list[str], folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    for _ in range(2):
        open_backend(bundle, "CPU").close()
    assert asked == ["fp16", "fp16"]


def test_what_is_remembered_says_what_it_depends_on(bundle: Bundle, folder: Path) -> None:
    backend = OpenVINOBackend(bundle, "CPU")
    first_check.verify(backend, bundle, anew=False)
    backend.close()
    (file,) = folder.iterdir()
    facts = json.loads(file.read_text())["facts"]
    assert set(facts) == {"machine", "processor", "runtime", "device", "precision", "bundle"}
    assert facts["runtime"].startswith("OpenVINO 20")
    assert "FULL_DEVICE_NAME" in facts["runtime"]
