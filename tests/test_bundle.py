"""Bundles on disk: writing, finding by name, and every way in which one can be bad."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transpose_sdk.bundles.bundle import SCHEMA, bundle_names, open_bundle
from transpose_sdk.bundles.writer import amend_bundle, write_bundle
from transpose_sdk.errors import BundleError
from transpose_sdk.skeletons import COCO17

DESCRIPTION = {
    "kind": "pose",
    "name": "small",
    "input_size": [64, 48],
    "graphs": {"fp16": {"path": "model.xml"}, "onnx": {"path": "graph.onnx"}},
    "probe": {"path": "probe.npz"},
}


@pytest.fixture(autouse=True)
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of the test's own."""
    monkeypatch.setenv("TRANSPOSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle whose graphs are only some bytes: it opens, and nothing runs it."""
    files = tmp_path / "files"
    files.mkdir()
    for name in ("model.xml", "model.bin", "graph.onnx", "probe.npz"):
        content = {"model.xml": b"<net/>", "graph.onnx": b"\x08\x08"}  # ONNX: the field 1, ir_version, is 8
        (files / name).write_bytes(content.get(name, name.encode()))
    write_bundle(tmp_path / "small.tpose", DESCRIPTION, files)
    return tmp_path / "small.tpose"


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "bundle.json"
    description = json.loads(path.read_text())
    edit(description)
    path.write_text(json.dumps(description))


def test_what_is_written_can_be_read(folder: Path) -> None:
    bundle = open_bundle(folder, "pose")
    assert (bundle.name, bundle.input_size, list(bundle.graphs)) == ("small", (64, 48), ["fp16", "onnx"])
    assert bundle.graph("fp16").path == folder / "model.xml"
    assert set(bundle.graph("fp16").sha256) == {"model.xml", "model.bin"}
    assert bundle.probe_file().read_bytes() == b"probe.npz"


def test_writing_replaces_at_once_and_leaves_nothing_else(folder: Path, tmp_path: Path) -> None:
    write_bundle(folder, {**DESCRIPTION, "name": "second"}, tmp_path / "files")
    assert open_bundle(folder, "pose").name == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "small.tpose"]


def test_a_failed_write_leaves_the_old_bundle(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "files" / "probe.npz").unlink()
    with pytest.raises(FileNotFoundError):
        write_bundle(folder, {**DESCRIPTION, "name": "second"}, tmp_path / "files")
    assert open_bundle(folder, "pose").name == "small"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "small.tpose"]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failed_replacement_leaves_the_old_bundle(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Whichever of the two renames fails: the old bundle away, the new one to its place."""
    rename, calls = Path.rename, 0

    def fail(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise PermissionError(f"{self} is in use")  # as Windows says of a file that is open
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(PermissionError):
        write_bundle(folder, {**DESCRIPTION, "name": "second"}, tmp_path / "files")
    assert open_bundle(folder, "pose").name == "small"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "small.tpose"]


def test_imported_bundles_are_found_by_name(folder: Path, user_folder: Path) -> None:
    (user_folder / "models").mkdir(parents=True)
    folder.rename(user_folder / "models" / "mine.tpose")
    assert open_bundle("mine", "pose").folder == user_folder / "models" / "mine.tpose"
    assert "mine" in bundle_names("pose")
    assert "mine" not in bundle_names("detector")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: d.update(schema=SCHEMA + 1), "update transpose_sdk"),  # newer than this version
        (lambda d: d.pop("schema"), "not a bundle's description"),  # another program's bundle.json
        (lambda d: d.update(schema="1"), "not a bundle's description"),
        (lambda d: d.update(kind="detector"), "not a pose bundle"),
        (lambda d: d.pop("graphs"), "incomplete"),
        (lambda d: d.update(graphs=["fp16"]), "incomplete"),
        (lambda d: d.update(input_size=[64]), "incomplete"),
        (lambda d: d.update(input_size="large"), "incomplete"),
        (lambda d: d.update(input_size=[0, -48]), "incomplete"),
        (lambda d: d["graphs"]["fp16"].pop("sha256"), r"bundle\.json is incomplete .*graphs.* field `sha256`"),
        (lambda d: d["graphs"]["fp16"].update(path=3), "outside the bundle, 3"),
        (lambda d: d.update(input_size=[64, 48.5]), r"input_size\[1\]: Expected `int`, got `float`"),
        (lambda d: d.update(skeleton={"name": "none"}), "skeleton: Object missing required field"),
        (lambda d: d.update(skeleton=[1]), "skeleton: Expected .*, got `array`"),
        (lambda d: d.update(network={"name": "tp_m"}), "network: Object missing required field"),
        (lambda d: d.update(attention={"grid": [0, 3]}), r"attention\.grid\[0\]: Expected `int` >= 1"),
        (lambda d: d.update(occlusion={"weights": [1.0], "threshold": 0.5}), "occlusion: weights"),
        (lambda d: d.update(score_threshold=7), "score_threshold: Expected `float.*` <= 1"),
        (lambda d: d.update(accuracy="good"), "accuracy: Expected .*, got `str`"),
        (lambda d: d["graphs"]["fp16"].update(path="../model.xml"), r"outside the bundle, '\.\./model\.xml'"),
        (lambda d: d["graphs"]["fp16"].update(path="/etc/passwd"), "outside the bundle, '/etc/passwd'"),
        (lambda d: d["graphs"]["fp16"].update(path="..\\model.xml"), "outside the bundle"),
        (lambda d: d["graphs"]["fp16"].update(path=".."), "outside the bundle"),
        (lambda d: d["graphs"]["fp16"]["sha256"].update({"../x": "0"}), r"outside the bundle, '\.\./x'"),
    ],
)
def test_bad_descriptions_are_named(folder: Path, edit: Callable[[dict[str, Any]], object], words: str) -> None:
    change(folder, edit)
    with pytest.raises(BundleError, match=words):
        open_bundle(folder, "pose")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"schema": 1, "kind": "pose", "gra', "cannot read .*bundle.json"),  # truncated
        (b"\x80\x04K\x01.", "cannot read .*bundle.json"),  # a pickle is never unpickled
        (b"[" * 100_000, "cannot read .*bundle.json"),  # deeper than any parser goes
        (b"[1, 2]", "not a bundle's description"),
        (None, "has no bundle.json"),
    ],
)
def test_files_that_are_no_description(folder: Path, content: bytes | None, words: str) -> None:
    (folder / "bundle.json").unlink()
    if content is not None:
        (folder / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=words):
        open_bundle(folder, "pose")


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_graph_is_used_only_if_its_files_are_the_exported_ones(folder: Path, name: str) -> None:
    bundle = open_bundle(folder, "pose")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1])  # truncated
    with pytest.raises(BundleError, match=rf"{name} is not the file that was exported"):
        bundle.graph("fp16")
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        bundle.graph("fp16")
    assert bundle.graph("onnx").path.name == "graph.onnx"  # the other graph is whole


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_file_without_a_digest_is_not_used(folder: Path, name: str) -> None:
    change(folder, lambda d: d["graphs"]["fp16"]["sha256"].pop(name))
    with pytest.raises(BundleError, match=rf"no SHA-256 for {name}"):
        open_bundle(folder, "pose").graph("fp16")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: d.pop("probe"), "has no probe"),
        (lambda d: d["probe"].update(path="../probe.npz"), "outside the bundle"),
        (lambda d: d["probe"].update(sha256="0" * 64), "SHA-256 differs"),
    ],
)
def test_bad_attachments(folder: Path, edit: Callable[[dict[str, Any]], object], words: str) -> None:
    change(folder, edit)
    with pytest.raises(BundleError, match=words):
        open_bundle(folder, "pose").probe_file()


@pytest.mark.parametrize("spec", ["nobody", "../small", "", "no/such/folder"])
def test_unknown_bundles(folder: Path, spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path / "files")
    with pytest.raises(BundleError):
        open_bundle(spec, "pose")


def test_what_a_newer_version_states_beside_is_kept(folder: Path) -> None:
    change(folder, lambda d: d.update(weather="fine", accuracy={"AP": 0.5, "PCK": 0.8}))
    bundle = open_bundle(folder, "pose")
    assert bundle.accuracy is not None and bundle.accuracy.AP == 0.5
    amend_bundle(bundle, licence="MIT")
    again = open_bundle(folder, "pose")
    assert (again.licence, again.description["weather"]) == ("MIT", "fine")
    assert again.description["accuracy"] == {"AP": 0.5, "PCK": 0.8}
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".json") == ["bundle.json"]


def test_what_could_not_be_opened_is_not_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"accuracy: Expected .*, got `str`"):
        write_bundle(tmp_path / "new.tpose", {**DESCRIPTION, "accuracy": "good"}, tmp_path / "files")
    with pytest.raises(BundleError, match=r"occlusion: Expected .*, got `int`"):
        amend_bundle(open_bundle(folder, "pose"), occlusion=3)
    assert open_bundle(folder, "pose").occlusion is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "small.tpose"]


def test_shipped_bundles_are_typed() -> None:
    for name in bundle_names("pose"):
        bundle = open_bundle(name, "pose")
        assert bundle.network is not None
        assert bundle.network.grid == bundle.attention_grid
        assert bundle.network.input_size == bundle.input_size
        assert bundle.skeleton == COCO17
        assert bundle.occlusion is not None
        assert bundle.accuracy is not None and 0 < (bundle.accuracy.AP or 0) < 1
    assert open_bundle("person", "detector").score_threshold == 0.3


def test_bundles_need_no_torch() -> None:
    code = "import sys, transpose_sdk.bundles.installed as i; i.installed(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_graph_is_refused_with_those_there_are(folder: Path) -> None:
    with pytest.raises(BundleError, match="no graph 'int4': it offers fp16, onnx"):
        open_bundle(folder, "pose").graph("int4")
