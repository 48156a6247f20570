"""The networks: names, shapes and outputs of the published ones, the variants, other input sizes, attention."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from transpose_sdk.errors import InputError

torch = pytest.importorskip("torch", reason="the networks need torch: pip install transpose_sdk[train]")
from torch.nn import functional  # noqa: E402

from transpose_sdk.models import MODEL_NAMES, create_model  # noqa: E402
from transpose_sdk.models.encoder import attention_map, resize_table, sine_table  # noqa: E402
from transpose_sdk.models.hrnet import HighResolutionModule  # noqa: E402
from transpose_sdk.models.mobilenet import Depthwise  # noqa: E402

PUBLISHED = {  # REFERENCE.md: parameters with the fixed sine table, state dict keys
    "tp_r_a3": (5_195_345, 190),
    "tp_r_a4": (5_985_105, 202),
    "tp_h_s": (8_019_281, 982),
    "tp_h_a4": (17_306_129, 982),
    "tp_h_a6": (17_455_697, 1006),
}
TINY = {"layers": 2, "d_model": 32, "ffn": 32, "heads": 4}


def reference_values(name: str, shape: list[int]) -> np.ndarray:
    """The rule that the reference outputs were computed with, for a parameter or the input."""
    generator = np.random.default_rng(zlib.crc32(f"shared-{name}".encode()))
    if name.endswith("running_var"):
        value = generator.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        value = 0.1 * generator.standard_normal(shape)
    elif name == "input":
        value = generator.standard_normal(shape)
    elif len(shape) <= 1 and name.endswith("weight"):
        value = generator.uniform(0.5, 1.5, shape)
    elif len(shape) <= 1:
        value = 0.1 * generator.standard_normal(shape)
    else:
        value = generator.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    return value.astype(np.float32)


# The reference's random weights give the first layer logits up to 1e14, so that which of two nearly equal ones wins
# hangs on the last bit of the stem, and that on the processor and on how oneDNN splits a convolution: in float32
# TP-H-A4 is off by up to 1.6e-2, in any order of operations. In float64 every processor gives the same. What is left
# for TP-R is the rounding of the reference, made in float32: the largest distance, the share of values beyond 1e-5.
REFERENCE_ROUNDING = {"tp_r_a3": (5e-4, 0.01), "tp_r_a4": (5e-4, 0.01)}


def assert_published(name: str, given: NDArray[np.floating], expected: NDArray[np.floating], largest: float) -> None:
    """Within 1e-5 of the largest value, but for the reference's own rounding."""
    distance = np.abs(given - expected) / largest
    limit, share = REFERENCE_ROUNDING.get(name, (1e-5, 0.0))
    assert distance.max() <= limit
    assert (distance > 1e-5).mean() <= share


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_names_outputs_and_attention(name: str, shared: Path) -> None:
    shapes = json.loads((shared / "reference/official_outputs_keys.json").read_text())[name]
    reference = np.load(shared / "reference/official_outputs.npz")
    model = create_model(name).eval()

    state = model.state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == shapes
    for key, value in state.items():
        if not key.endswith("num_batches_tracked") and key != "pos_embedding":
            value.copy_(torch.from_numpy(reference_values(key, shapes[key])))
    images = torch.from_numpy(reference_values("input", [2, 3, 256, 192])).double()
    model.double()
    with torch.inference_mode():
        heatmaps, queries, keys = model.forward_with_attention(images).given
        attention = attention_map(queries[:1], keys[:1])[0]

    assert_published(name, heatmaps.numpy(), reference[name], np.abs(reference[name]).max())
    cells = len(attention)
    picked = [0, cells // 3, cells // 2 + 7]
    largest = float(attention.max())
    assert_published(name, attention[picked].numpy(), reference[f"{name}/attn_rows"], largest)
    assert_published(name, attention[:, picked].T.numpy(), reference[f"{name}/attn_cols"], largest)
    if f"{name}/pos" in reference:
        np.testing.assert_allclose(state["pos_embedding"], reference[f"{name}/pos"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_and_key_counts(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
    counts = sum(parameter.numel() for parameter in model.parameters()), len(model.state_dict())
    assert counts == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("tp_r_a3", {"layers": 2}, 5_195_345 - 789_760),
        ("tp_r_a3", {"layers": 5}, 5_195_345 + 2 * 789_760),
        ("tp_r_a4", {"layers": 6}, 5_985_105 + 2 * 789_760),
        ("tp_h_a4", {"layers": 5}, 17_306_129 + 74_784),
        # a fixed table counts as parameters too, so a learned one changes nothing
        ("tp_r_a4", {"position": "none"}, 5_985_105 - 768 * 256),
        ("tp_r_a4", {"position": "learnable"}, 5_985_105),
        # without the deconvolution (256 * 256 * 16) and its BatchNorm (512)
        ("tp_r_a4", {"upsampling": "bilinear"}, 5_985_105 - 1_048_576 - 512),
        ("tp_m", {}, 1_007_889),
        ("tp_m", {"head_channels": 64}, 1_007_889 - 64 * (128 * 16 + 2 + 17)),
        ("tp_m16", {}, 2_039_249),
        ("tp_l", {}, 1_299_480 + 735_897),
        # a layer: projections, feed-forward part, two LayerNorms
        ("tp_m16", {"layers": 2}, 2_039_249 - (4 * 192 * 193 + 2 * 192 * 384 + 384 + 192 + 4 * 192)),
    ],
)
def test_variants_differ_by_their_parts(name: str, options: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        model = create_model(name, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(("d_model", "ffn"), [(64, 128), (96, 192), (192, 384)])
def test_tp_h_widths_of_table_4(d_model: int, ffn: int) -> None:
    with torch.device("meta"):
        state = create_model("tp_h_a4", d_model=d_model, ffn=ffn).state_dict()
    assert state["reduce.weight"].shape == (d_model, 48, 1, 1)
    assert state["global_encoder.layers.3.linear1.weight"].shape == (ffn, d_model)
    assert state["final_layer.weight"].shape == (17, d_model, 1, 1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tp_r_a3", TINY),
        ("tp_r_a3", TINY | {"upsampling": "bilinear"}),
        ("tp_h_s", TINY | {"stem_width": 8}),
        ("tp_h_s", TINY | {"stem_width": 8, "position": "none"}),
        ("tp_m", TINY),
        ("tp_m", TINY | {"position": "learnable", "head_channels": 8, "dilation": 2}),
        ("tp_m", TINY | {"keypoints": 5, "upsampling": "bilinear"}),
        ("tp_m16", TINY),
        ("tp_m16", TINY | {"position": "learnable", "head_channels": 8}),
        ("tp_m16", TINY | {"keypoints": 5, "upsampling": "bilinear", "head_channels": None}),
        ("tp_l", TINY),
        ("tp_l", TINY | {"keypoints": 5, "position": "learnable", "head_channels": 8}),
    ],
)
@pytest.mark.parametrize("size", [(64, 48), (32, 64)])  # the size it was built for, and another one
def test_heatmaps_are_a_quarter_of_any_input(name: str, options: dict[str, int], size: tuple[int, int]) -> None:
    model = create_model(name, input_size=(64, 48), **options).eval()
    with torch.inference_mode():
        heatmaps, queries, keys = model.forward_with_attention(torch.zeros(2, 3, *size)).given
    cells = size[0] * size[1] // model.stride**2
    assert heatmaps.shape == (2, model.keypoints, size[0] // 4, size[1] // 4)
    assert queries.shape == keys.shape == (2, 4, cells, 8)


def test_sine_table_is_rebuilt_for_another_size() -> None:
    built, other = (create_model("tp_m", input_size=size, **TINY).eval() for size in ((64, 48), (96, 64)))
    weights = {key: value for key, value in built.state_dict().items() if key != "pos_embedding"}
    other.load_state_dict(weights, strict=False)
    images = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(built(images), other(images))


def test_sine_table_values() -> None:
    table = sine_table(4, 2, 8).reshape(4, 2, 8)
    # row 2 of 4 is the angle pi, column 1 of 2 as well; channels are sin and cos of angle / 1, then of angle / 100
    expected = [0, -1, np.sin(np.pi / 100), np.cos(np.pi / 100)] * 2
    np.testing.assert_allclose(table[1, 0], expected, atol=1e-5)


def test_learned_table_keeps_its_corners_when_resized() -> None:
    table = torch.arange(12.0).reshape(12, 1, 1)
    resized = resize_table(table, (4, 3), (7, 5)).reshape(7, 5)
    assert [resized[0, 0], resized[0, -1], resized[-1, 0], resized[-1, -1]] == [0, 2, 9, 11]
    assert resized[3, 2] == 5.5  # the middle


def test_attention_maps_have_rows_that_sum_to_one() -> None:
    model = create_model("tp_m", input_size=(64, 48), **TINY).eval()
    images = torch.randn(2, 3, 64, 48)
    with torch.inference_mode():
        maps = model.attention_maps(images)
        _, queries, keys = model.forward_with_attention(images).given
    assert [tuple(m.shape) for m in maps] == [(2, 48, 48)] * 2
    torch.testing.assert_close(maps[-1].sum(2), torch.ones(2, 48))
    torch.testing.assert_close(maps[-1], attention_map(queries, keys))


def test_attention_equals_torch_multihead_attention() -> None:
    attention = create_model("tp_m", input_size=(64, 48), **TINY).eval().global_encoder.layers[0].self_attn
    torch_attention = torch.nn.MultiheadAttention(32, 4, batch_first=True)
    torch_attention.load_state_dict(attention.state_dict())
    x, position = torch.randn(2, 10, 32), torch.randn(1, 10, 32)
    output, queries, keys = attention(x, position)
    expected, weights = torch_attention(x + position, x + position, x)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(attention_map(queries, keys), weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_trained_parameter_gets_a_gradient(dtype: torch.dtype) -> None:
    model = create_model("tp_m", input_size=(64, 48), **TINY).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
        loss = model(torch.randn(2, 3, 64, 48)).square().sum()
    loss.backward()
    for name, parameter in model.named_parameters():
        moves = parameter.grad is not None and bool(parameter.grad.isfinite().all()) and bool(parameter.grad.any())
        assert moves == (name != "pos_embedding"), name  # the sine table is frozen


def test_high_resolution_module_sums_upsampled_branches() -> None:
    module = HighResolutionModule((4, 8, 16), outputs=1).eval()
    shapes = [(1, 4, 16, 8), (1, 8, 8, 4), (1, 16, 4, 2)]
    with torch.inference_mode():
        features = [torch.rand(shape) for shape in shapes]
        (fused,) = module(features)
        branches = [branch(x) for branch, x in zip(module.branches, features, strict=True)]
        ups = [conv_bn[1](conv_bn[0](x)) for conv_bn, x in zip(module.fuse_layers[0][1:], branches[1:], strict=True)]
        expected = branches[0] + ups[0].repeat_interleave(2, 2).repeat_interleave(2, 3)
        expected = (expected + ups[1].repeat_interleave(4, 2).repeat_interleave(4, 3)).clamp(min=0)
    torch.testing.assert_close(fused, expected)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tp_x", {}, "tp_r_a3, tp_r_a4"),  # the list of names
        ("tp_m", {"depth": 3}, "layers"),  # the list of options
        ("tp_m", {"position": "rotary"}, "sine, learnable, none"),
        ("tp_m", {"upsampling": "nearest"}, "deconv, bilinear"),
        ("tp_h_s", {"upsampling": "deconv"}, "leave upsampling"),
        ("tp_r_a3", {"stem_width": 32}, "belongs to TP-H"),
        ("tp_r_a3", {"dilation": 2}, "belongs to TP-M"),
        ("tp_m", {"heads": 7}, "multiple"),
        ("tp_m", {"d_model": 30, "heads": 5}, "multiple of 4"),
        ("tp_m", {"layers": 0}, "give a whole number from 1 to 64"),
        ("tp_m", {"keypoints": 17.0}, "keypoints: Expected `int`"),
        ("tp_m", {"dropout": 1.0}, "dropout"),
        ("tp_m", {"input_size": (250, 192)}, "multiples of 8"),
        ("tp_m16", {"input_size": (200, 152)}, "multiples of 16"),
        ("tp_h_s", {"input_size": (256, 200)}, "multiples of 16"),  # the third branch would not fit
        ("tp_m", {"input_size": (256,)}, "input_size: Expected `array` of length 2"),
    ],
)
def test_wrong_options_say_what_is_possible(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_model(name, **options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((1, 3, 60, 48), "multiples of 8"), ((1, 1, 64, 48), r"\(N, 3, H, W\)"), ((3, 64, 48), r"\(N, 3, H, W\)")],
)
def test_wrong_images_say_the_shape_wanted(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_model("tp_m", input_size=(64, 48), **TINY)(torch.zeros(shape))


def test_model_names_are_all_buildable() -> None:
    with torch.device("meta"):
        assert {create_model(name).variant.name for name in MODEL_NAMES} == {*PUBLISHED, "tp_m", "tp_m16", "tp_l"}


def test_exported_program_takes_any_batch() -> None:
    model = create_model("tp_m", input_size=(64, 48), **TINY).eval()
    batch = torch.export.Dim("batch", max=64)
    program = torch.export.export(model, (torch.zeros(2, 3, 64, 48),), dynamic_shapes=({0: batch},))
    for count in (1, 3):
        images = torch.randn(count, 3, 64, 48)
        torch.testing.assert_close(program.module()(images), model(images))


@pytest.mark.parametrize("size", [(12, 10), (11, 9)])  # (height, width), even and odd
def test_strided_depthwise_trains_like_its_own_convolution(size: tuple[int, int]) -> None:
    layer, x = Depthwise(8, stride=2, dilation=1), torch.randn(2, 8, *size, requires_grad=True)
    plain = functional.conv2d(x, layer.weight, None, 2, 1, 1, 8)
    torch.testing.assert_close(layer(x), plain)
    gradients = [torch.autograd.grad(y.square().sum(), (x, layer.weight)) for y in (layer(x), plain)]
    torch.testing.assert_close(*gradients)


def test_tp_m16_cells_tell_where_within_them_something_lies() -> None:
    """The encoder gets features.6 as 2x2 cells, and not only what features.13 makes of them."""
    model = create_model("tp_m16", input_size=(64, 48), **TINY).eval()
    images = torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        fine, stem = model.features[:7](images), model.stem(images)
    assert stem.shape == (1, 96 + 4 * 32, 4, 3)
    # channel 96 + 4 c + 2 dy + dx of cell (x, y) is channel c of the finer cell (2 x + dx, 2 y + dy)
    torch.testing.assert_close(stem[0, 96 + 4 * 5 + 2 * 1 + 0, 3, 2], fine[0, 5, 7, 4])
