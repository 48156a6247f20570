"""TP-L: its stem against PP-TinyPose's own graph, the reader of the weights, the folded shuffles, the frozen stem."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from transpose_sdk.decoding import decode_dark
from transpose_sdk.errors import CheckpointError, DataError

torch = pytest.importorskip("torch", reason="the networks need torch: pip install transpose_sdk[train]")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from transpose_sdk.backends.openvino_core import CORE  # noqa: E402
from transpose_sdk.convert.tiny_pose import read_lite_hrnet  # noqa: E402
from transpose_sdk.models import create_model  # noqa: E402
from transpose_sdk.models.deployed import export_onnx  # noqa: E402
from transpose_sdk.models.fold_shuffles import FoldedUnit, fold_shuffles  # noqa: E402
from transpose_sdk.models.lite_hrnet import ShuffleUnit, shuffle  # noqa: E402
from transpose_sdk.models.preprocessing import Preprocessing  # noqa: E402
from transpose_sdk.models.transpose import TransPoseL  # noqa: E402
from transpose_sdk.skeletons import COCO17  # noqa: E402
from transpose_sdk.trainers.frozen_stem import FrozenStem, frozen_stem  # noqa: E402
from transpose_sdk.trainers.initialisation import freeze, initialise, parameter_groups  # noqa: E402
from transpose_sdk.trainers.recipe import Recipe  # noqa: E402
from transpose_sdk.trainers.teacher import Teacher, hrnet_to_dark  # noqa: E402

TINYPOSE = Path(__file__).parents[1] / ".." / "shared" / "weights" / "teacher" / "tinypose_256x192_fp16.xml"
TINY = {"layers": 2, "d_model": 32, "ffn": 32, "heads": 4, "head_channels": 8}
EARLY = tuple(f"lite_hrnet.{name}." for name in ("entry", "stages.0", "stages.1", "transitions.0", "transitions.1"))
needs_tinypose = pytest.mark.skipif(not TINYPOSE.is_file(), reason="needs ../shared/weights/teacher")


def tiny(size: tuple[int, int] = (64, 48)) -> TransPoseL:
    """A small TP-L whose features neither vanish nor explode."""
    torch.manual_seed(0)
    model = create_model("tp_l", input_size=size, **TINY).eval()
    assert isinstance(model, TransPoseL)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    return model


@needs_tinypose
def test_stem_gives_the_heatmaps_of_the_graph_that_it_was_read_from() -> None:
    network, report = read_lite_hrnet(TINYPOSE)
    assert (report.convolutions, report.left, report.parameters) == (269, 0, 1_300_177)
    images = torch.randn(2, 3, 256, 192, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        heatmaps = functional.conv2d(network(images)[0], report.heatmap_weight, report.heatmap_bias)
    graph = CORE.compile_model(TINYPOSE, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = np.concatenate([graph(image[None].numpy())[0] for image in images])
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(heatmaps.numpy(), expected, atol=1e-4)


@needs_tinypose
def test_a_run_starts_from_the_graph() -> None:
    model = create_model("tp_l", **TINY)
    initialise(model, TINYPOSE)
    read = read_lite_hrnet(TINYPOSE)[0].state_dict()
    for name, value in model.lite_hrnet.state_dict().items():
        torch.testing.assert_close(value, read[name])


def test_another_graph_is_refused_with_the_place_where_it_differs(tmp_path: Path) -> None:
    images = ov.opset8.parameter([1, 3, 64, 48], np.float32)
    kernel = ov.opset8.constant(np.zeros((17, 3, 1, 1), np.float32))
    maps = ov.opset8.convolution(images, kernel, [4, 4], [0, 0], [0, 0], [1, 1], name="maps")
    ov.save_model(ov.Model([maps], [images]), tmp_path / "other.xml")
    with pytest.raises(CheckpointError, match="expected an operation Add; give PP-TinyPose"):
        read_lite_hrnet(tmp_path / "other.xml")
    with pytest.raises(CheckpointError, match="give an OpenVINO graph"):
        read_lite_hrnet(tmp_path / "nothing.xml")


def test_shuffle_alternates() -> None:
    first, second = torch.arange(3.0).view(1, 3, 1, 1), 10 + torch.arange(3.0).view(1, 3, 1, 1)
    assert shuffle(first, second).flatten().tolist() == [0, 10, 1, 11, 2, 12]


@pytest.mark.parametrize("size", [(64, 48), (96, 64)])  # 3 columns at 1/16 make 2 at 1/32
def test_folded_network_gives_the_same_without_shuffles(size: tuple[int, int]) -> None:
    model = tiny(size)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folded = fold_shuffles(model)
    images = torch.randn(2, 3, *size)
    with torch.inference_mode():
        for given, expected in zip(
            folded.forward_with_attention(images).given, model.forward_with_attention(images).given, strict=True
        ):
            torch.testing.assert_close(given, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    units = [module for module in folded.modules() if isinstance(module, FoldedUnit)]
    assert len(units) == 48 and not any(isinstance(module, ShuffleUnit) for module in folded.modules())
    assert max(len(unit.slices) for unit in units) <= 5
    for name, value in model.state_dict().items():  # the network that was given is left as it was
        torch.testing.assert_close(value, before[name])


def test_exported_graph_shuffles_nothing(tmp_path: Path) -> None:
    model = tiny()
    export_onnx(model, tmp_path / "graph.onnx")
    graph = CORE.read_model(tmp_path / "graph.onnx")
    # What is left is pixel_unshuffle, twice, and the encoder's own.
    transposes = [node.output(0).partial_shape.rank for node in graph.get_ops() if node.get_type_name() == "Transpose"]
    assert 5 not in [rank.get_length() for rank in transposes]
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 48, 3), np.uint8)
    given = CORE.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(crops)[0]
    with torch.inference_mode():
        expected = model(Preprocessing()(torch.from_numpy(crops))).numpy()
    np.testing.assert_allclose(given, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("whole", [True, False])
def test_frozen_stem_gives_what_the_network_gives(whole: bool) -> None:
    model, images = tiny(), torch.randn(3, 3, 64, 48)
    with torch.inference_mode():
        expected = model(images)
    recipe = Recipe("tp_l", input_size=(64, 48), frozen=("lite_hrnet.",) if whole else EARLY)
    freeze(model, recipe)
    assert isinstance(frozen_stem(model, recipe), FrozenStem)
    given = model(images)
    torch.testing.assert_close(given, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    given.square().mean().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert "reduce.weight" in trained
    assert ("lite_hrnet.decoder.0.1.weight" in trained) is not whole
    assert "lite_hrnet.entry.conv.weight" not in trained


def test_stem_that_learns_stays_in_torch() -> None:
    model = tiny()
    assert frozen_stem(model, Recipe("tp_l", input_size=(64, 48))) is None
    model(torch.randn(1, 3, 64, 48)).square().mean().backward()
    assert model.lite_hrnet.entry.conv.weight.grad is not None


def test_heatmaps_of_hrnets_geometry_come_to_ours() -> None:
    """A joint at px 100, 150 of the crop, as either geometry draws it."""
    crop = np.array((100.0, 150.0))
    rows, columns = np.mgrid[:64, :48]

    def drawn(x: float, y: float) -> torch.Tensor:
        return torch.from_numpy(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8).astype(np.float32))[None, None]

    coords, _ = decode_dark(hrnet_to_dark(drawn(*(crop / 4))).numpy())
    np.testing.assert_allclose(coords[0, 0], crop * (47 / 191, 63 / 255), atol=0.02)
    assert np.abs(coords[0, 0] - crop / 4).max() > 0.3


@needs_tinypose
def test_frozen_stem_teaches_what_its_own_network_sees() -> None:
    model = create_model("tp_l", **TINY)
    initialise(model, TINYPOSE)
    recipe = Recipe("tp_l", frozen=("lite_hrnet.",), teacher=str(TINYPOSE), teacher_heatmaps=0.5)
    freeze(model, recipe)
    stem = frozen_stem(model, recipe)
    assert stem is not None and stem.teaches
    crops = torch.randint(0, 256, (2, 256, 192, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    model(Preprocessing()(crops))
    apart = Teacher(str(TINYPOSE), torch.device("cpu"), COCO17).heatmaps(crops)
    torch.testing.assert_close(stem.heatmaps(), apart, rtol=0, atol=1e-4)
    other = create_model("tp_l", **TINY)  # its stem is another network's
    freeze(other, recipe)
    silent = frozen_stem(other, recipe)
    assert silent is not None and not silent.teaches and silent.heatmaps() is None


def test_parts_learn_slower_that_the_recipe_says() -> None:
    model = tiny()
    recipe = Recipe("tp_l", optimizer="adamw", lr=0.01, slower={"lite_hrnet.": 0.25}, frozen=EARLY)
    freeze(model, recipe)
    rates = {id(value): group["lr"] for group in parameter_groups(model, recipe) for value in group["params"]}
    late = {id(value) for name, value in model.named_parameters() if name.startswith("lite_hrnet.decoder.")}
    assert {rates[value] for value in late} == {0.0025}
    assert rates[id(model.reduce.weight)] == 0.01
    assert id(model.lite_hrnet.entry.conv.weight) not in rates
    with pytest.raises(DataError, match="slower: no part of tp_l is called 'stem'"):
        freeze(model, Recipe("tp_l", slower={"stem": 0.1}))
    with pytest.raises(DataError, match="give one above 0, or freeze it"):
        Recipe("tp_l", slower={"lite_hrnet.": 0})
