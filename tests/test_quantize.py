"""INT8: the people it is calibrated with, the accuracy gate, and both kinds of graphs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_people import write_people, write_turned
from int8_weights import widest_weights

from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.bundles.bundle import open_bundle
from transpose_sdk.bundles.probe import LIMITS, Limits
from transpose_sdk.cli.main import main
from transpose_sdk.errors import BundleError, DataError
from transpose_sdk.skeletons import COCO17

torch = pytest.importorskip("torch", reason="exporting needs torch: pip install transpose-sdk[convert]")
pytest.importorskip("nncf", reason="int8 needs nncf: pip install transpose-sdk[convert]")
ort = pytest.importorskip("onnxruntime", reason="int8 needs onnxruntime: pip install transpose-sdk[convert]")
pytest.importorskip("pycocotools", reason="average precision needs pycocotools: pip install transpose-sdk[train]")

import onnx  # noqa: E402
import openvino as ov  # noqa: E402

from transpose_sdk.convert import CalibrationData, accuracy, export_bundle  # noqa: E402
from transpose_sdk.convert.accuracy import Answers, Parity, answer, compare_answers  # noqa: E402
from transpose_sdk.convert.gate import quantize_within_gate  # noqa: E402
from transpose_sdk.convert.layer_groups import Layer, layer_groups, onnx_layers, openvino_layers  # noqa: E402
from transpose_sdk.convert.people import annotated_people, detected_people  # noqa: E402
from transpose_sdk.convert.requantize import requantize_bundle  # noqa: E402
from transpose_sdk.convert.runners import run_graph, run_network  # noqa: E402
from transpose_sdk.detectors import open_detector  # noqa: E402
from transpose_sdk.models import TransPose, load_checkpoint  # noqa: E402

SIZE = (64, 48)
SAME = Parity(people=4, joints=60, mean_drift=0.0, p99_drift=0.0, oks=1.0, attention=1.0, ap=0.5, ap_fp32=0.5)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with people.json and the 20 images in people/."""
    folder = tmp_path_factory.mktemp("drawn")
    write_people(folder, "people", 20, seed=0)
    return folder


@pytest.fixture(scope="module")
def network(tiny_bundle: Path) -> TransPose:
    """A tiny network, not trained."""
    return load_checkpoint(open_bundle(tiny_bundle, "pose").graph("torch").path)


def test_annotated_images_are_not_turned(drawn: Path, tmp_path: Path) -> None:
    """Boxes are in px of the stored image, whatever a camera noted."""
    content = json.loads((drawn / "people.json").read_text())
    for turned in (False, True):
        (tmp_path / str(turned)).mkdir()
        for entry in content["images"]:
            image = cv2.imread(str(drawn / "people" / entry["file_name"]))
            file = (tmp_path / str(turned) / entry["file_name"]).with_suffix(".jpg")
            write_turned(file, image) if turned else cv2.imwrite(str(file), image)
    for entry in content["images"]:
        entry["file_name"] = str(Path(entry["file_name"]).with_suffix(".jpg"))
    (tmp_path / "people.json").write_text(json.dumps(content))
    plain, noted = (annotated_people(tmp_path / "people.json", tmp_path / str(one), SIZE, 12) for one in (False, True))
    np.testing.assert_array_equal(plain.crops, noted.crops)


def test_annotated_people(drawn: Path) -> None:
    people = annotated_people(drawn / "people.json", drawn / "people", SIZE, 12, 17)
    assert people.crops.shape == (12, *SIZE, 3)
    assert people.truth is not None
    assert [image["id"] for image in people.truth["images"]] == people.images.tolist()
    assert np.array_equal(people.crops, annotated_people(drawn / "people.json", drawn / "people", SIZE, 12).crops)
    first, second = people.split(5)
    assert (len(first), len(second)) == (5, 7)
    assert not set(first.images) & set(second.images)
    assert second.truth is not None
    assert {one["image_id"] for one in second.truth["annotations"]} == set(second.images.tolist())
    # A box that fills its crop but for the padding: 0.8 of one side, and of the other what the aspect leaves.
    assert (people.box_areas < 0.8**2 * SIZE[0] * SIZE[1] * 1.1).all()


def test_people_of_a_folder(drawn: Path, tmp_path: Path) -> None:
    people = detected_people(drawn, open_detector("frame"), SIZE, 6)
    assert (len(people), people.truth) == (6, None)

    class Nobody:
        name = "nobody"

        def __call__(self, image: object) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)

        def close(self) -> None: ...

    with pytest.raises(DataError, match="'nobody' finds no person in the 20 images"):
        detected_people(drawn, Nobody(), SIZE, 6)


@pytest.mark.parametrize(
    ("change", "burden"),
    [
        ({}, 0.0),
        ({"mean_drift": accuracy.MEAN_DRIFT_LIMIT}, 1.0),
        ({"p99_drift": 2 * accuracy.P99_DRIFT_LIMIT}, 2.0),
        ({"oks": 1 - 3 * (1 - accuracy.OKS_LIMIT)}, 3.0),
        ({"attention": 1 - 2 * (1 - accuracy.ATTENTION_LIMIT)}, 2.0),
        ({"ap": 0.49}, 2.0),
        ({"ap": 0.6}, 0.0),  # better than FP32 is no reason to refuse
        ({"ap": None, "ap_fp32": None, "mean_drift": 0.5 * accuracy.MEAN_DRIFT_LIMIT}, 0.5),
        ({"attention": float("nan")}, float("inf")),
    ],
)
def test_burden(change: dict[str, float], burden: float) -> None:
    parity = replace(SAME, **change)
    assert parity.burden == pytest.approx(burden, abs=1e-6)
    if burden != 1:  # on the limit itself rounding decides
        assert parity.passed == (burden < 1)


def test_parity_of_known_answers(drawn: Path) -> None:
    people = annotated_people(drawn / "people.json", drawn / "people", SIZE, 6)
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(5, 40, (6, 17, 2)).astype(np.float32)
    scores = np.full((6, 17), 0.8, np.float32)
    scores[:, 0] = 0.1  # does not count, so it may go anywhere
    rows = rng.uniform(size=(6, 3, 48)).astype(np.float32)
    reference = Answers(keypoints, scores, np.zeros((6, 3), np.int64), rows)
    moved = keypoints + np.float32((3, 4))
    moved[:, 0] += 1000
    parity = compare_answers(reference, replace(reference, keypoints=moved, rows=2 * rows), people, COCO17)
    assert (parity.people, parity.joints) == (6, 96)
    assert (parity.mean_drift, parity.p99_drift) == pytest.approx((5, 5), abs=1e-4)
    assert 0 < parity.oks < 1
    assert parity.attention == pytest.approx(1)
    same = compare_answers(reference, reference, people, COCO17)
    assert (same.mean_drift, same.oks, same.burden) == pytest.approx((0, 1, 0), abs=1e-6)


def test_ap_of_the_annotated_joints_is_1(drawn: Path) -> None:
    people = annotated_people(drawn / "people.json", drawn / "people", (256, 192), 6)
    assert people.truth is not None
    truth = np.array([one["keypoints"] for one in people.truth["annotations"]]).reshape(6, 17, 3)[..., :2]
    from transpose_sdk.crops import apply_affine, crop_affines

    keypoints = apply_affine(truth, crop_affines(people.centers, people.scales, (256, 192))).astype(np.float32)
    scores = np.ones((6, 17), np.float32)
    right = Answers(keypoints, scores, np.zeros((6, 1), np.int64), np.ones((6, 1, 4), np.float32))
    wrong = replace(right, keypoints=keypoints[:, ::-1])
    parity = compare_answers(right, wrong, people, COCO17)
    assert (parity.ap_fp32, parity.ap) == (1.0, 0.0)


def test_groups_take_every_layer_once(tiny_bundle: Path) -> None:
    graph = open_bundle(tiny_bundle, "pose").graph("onnx").path
    converted, original = openvino_layers(ov.convert_model(graph)), onnx_layers(graph)
    for layers in (converted, original):
        groups = layer_groups(layers)
        names = [name for group in groups.values() for name in group]
        assert sorted(names) == sorted(layer.name for layer in layers)
        assert len(groups["first convolution"]) == 1
        assert len(groups["head"]) == 2
        assert len(groups["linear layers of encoder layer 0"]) == 5
    assert {layer.kind for layer in converted} == {layer.kind for layer in original}
    assert layer_groups([Layer("a", "convolution")]) == {"first convolution": ["a"], "head": ["a"]}


@pytest.mark.parametrize(
    ("errors", "kept", "accepted"),
    [
        ({"a": 0.2, "b": 0.2, "c": 0.1, "d": 0.1}, (), True),  # good enough at once
        ({"a": 0.2, "b": 0.9, "c": 0.1, "d": 0.1}, ("b",), True),  # the worst group alone
        ({"a": 0.7, "b": 0.9, "c": 0.2, "d": 0.1}, ("b",), True),
        ({"a": 0.9, "b": 0.7, "c": 0.7, "d": 0.1}, ("a", "b"), True),
        ({"a": 2.0, "b": 2.0, "c": 2.0, "d": 2.0}, ("a", "b"), False),  # refused: half is all that may be kept
    ],
)
def test_the_gate_gives_back_the_worst_groups(errors: dict[str, float], kept: tuple[str, ...], accepted: bool) -> None:
    quick_calls = []

    def quantize(ignored: Sequence[str], quick: bool) -> Path:
        quick_calls.append(quick)
        return Path("+".join(sorted(set(errors) - set(ignored))))

    def measure(path: Path, quick: bool) -> Parity:
        return replace(SAME, mean_drift=sum(errors[name] for name in path.name.split("+")))

    result = quantize_within_gate({name: [name] for name in errors}, quantize, measure)
    assert (result.kept, result.accepted) == (kept, accepted)
    assert sum(quick_calls) == (len(errors) if kept else 0)
    report = result.to_dict()
    assert report["accepted"] == accepted
    assert ("everything_quantized" in report) == bool(kept)


def test_nothing_to_compare_is_no_proof() -> None:
    """A network that sees no joint drifts by nothing, whatever quantization does to it."""
    calls: list[bool] = []

    def quantize(ignored: Sequence[str], quick: bool) -> Path:
        calls.append(quick)
        return Path("everything")

    blind = replace(SAME, joints=0)
    result = quantize_within_gate({"a": ["a"], "b": ["b"]}, quantize, lambda path, quick: blind)
    assert not result.accepted
    assert calls == [False]  # no use looking for the sensitive layers
    assert "no joint" in str(blind)


@pytest.fixture
def forgiving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that a network without training passes: its joints lie where noise has its maximum."""
    for name in ("MEAN_DRIFT_LIMIT", "P99_DRIFT_LIMIT"):
        monkeypatch.setattr(accuracy, name, 1000.0)
    for name in ("OKS_LIMIT", "ATTENTION_LIMIT"):
        monkeypatch.setattr(accuracy, name, 0.0)
    monkeypatch.setattr(accuracy, "SCORE_FLOOR", -1.0)
    monkeypatch.setitem(LIMITS, "int8", Limits(mean_drift=100, max_drift=100, score_error=1, attention=0))


@pytest.mark.usefixtures("forgiving")
def test_both_int8_graphs_run_and_carry_their_proof(network: TransPose, drawn: Path, tmp_path: Path) -> None:
    data = CalibrationData(drawn / "people.json", drawn / "people")
    out = export_bundle(
        network, tmp_path / "q.tpose", targets=("openvino", "tensorrt"), precisions=("fp16", "int8"), calibration=data
    )
    bundle = open_bundle(out, "pose")
    assert set(bundle.graphs) == {"fp16", "int8", "onnx", "onnx_int8"}
    people = annotated_people(drawn / "people.json", drawn / "people", SIZE, 20)
    reference = answer(run_network(network), people.crops, network.grid)
    for name in ("int8", "onnx_int8"):
        report = bundle.description["parity"][name]
        assert report["accepted"]
        assert report["people"] + report["calibration_people"] == 20
        infer = run_graph(bundle.graph(name).path)
        assert [len(infer(people.crops[:batch]).heatmaps) for batch in (1, 3)] == [1, 3]
        answers = answer(infer, people.crops, network.grid, reference)
        # Not the same numbers as in FP32, or nothing would be quantized; but the same picture.
        difference = np.abs(answers.scores - reference.scores).mean() / reference.scores.max()
        assert 1e-5 < difference < 0.1
        assert report["attention"] > 0.9
    quantized = onnx.load(bundle.graph("onnx_int8").path).graph
    assert [node.op_type for node in quantized.node].count("QuantizeLinear") > 10
    # Nothing is rounded that no quantized layer takes: a layer's output before its activation, softmax or sum.
    makers = {output: node for node in quantized.node for output in node.output}
    takers: dict[str, set[str]] = {}
    for node in quantized.node:
        for name in node.input:
            takers.setdefault(name, set()).add(node.op_type)
    rounded = [
        node.output[0]
        for node in quantized.node
        if node.op_type == "DequantizeLinear" and node.input[0] in makers  # by a node, and not a stored weight
    ]
    assert len(rounded) > 10
    assert all(takers[name] & {"Conv", "ConvTranspose", "MatMul", "Gemm"} for name in rounded)
    # Beyond 64 the products saturate on processors without VNNI, which this one need not be.
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in quantized.initializer]
    for widest in (
        widest_weights(CORE.read_model(bundle.graph("int8").path)),
        [np.abs(array.astype(int)).max() for array in arrays if array.dtype == np.int8],
    ):
        assert len(widest) > 10
        assert 60 < max(widest) <= 64
    assert {path.suffix for path in out.iterdir()} == {".json", ".xml", ".bin", ".onnx", ".npz"}


def _halves(layers: Sequence[Layer]) -> dict[str, list[str]]:
    names = [layer.name for layer in layers]
    return {"first half": names[: len(names) // 2], "second half": names[len(names) // 2 :]}


def test_an_int8_graph_that_fails_is_refused(
    network: TransPose, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accuracy, "ATTENTION_LIMIT", 1 - 1e-12)
    monkeypatch.setattr(accuracy, "SCORE_FLOOR", -1.0)  # the network is not trained
    data = CalibrationData(drawn / "people", detector="frame")
    monkeypatch.setattr("transpose_sdk.convert.gate.KEPT_SHARE", 0.1)
    monkeypatch.setattr("transpose_sdk.convert.quantize.QUICK", 2)
    # Two groups instead of eight: each one costs a calibration.
    monkeypatch.setattr("transpose_sdk.convert.quantize.layer_groups", _halves)
    out = export_bundle(network, tmp_path / "q.tpose", precisions=("fp16", "int8"), calibration=data)
    bundle = open_bundle(out, "pose")
    report = bundle.description["parity"]["int8"]
    assert set(bundle.graphs) == {"fp16"}
    assert not report["accepted"]
    assert "attention correlation" in report["reason"]
    assert "is refused" in caplog.text
    assert set(report["sensitivity"]) == {"first half", "second half"}
    with pytest.raises(BundleError, match="not written: int8 is too far from FP32: "):
        export_bundle(network, tmp_path / "only.tpose", precisions=("int8",), calibration=data)
    assert [path.name for path in tmp_path.iterdir()] == ["q.tpose"]


@pytest.mark.usefixtures("forgiving")
def test_a_bundle_is_quantized_anew_without_its_checkpoint(network: TransPose, drawn: Path, tmp_path: Path) -> None:
    people, images = str(drawn / "people.json"), str(drawn / "people")
    out = export_bundle(network, tmp_path / "q.tpose", targets=("openvino", "onnx"))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (tmp_path / "facts.json").write_text('{"licence": "MIT"}')
    options = ["--precision", "int8", "--calibration", people, "--images", images]
    assert main(["export", str(out), "--out", str(out), *options, "--facts", str(tmp_path / "facts.json")]) == 0
    bundle = open_bundle(out, "pose")
    assert (bundle.name, bundle.description["licence"]) == ("q", "MIT")
    assert set(bundle.graphs) == set(bundle.description["parity"]) == {"fp16", "int8", "onnx", "onnx_int8"}
    for name in ("fp16", "int8", "onnx", "onnx_int8"):
        bundle.graph(name)  # the digests are right
        assert bundle.description["parity"][name]["accepted"]
    kept = {path.name: path.read_bytes() for path in out.iterdir() if path.name in before}
    assert {name for name in before if kept[name] != before[name]} == {"bundle.json"}


def test_a_bundle_that_cannot_be_quantized_stays_as_it_is(
    network: TransPose, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = export_bundle(network, tmp_path / "q.tpose")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert main(["export", str(out), "--out", str(out)]) == 2
    assert "only int8 can be made anew" in capsys.readouterr().err
    data = CalibrationData(drawn / "people.json", drawn / "people")
    with pytest.raises(BundleError, match="not written: too far from FP32: no joint"):  # it is not trained
        requantize_bundle(out, out, data)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
