"""From a network to a bundle: what is in it, what is refused, and the probe that it carries."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from transpose_sdk.attention import dependency_rows
from transpose_sdk.backend import Outputs
from transpose_sdk.backends.openvino import OpenVINOBackend
from transpose_sdk.bundles.bundle import Bundle, open_bundle
from transpose_sdk.bundles.probe import LIMITS, Limits, Probe, ProbeReport, check, limits_for, row_correlations
from transpose_sdk.cli.main import main
from transpose_sdk.disk.digest import file_digest
from transpose_sdk.errors import BundleError, CheckpointError, InputError

torch = pytest.importorskip("torch", reason="exporting needs torch: pip install transpose-sdk[convert]")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript: pip install transpose-sdk[convert]")

from transpose_sdk.convert import CalibrationData, export_bundle  # noqa: E402
from transpose_sdk.convert.drawn_people import drawn_people  # noqa: E402
from transpose_sdk.convert.parity import compare  # noqa: E402
from transpose_sdk.convert.runners import run_graph, run_network  # noqa: E402
from transpose_sdk.models import TransPose, create_model, load_checkpoint, save_checkpoint  # noqa: E402
from transpose_sdk.models.deployed import export_onnx  # noqa: E402


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    """An exported tiny network."""
    return open_bundle(tiny_bundle, "pose")


@pytest.fixture(scope="module")
def network(bundle: Bundle) -> TransPose:
    """The network that `bundle` was exported from."""
    return load_checkpoint(bundle.graph("torch").path)


def test_a_bundle_says_what_it_holds(bundle: Bundle) -> None:
    assert set(bundle.graphs) == {"fp16", "onnx", "torch"}
    assert bundle.skeleton.name == "coco17"
    assert bundle.description["outputs"] == ["heatmaps", "queries", "keys"]
    for name in ("fp16", "onnx"):
        report = bundle.description["parity"][name]
        assert report["accepted"]
        assert max(report["relative"].values()) < 1e-2
    assert sorted(path.name for path in bundle.folder.iterdir()) == [
        "bundle.json", "checkpoint.safetensors", "model.onnx", "model_fp16.bin", "model_fp16.xml", "probe.npz",
    ]  # fmt: skip


@pytest.mark.parametrize("graph", ["fp16", "onnx"])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_graphs_take_any_batch(bundle: Bundle, network: TransPose, graph: str, batch: int) -> None:
    crops = drawn_people(batch, bundle.input_size)
    heatmaps, queries, keys = run_graph(bundle.graph(graph).path)(crops).given
    assert heatmaps.shape == (batch, 17, 16, 12)
    assert queries.shape == keys.shape == (batch, 4, 48, 8)
    alone = run_graph(bundle.graph(graph).path)(crops[-1:]).heatmaps
    np.testing.assert_allclose(heatmaps[-1:], alone, atol=1e-3 * np.abs(alone).max())


def test_another_network_is_not_taken_for_the_same(bundle: Bundle, network: TransPose, tmp_path: Path) -> None:
    other = _renewed(network)
    with pytest.raises(BundleError, match="not the network it came from"):
        compare(run_network(other), other.input_size, bundle.graph("fp16").path)
    export_onnx(other, tmp_path / "other.onnx")
    assert max(compare(run_network(other), other.input_size, tmp_path / "other.onnx").values()) < 1e-3


def _renewed(network: TransPose) -> TransPose:
    """A network of the same numbers and other weights."""
    torch.manual_seed(1)
    values = network.variant.to_dict()
    other = create_model(values.pop("name"), **{key: value for key, value in values.items() if key != "family"})
    torch.nn.init.normal_(other.final_layer.weight, std=0.3)
    return other.eval()


def test_facts_and_name_reach_the_description(network: TransPose, tmp_path: Path) -> None:
    save_checkpoint(network, tmp_path / "net.safetensors")
    (tmp_path / "facts.json").write_text('{"licence": "MIT"}')
    out = tmp_path / "new" / "net.tpose"
    options = ["--out", str(out), "--name", "mine", "--facts", str(tmp_path / "facts.json")]
    assert main(["export", str(tmp_path / "net.safetensors"), *options]) == 0
    opened = open_bundle(out, "pose")
    assert (opened.name, opened.licence, set(opened.graphs)) == ("mine", "MIT", {"fp16"})
    assert [path.name for path in out.parent.iterdir()] == ["net.tpose"]


@pytest.mark.parametrize(
    ("out", "options", "error", "words"),
    [
        ("net.bundle", {}, InputError, ".tpose"),
        ("taken.tpose", {}, InputError, "no bundle"),  # somebody's folder is not replaced
        ("file.tpose", {}, InputError, "no bundle"),
        ("net.tpose", {"targets": ["toaster"]}, InputError, "toaster"),
        ("net.tpose", {"targets": []}, InputError, "target"),
        ("net.tpose", {"targets": "onnx"}, InputError, "onnx"),  # a string is a sequence of letters
        ("net.tpose", {"precisions": ["int3"]}, InputError, "int3"),
        ("net.tpose", {"precisions": ["int8"]}, InputError, "calibrate"),
        ("net.tpose", {"calibration": "nobody.json"}, BundleError, "nobody.json has no person"),
        ("net.tpose", {"calibration": "mpii.json"}, BundleError, "16"),
        ("net.tpose", {"calibration": "lost.json"}, BundleError, "lost.png"),
        ("net.tpose", {"calibration": "outside.json"}, BundleError, "image 1"),
        ("net.tpose", {"calibration": "missing.json"}, BundleError, "missing.json"),
        ("net.tpose", {"calibration": "text.json"}, BundleError, "text.json is not JSON"),
        ("net.tpose", {"calibration": "taken.tpose"}, BundleError, "no images"),
        ("net.tpose", {"calibration": "damaged"}, BundleError, "bad.png"),
        ("net.tpose", {"calibration": "one"}, BundleError, "two images"),
    ],
)
def test_bad_input_leaves_nothing(
    out: str,
    options: dict[str, Any],
    error: type[Exception],
    words: str,
    network: TransPose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("nncf", reason="int8 needs nncf: pip install transpose-sdk[convert]")
    monkeypatch.chdir(tmp_path)
    _write_bad_people(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    if "calibration" in options:
        data = CalibrationData(options["calibration"], detector="frame")
        options = {"precisions": ["fp16", "int8"], "calibration": data}
    with pytest.raises(error, match=words):
        export_bundle(network, out, **options)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def _write_bad_people(folder: Path) -> None:
    (folder / "taken.tpose").mkdir()
    (folder / "taken.tpose" / "thesis.txt").write_text("two years of work")
    (folder / "file.tpose").write_text("a file")
    (folder / "text.json").write_text("this is no JSON")
    picture = drawn_people(1, (64, 48))[0]
    for name, damaged in (("damaged/bad.png", True), ("one/good.png", False), ("good.png", False)):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"no picture" if damaged else _png(picture))
    person = {"image_id": 1, "bbox": [2, 2, 40, 60], "keypoints": [20, 20, 2] * 17}
    for name, image, change in (
        ("nobody", "good.png", {"keypoints": [0, 0, 0] * 17}),
        ("mpii", "good.png", {"keypoints": [20, 20, 2] * 16}),
        ("lost", "lost.png", {}),
        ("outside", "good.png", {"bbox": [100, 100, 20, 20]}),
    ):
        content = {"images": [{"id": 1, "file_name": image}], "annotations": [person | change]}
        (folder / f"{name}.json").write_text(json.dumps(content))


def _png(picture: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", picture)[1])


def test_errors_of_the_command_are_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path / "none.pth"), "--out", str(tmp_path / "net.tpose")]) == 2
    error = capfd.readouterr().err
    assert error.startswith("transpose: error: ")
    assert "none.pth" in error
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CheckpointError, match=r"none\.pth"):
        export_bundle(tmp_path / "none.pth", tmp_path / "net.tpose")


class Changed:
    """A backend whose answers are changed on their way."""

    device, has_attention, requests = "CPU", True, 1

    def __init__(self, backend: OpenVINOBackend, how: str) -> None:
        self._backend, self._how = backend, how
        self.name, self.precision, self.input_size = "changed", backend.precision, backend.input_size

    def infer(self, crops: NDArray[np.uint8], attention: bool = False) -> Outputs:
        """See `Backend`."""
        if self._how == "RGB for BGR":
            crops = np.ascontiguousarray(crops[..., ::-1])
        outputs = self._backend.infer(crops, attention)
        if self._how == "keys for queries":
            return replace(outputs, queries=outputs.keys, keys=outputs.queries)
        factors = {"zeros": 0.0, "NaN": np.nan, "half": 0.5}
        return replace(outputs, heatmaps=outputs.heatmaps * np.float32(factors.get(self._how, 1.0)))

    def close(self) -> None:
        """Nothing to let go of."""


@pytest.mark.parametrize(
    ("how", "failure"),
    [
        ("nothing", None),
        ("zeros", "score error"),  # "all confidences are 0"
        ("NaN", "score error"),
        ("half", "score error"),
        ("RGB for BGR", "score error|attention"),
        ("keys for queries", "attention"),
    ],
)
def test_the_probe_tells_a_wrong_graph(bundle: Bundle, how: str, failure: str | None) -> None:
    backend = OpenVINOBackend(bundle, "CPU", "fp32")
    report = check(Changed(backend, how), Probe.load(bundle))
    assert report.passed == (failure is None)
    assert failure is None or any(re.search(failure, line) for line in report.failures)


def test_the_probe_counts_displaced_joints(bundle: Bundle) -> None:
    probe = Probe.load(bundle)
    backend = OpenVINOBackend(bundle, "CPU", "fp32")
    counted = np.zeros_like(probe.counted)
    counted[0, :4] = True
    moved = probe.keypoints.copy()
    moved[0, 0] += (30, 40)
    report = check(backend, replace(probe, counted=counted, keypoints=moved))
    assert report.joints == 4
    assert report.max_drift == pytest.approx(50, abs=0.5)
    assert report.mean_drift == pytest.approx(12.5, abs=0.5)
    assert len(report.failures) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("missing", "missing"),
        ("changed", "SHA-256"),
        ("unnamed", "has no probe"),
        ("pickle", "cannot read"),  # nothing is unpickled
        ("foreign", "cannot read"),
        ("misshapen", "do not fit"),
    ],
)
def test_a_bad_probe_is_refused(bundle: Bundle, change: str, words: str, tmp_path: Path) -> None:
    folder = tmp_path / "copy.tpose"
    shutil.copytree(bundle.folder, folder)
    path, description = folder / "probe.npz", json.loads((folder / "bundle.json").read_text())
    arrays = dict(np.load(path))
    if change == "missing":
        path.unlink()
    elif change == "pickle":
        np.savez(path, **arrays | {"scores": np.array([print], dtype=object)})
    elif change == "foreign":
        path.write_bytes(b"PK\x03\x04 and nothing more")
    elif change in ("misshapen", "changed"):
        np.savez(path, **arrays | {"scores": arrays["scores"][:1]})
    if change == "unnamed":
        del description["probe"]
    elif change not in ("missing", "changed"):
        description["probe"]["sha256"] = file_digest(path)
    (folder / "bundle.json").write_text(json.dumps(description))
    with pytest.raises(BundleError, match=words):
        Probe.load(open_bundle(folder, "pose"))


@pytest.mark.parametrize(
    ("precision", "limits"),
    [("int8", "int8"), ("fp32", "fp32"), ("fp16", "fp16"), ("onnx_int8", "int8"), ("bf16", "fp16")],
)
def test_limits_follow_the_precision(precision: str, limits: str) -> None:
    assert limits_for(precision) is LIMITS[limits]


def test_a_report_names_every_limit_that_is_broken() -> None:
    limits = Limits(mean_drift=1, max_drift=5, score_error=0.1, attention=0.9)
    report = ProbeReport(10, float("nan"), 6.0, 0.2, 0.5, limits)
    assert [line.split(" ")[0] for line in report.failures] == ["mean", "largest", "score", "attention"]
    assert not report.passed
    assert ProbeReport(10, 1.0, 5.0, 0.1, None, limits).passed


def test_attention_correlation() -> None:
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(size=(2, 4, 48, 8)).astype(np.float32)
    rows = dependency_rows(queries, keys, [1, 2])
    assert row_correlations(rows, 3 * rows + 1) == pytest.approx([1, 1])
    assert row_correlations(rows, -rows) == pytest.approx([-1, -1])
    assert row_correlations(rows, np.ones_like(rows)).tolist() == [0, 0]


def test_drawn_people_are_the_same_every_time() -> None:
    crops = drawn_people(3, (128, 96))
    assert crops.shape == (3, 128, 96, 3)
    assert np.array_equal(crops, drawn_people(3, (128, 96)))
    assert not np.array_equal(crops[0], crops[1])
