"""Checkpoints: ours, published ones, training checkpoints, stems, and files that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transpose_sdk.errors import CheckpointError, InputError

torch = pytest.importorskip("torch", reason="the networks need torch: pip install transpose_sdk[train]")

from transpose_sdk.models import (  # noqa: E402
    TransPose,
    create_model,
    load_checkpoint,
    load_stem,
    read_metadata,
    save_checkpoint,
)
from transpose_sdk.models.encoder import resize_table  # noqa: E402

TINY = {"layers": 2, "d_model": 32, "ffn": 48, "heads": 4}


def tiny(**options: Any) -> TransPose:
    return create_model("tp_m", **{"input_size": (64, 48)} | TINY | options).eval()


def assert_same_weights(one: TransPose, other: TransPose) -> None:
    state, expected = one.state_dict(), other.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"keypoints": 5, "input_size": (32, 64), "heads": 2, "dropout": 0.0},  # what shapes do not tell
        {"position": "learnable", "upsampling": "bilinear"},
        {"position": "none", "head_channels": 8, "dilation": 2, "attention_dropout": 0.2},
    ],
)
def test_our_checkpoint_rebuilds_its_network(options: dict[str, Any], tmp_path: Path) -> None:
    model = tiny(**options)
    path = tmp_path / "new folder" / "model.safetensors"
    save_checkpoint(model, path, {"epoch": 3, "ap": 0.5})
    loaded = load_checkpoint(path)
    assert loaded.variant == model.variant
    assert not loaded.training
    assert_same_weights(loaded, model)
    assert read_metadata(path) == {"epoch": 3, "ap": 0.5}


def test_saving_again_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    for epoch in (1, 2):
        save_checkpoint(tiny(), tmp_path / "model.safetensors", {"epoch": epoch})
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert read_metadata(tmp_path / "model.safetensors") == {"epoch": 2}


def test_half_a_checkpoint_is_near_the_whole_one(tmp_path: Path) -> None:
    model = tiny()
    for name in ("whole", "half"):
        save_checkpoint(model, tmp_path / f"{name}.safetensors", half=name == "half")
    loaded = load_checkpoint(tmp_path / "half.safetensors")
    for name, tensor in loaded.state_dict().items():
        expected = model.state_dict()[name]
        assert tensor.dtype == expected.dtype
        rounded = expected.half().float() if expected.dim() > 1 and name != "pos_embedding" else expected
        assert torch.equal(tensor, rounded), name
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.65 * sizes[0]
    larger = load_checkpoint(tmp_path / "half.safetensors", tiny(input_size=(128, 96)))
    assert torch.equal(larger.pos_embedding, tiny(input_size=(128, 96)).pos_embedding)


def test_metadata_must_be_plain_values(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="plain values"):
        save_checkpoint(tiny(), tmp_path / "model.safetensors", {"path": tmp_path})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrap", "what"),
    [
        (lambda state: state, "a plain state dict, as released"),
        (lambda state: {f"module.{name}": tensor for name, tensor in state.items()}, "of DataParallel"),
        (
            lambda state: {
                "epoch": 7,
                "model": "transpose_r",
                "state_dict": {f"module.{name}": torch.zeros_like(tensor) for name, tensor in state.items()},
                "best_state_dict": state,
                "perf": np.float64(0.7),  # what evaluation gave
                "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]},
            },
            "a training checkpoint, whose best weights are wanted",
        ),
    ],
)
def test_foreign_checkpoints_fill_a_network(wrap: Any, what: str, tmp_path: Path) -> None:
    source, target = tiny(), tiny()
    torch.save(wrap(dict(source.state_dict())), tmp_path / "model.pth")
    assert load_checkpoint(tmp_path / "model.pth", target) is target
    assert_same_weights(target, source)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tp_r_a3", {}),
        ("tp_r_a4", {}),
        ("tp_h_s", {}),
        ("tp_h_a4", {}),
        ("tp_h_a6", {}),
        ("tp_m", {}),
        ("tp_m16", {}),
        ("tp_m16", {"head_channels": 32, "input_size": (192, 144)}),
        ("tp_l", {}),
        ("tp_l", {"head_channels": 16, "keypoints": 16, "input_size": (128, 96)}),
        ("tp_r_a4", {"keypoints": 16, "input_size": (256, 256)}),  # MPII
        ("tp_h_s", {"layers": 5, "position": "learnable", "input_size": (128, 96)}),
        ("tp_r_a3", {"layers": 2, "upsampling": "bilinear"}),
        ("tp_r_a3", {"head_channels": 64, "position": "none"}),
    ],
)
def test_published_files_tell_their_network(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = create_model(name, **options)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    loaded = load_checkpoint(tmp_path / "model.pth")
    assert loaded.variant == model.variant
    assert_same_weights(loaded, model)


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_sine_table_of_another_input_size_is_rebuilt(name: str, tmp_path: Path) -> None:
    small, large = tiny(), tiny(input_size=(128, 96))
    expected = large.pos_embedding.detach().clone()
    if name.endswith("pth"):
        torch.save(small.state_dict(), tmp_path / name)
    else:
        save_checkpoint(small, tmp_path / name)
    load_checkpoint(tmp_path / name, large)
    assert torch.equal(large.pos_embedding, expected)
    assert torch.equal(large.final_layer.weight, small.final_layer.weight)


def test_learned_table_of_another_input_size_is_interpolated(tmp_path: Path) -> None:
    small, large = tiny(position="learnable"), tiny(position="learnable", input_size=(128, 96))
    save_checkpoint(small, tmp_path / "model.safetensors")
    load_checkpoint(tmp_path / "model.safetensors", large)
    torch.testing.assert_close(large.pos_embedding, resize_table(small.pos_embedding, (8, 6), (16, 12)))


def test_learned_table_of_another_aspect_is_interpolated(tmp_path: Path) -> None:
    wide, tall = tiny(position="learnable", input_size=(48, 64)), tiny(position="learnable")
    save_checkpoint(wide, tmp_path / "model.safetensors")
    load_checkpoint(tmp_path / "model.safetensors", tall)
    torch.testing.assert_close(tall.pos_embedding, resize_table(wide.pos_embedding, (6, 8), (8, 6)))


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        # every kind of misfit is named, long lists are cut
        ({"layers": 4}, ["24 missing", "global_encoder.layers.2.self_attn.in_proj_weight", "and 19 more"]),
        ({"layers": 1}, ["12 unexpected", "global_encoder.layers.1.self_attn.in_proj_weight", "and 7 more"]),
        ({"keypoints": 16}, ["2 misshapen", "final_layer.weight [17, 32, 1, 1] instead of [16, 32, 1, 1]"]),
        ({"position": "none"}, ["1 unexpected (pos_embedding)"]),
    ],
)
def test_misfits_are_listed(options: dict[str, Any], parts: list[str], tmp_path: Path) -> None:
    torch.save(tiny().state_dict(), tmp_path / "model.pth")
    model = tiny(**options)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "model.pth", model)
    for part in parts:
        assert part in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_learned_table_does_not_fit_a_sine_network_of_another_size(tmp_path: Path) -> None:
    torch.save(tiny(position="learnable").state_dict(), tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="pos_embedding"):
        load_checkpoint(tmp_path / "model.pth", tiny(input_size=(128, 96)))


class Malice:
    """A pickle that would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("malice"),))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.pth", None, "there is no file"),
        ("noise.pth", b"\x00\x01noise", "cannot be|can be read safely"),
        ("empty.pth", b"", "can be read safely"),
        ("noise.safetensors", b"noise", "can be read safely"),
        ("malice.pth", Malice(), "can be read safely"),
        ("list.pth", [1, 2], "holds a list"),
        ("numbers.pth", {"epoch": 3}, "has no state dict"),
        ("other.pth", {"conv1.weight": torch.zeros(2)}, "no TransPose"),
    ],
)
def test_other_files_are_refused(
    name: str, content: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)
    assert not Path("malice").exists()


def test_unwritable_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(tiny(), tmp_path / "file" / "model.safetensors")


@pytest.mark.parametrize(
    ("file", "name", "count"), [("mobilenet_v2_stem", "tp_m", 180), ("resnet50_stem", "tp_r_a3", 144)]
)
def test_imagenet_stems_fill_the_whole_stem(file: str, name: str, count: int, shared: Path) -> None:
    model = create_model(name, input_size=(64, 48))
    filled = load_stem(model, shared / f"weights/init/{file}.safetensors")
    rest = ("pos_embedding", "reduce.", "global_encoder.", "deconv_layers.", "final_layer.", "num_batches_tracked")
    stem = {name for name in model.state_dict() if not name.startswith(rest) and not name.endswith(rest)}
    assert stem <= set(filled)
    assert len(filled) == count


def test_stem_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"features.0.0.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "stem.pth")
    with pytest.raises(CheckpointError, match=r"no weight of this network.*features\.0\.0\.weight"):
        load_stem(create_model("tp_r_a3", input_size=(64, 48)), tmp_path / "stem.pth")
    torch.save({"features.0.0.weight": torch.zeros(16, 3, 3, 3)}, tmp_path / "stem.pth")
    with pytest.raises(CheckpointError, match="misshapen"):
        load_stem(tiny(), tmp_path / "stem.pth")


def test_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safetensors_torch = pytest.importorskip("safetensors.torch", reason="comes with the networks")
    safetensors_torch.save_file({}, path, metadata={"transpose_sdk": '{"format": "transpose-sdk/checkpoint/9"}'})
    with pytest.raises(CheckpointError, match=r"checkpoint/9.*reads transpose-sdk/checkpoint/1"):
        load_checkpoint(path)
