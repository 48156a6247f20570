"""The scripts that draw what training reached: curves from logs, and networks that differ in their position alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: pip install transpose-sdk[train]")
pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install transpose-sdk[explain]")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "benchmarks"))
import average_weights  # noqa: E402
import position_embeddings  # noqa: E402
import reliability_diagram  # noqa: E402
import training_curve  # noqa: E402

from transpose_sdk.errors import DataError, InputError  # noqa: E402
from transpose_sdk.models import create_model, load_checkpoint, save_checkpoint  # noqa: E402
from transpose_sdk.models.encoder import sine_table  # noqa: E402


def write_log(folder: Path, *records: dict[str, float | None]) -> Path:
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_curve_of_stages(tmp_path: Path) -> None:
    first = write_log(
        tmp_path / "first",
        {"epoch": 1, "samples": 100, "AP": 0.1, "loss": 3.0},
        {"epoch": 2, "samples": 200, "AP": 0.2, "loss": None},
        {"epoch": 2, "samples": 200, "AP": 0.25, "loss": 2.0},  # the epoch was done again
    )
    second = write_log(tmp_path / "second", {"epoch": 1, "samples": 50, "AP": 0.3, "loss": 1.0})
    assert training_curve.read_curve(first) == ([100, 200], [0.1, 0.25])
    assert training_curve.read_curve(first / "log.jsonl", "loss") == ([100, 200], [3.0, 2.0])
    assert training_curve.read_curves([first, second], "AP") == ([100, 200, 250], [0.1, 0.25, 0.3])
    with pytest.raises(DataError, match=r"no epoch in .*log\.jsonl has 'PCKh': its numbers are AP, loss"):
        training_curve.read_curve(first, "PCKh")
    with pytest.raises(DataError, match=r"cannot read .*third.*give a run of transpose train"):
        training_curve.read_curve(tmp_path / "third")


def test_picture_of_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write_log(tmp_path / "one", {"samples": 100, "AP": 0.1}, {"samples": 200, "AP": 0.3})
    two = write_log(tmp_path / "two", {"samples": 100, "AP": 0.2})
    picture = tmp_path / "curve.png"
    monkeypatch.setattr(sys, "argv", ["training_curve.py", f"{one}+{two}", str(two), "--out", str(picture)])
    training_curve.main()
    assert cv2.imread(str(picture)).std() > 10


def test_picture_of_reliability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"answers": 3, "error": 0.1, "raw_error": 0.3, "bins": [[2, 0.1, 0.0], [1, 0.9, 1.0]]}
    table["raw_bins"] = [[3, 0.4, 0.3]]
    report = {"model": {"name": "net"}, "boxes": "gt", "scores": {"people": table, "joints": table}}
    path, picture = tmp_path / "report.json", tmp_path / "scores.png"
    path.write_text(json.dumps(report))
    monkeypatch.setattr(sys, "argv", ["reliability_diagram.py", str(path), str(path), "--out", str(picture)])
    reliability_diagram.main()
    assert cv2.imread(str(picture)).std() > 10
    path.write_text("{}")
    with pytest.raises(DataError, match=r"cannot use .*report.json.*give what transpose eval --coco --json writes"):
        reliability_diagram.read_report(path)


def test_networks_differ_in_their_position_alone(tmp_path: Path) -> None:
    """Stem and head are the checkpoint's, the encoder is fresh and the same in all, at every position embedding."""
    trained = create_model("tp_m", input_size=(64, 48), dropout=0.0)
    save_checkpoint(trained, tmp_path / "trained.safetensors")
    states = {}
    for position in ("sine", "learnable", "none"):
        recipe = position_embeddings.position_recipe(position, samples=128)
        position_embeddings.write_init(recipe, tmp_path / "trained.safetensors", tmp_path / f"{position}.safetensors")
        model = load_checkpoint(tmp_path / f"{position}.safetensors")
        assert (model.variant.position, model.input_size) == (position, (128, 96))
        states[position] = model.state_dict()
    assert "pos_embedding" not in states["none"]
    torch.testing.assert_close(states["sine"].pop("pos_embedding"), sine_table(16, 12, 128))
    assert states["learnable"].pop("pos_embedding").std().item() == pytest.approx(1, rel=0.05)
    for name, value in states["none"].items():
        assert torch.equal(value, states["sine"][name]), name
        assert torch.equal(value, states["learnable"][name]), name
        drawn = name.startswith("global_encoder.") and len(value.unique()) > 1  # norms start the same everywhere
        assert torch.equal(value, trained.state_dict()[name]) != drawn, name


def test_picture_of_position_embeddings(tmp_path: Path) -> None:
    sizes = ("128x96", "192x144", "256x192", "384x288")
    table = {name: dict.fromkeys(sizes, value) for name, value in (("sine", 0.2), ("learnable", 0.15), ("none", 0.1))}
    position_embeddings.draw(table, tmp_path / "figure.png")
    assert cv2.imread(str(tmp_path / "figure.png")).std() > 10


def test_weights_are_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {"input_size": (64, 48), "layers": 1, "d_model": 32, "ffn": 32, "heads": 4}
    one, other = (create_model("tp_m", **tiny) for _ in range(2))
    other.final_layer.weight.data.fill_(3.0)
    one.final_layer.weight.data.fill_(-1.0)
    for network, name in ((one, "one"), (other, "other")):
        save_checkpoint(network, tmp_path / f"{name}.safetensors")
    arguments = [str(tmp_path / f"{name}.safetensors") for name in ("one", "other")]
    out = tmp_path / "mean.safetensors"
    monkeypatch.setattr(sys, "argv", ["average_weights", *arguments, "--weights", "1", "3", "--out", str(out)])
    average_weights.main()
    mean = load_checkpoint(out).state_dict()
    assert (mean["final_layer.weight"] == 2.0).all()
    for name, value in mean.items():
        expected = 0.25 * one.state_dict()[name] + 0.75 * other.state_dict()[name]
        torch.testing.assert_close(value.float(), expected.float())
    larger = create_model("tp_m", **{**tiny, "input_size": (96, 64)})
    save_checkpoint(larger, tmp_path / "larger.safetensors")
    sizes = {
        network.input_size
        for network in average_weights.load([tmp_path / "one.safetensors", tmp_path / "larger.safetensors"])
    }
    assert sizes == {(64, 48)}, "that of the first"
    wider = create_model("tp_m", **{**tiny, "ffn": 64})
    with pytest.raises(InputError, match="differ in variant"):
        average_weights.average([one, wider], [1, 1])
    with pytest.raises(InputError, match="one number above 0 for each"):
        average_weights.average([one, other], [1])
