"""A student learns from a teacher: its heatmaps, its joints, and teachers of other input sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from drawn_people import DRAWN, write_people
from openvino import opset13 as opset

torch = pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: pip install transpose-sdk[train]")

from transpose_sdk.backends.openvino_core import CORE  # noqa: E402
from transpose_sdk.decoding import decode_dark  # noqa: E402
from transpose_sdk.errors import BundleError, DataError  # noqa: E402
from transpose_sdk.models import create_model, load_checkpoint, save_checkpoint  # noqa: E402
from transpose_sdk.skeletons import COCO17, MPII16  # noqa: E402
from transpose_sdk.trainers.data.batches import Batch, EpochBatches  # noqa: E402
from transpose_sdk.trainers.data.targets import heatmap_loss, heatmap_targets  # noqa: E402
from transpose_sdk.trainers.graph_network import GraphNetwork  # noqa: E402
from transpose_sdk.trainers.loop import train, train_one_epoch  # noqa: E402
from transpose_sdk.trainers.recipe import Recipe  # noqa: E402
from transpose_sdk.trainers.run import start_run  # noqa: E402
from transpose_sdk.trainers.state import load_state  # noqa: E402
from transpose_sdk.trainers.step import prepare, step_loss  # noqa: E402
from transpose_sdk.trainers.teacher import Teacher, hrnet_to_dark, resample, taught_joints  # noqa: E402

CPU = torch.device("cpu")
PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}
VARIANT = {"layers": 1, "d_model": 32, "ffn": 32, "heads": 4, "dropout": 0.0}
TINY = {**DRAWN, "variant": VARIANT, "lr": 1e-3}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of another seed whose heatmaps have peaks."""
    torch.manual_seed(9)
    model = create_model("tp_m", input_size=(64, 48), **{**VARIANT, "layers": 2}).eval()
    torch.nn.init.normal_(model.deconv_layers[0].weight, std=0.1)
    torch.nn.init.normal_(model.final_layer.weight, std=0.03)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_checkpoint(model, path)
    return path


def noise(persons: int = 4, labelled: float = 1.0) -> Batch:
    rng = np.random.default_rng(3)
    crops = torch.from_numpy(rng.integers(0, 256, (persons, 64, 48, 3), np.uint8))
    return Batch(crops, torch.tensor(rng.uniform(0, 12, (persons, 17, 2))).float(), torch.full((persons, 17), labelled))


def test_distillation_brings_the_student_to_its_teacher(tmp_path: Path, teacher: Path) -> None:
    recipe = Recipe.from_dict({**TINY, "teacher": str(teacher), "teacher_heatmaps": 1.0})
    run, batch = start_run(recipe, tmp_path, None, CPU), noise()
    losses = [train_one_epoch(run, [batch] * 5, steps=30) for _ in range(6)]
    taught = Teacher(str(teacher), CPU, COCO17).heatmaps(batch.crops)
    assert losses[-1] < 0.5 * losses[0]
    seen = run.model(prepare(batch, run).images)
    start = start_run(recipe, tmp_path / "start", None, CPU)
    before = start.model.train()(prepare(batch, start).images)
    assert (seen - taught).square().mean() < 0.5 * (before - taught).square().mean()


def test_loss_is_the_stated_mix(tmp_path: Path, teacher: Path) -> None:
    recipe = Recipe.from_dict({**TINY, "teacher": str(teacher), "teacher_heatmaps": 0.3})
    run, batch = start_run(recipe, tmp_path, None, CPU), noise()
    inputs, heatmaps = prepare(batch, run), torch.rand(4, 17, 16, 12)
    targets, weights = heatmap_targets(batch.joints, batch.weights, (16, 12))
    taught = Teacher(str(teacher), CPU, COCO17).heatmaps(batch.crops)
    peaks = taught.flatten(2).max(2).values.clamp(0, 1)
    distance = 0.5 * (peaks[..., None, None] * (heatmaps - taught)).square().mean()
    expected = 0.7 * heatmap_loss(heatmaps, targets, weights) + 0.3 * distance
    torch.testing.assert_close(step_loss(recipe, heatmaps, inputs), expected)
    assert 0.05 < peaks.mean() < 1


def test_joints_of_the_teacher_fill_in_what_nobody_labelled() -> None:
    joints, weights = torch.zeros(1, 4, 2), torch.tensor([[1.0, 0.4, 0.0, 0.0]])
    found = torch.full((1, 4, 2), 5.0), torch.tensor([[0.9, 0.9, 0.8, 0.2]])
    joints, weights = taught_joints(joints, weights, found, weight=0.5, min_score=0.3)
    assert weights.tolist() == [[1.0, pytest.approx(0.4), pytest.approx(0.4), 0.0]]  # the last is too unsure
    assert joints[0, :, 0].tolist() == [0, 0, 5, 0]


def test_joints_are_learned_without_a_label(tmp_path: Path, teacher: Path) -> None:
    recipe = Recipe.from_dict({**TINY, "teacher": str(teacher), "teacher_joints": 0.5, "teacher_min_score": 0.0})
    run = start_run(recipe, tmp_path, None, CPU)
    batch = noise(labelled=0.0)
    inputs = prepare(batch, run)
    coords, scores = decode_dark(Teacher(str(teacher), CPU, COCO17).heatmaps(batch.crops).numpy())
    expected = heatmap_targets(torch.from_numpy(coords), 0.5 * torch.from_numpy(scores).clamp(max=1), (16, 12))
    torch.testing.assert_close(inputs.targets, expected[0])
    torch.testing.assert_close(inputs.weights, expected[1])
    assert inputs.weights.max() <= 0.5
    assert inputs.weights.mean() > 0.01
    assert inputs.taught is None


@pytest.mark.parametrize("size", [(128, 96), (96, 96), (64, 64)])
def test_teacher_of_another_input_size(tmp_path: Path, size: tuple[int, int]) -> None:
    """A blob in the crop is where it was, whatever size it is looked at in."""
    teacher = Teacher.__new__(Teacher)
    teacher.input_size, teacher._mirrored = size, None
    seen: list[Any] = []

    def brightness(crops: Any) -> Any:  # a network that finds what is bright, at a quarter of the crop
        seen.append(tuple(crops.shape[1:3]))
        grid = (size[0] // 4, size[1] // 4)
        return resample(crops[..., :1].permute(0, 3, 1, 2).float() / 255, grid, (size[1] - 1) / (grid[1] - 1))

    teacher._infer = brightness
    x, y = 30.0, 21.0
    columns, rows = np.meshgrid(np.arange(48), np.arange(64))
    blob = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 6**2))
    crops = torch.from_numpy(np.repeat(blob.round().astype(np.uint8)[None, ..., None], 3, axis=3))
    heatmaps = teacher.heatmaps(crops)
    assert seen == [size]
    expected = np.array((x, y)) * 11 / 47 + ((0, 7.5 - 31.5 * 11 / 47))  # heatmap px, as `crop_affines` places them
    joints, scores = teacher.joints(heatmaps, (16, 12))
    np.testing.assert_allclose(joints[0, 0].numpy(), expected, atol=0.15)
    assert scores.item() == pytest.approx(1, abs=0.1)
    resized = teacher.on_grid(heatmaps, (16, 12))
    assert resized.shape == (1, 1, 16, 12)
    row, column = divmod(int(resized.argmax()), 12)
    assert abs(column - expected[0]) <= 0.6
    assert abs(row - expected[1]) <= 0.6


def test_bundles_teach_too(tmp_path: Path, tiny_bundle: Path) -> None:
    """Through their graph, whose weights are in FP16, on a CPU."""
    known = Teacher(str(tiny_bundle), CPU, COCO17)
    crops = noise().crops
    heatmaps = known.heatmaps(crops)
    assert heatmaps.shape == (4, 17, 16, 12)
    direct = Teacher(str(tiny_bundle / "checkpoint.safetensors"), CPU, COCO17)
    expected = direct.heatmaps(crops)
    torch.testing.assert_close(heatmaps, expected, rtol=0, atol=0.02 * float(expected.abs().max()))


def write_graph(model: torch.nn.Module, path: Path, shape: tuple[int, ...]) -> Path:
    graph = ov.convert_model(model, example_input=torch.zeros(shape))
    graph.reshape(list(shape))
    ov.save_model(graph, path, compress_to_fp16=False)
    return path


def test_teacher_with_flip_test_gives_the_mean_of_both_crops(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_checkpoint(create_model("tp_m16", input_size=(64, 48), layers=1), tmp_path / "teacher.safetensors")
    crops = noise().crops
    alone, both = (Teacher(str(tmp_path / "teacher.safetensors"), CPU, COCO17, flip=flip) for flip in (False, True))
    mirrored = alone.heatmaps(crops.flip(2)).flip(3)[:, COCO17.mirrored]
    torch.testing.assert_close(both.heatmaps(crops), (alone.heatmaps(crops) + mirrored) / 2)
    # A mirrored crop has the mirrored answer, with left and right exchanged.
    torch.testing.assert_close(both.heatmaps(crops.flip(2)), both.heatmaps(crops).flip(3)[:, COCO17.mirrored])


def test_a_graph_of_somebody_elses_teaches(tmp_path: Path, teacher: Path) -> None:
    path = write_graph(load_checkpoint(teacher).eval(), tmp_path / "other.xml", (1, 3, 64, 48))
    crops = noise().crops
    known, same = (Teacher(str(each), CPU, COCO17) for each in (path, teacher))
    assert known.input_size == (64, 48)
    # Others speak HRNet's geometry, which this one, being ours, is taken to speak too.
    torch.testing.assert_close(known.heatmaps(crops), hrnet_to_dark(same.heatmaps(crops)), atol=1e-4, rtol=1e-3)
    with pytest.raises(DataError, match="knows 17 joints"):
        Teacher(str(path), CPU, MPII16)


def test_graphs_that_cannot_teach(tmp_path: Path) -> None:
    flat = write_graph(torch.nn.Flatten(), tmp_path / "flat.xml", (1, 3, 64, 48))
    with pytest.raises(DataError, match=r"gives 0 outputs with four dimensions: give an OpenVINO graph"):
        Teacher(str(flat), CPU, COCO17)
    grey = write_graph(torch.nn.ReLU(), tmp_path / "grey.xml", (1, 1, 64, 48))
    with pytest.raises(DataError, match=r"takes \(1, 1, 64, 48\)"):
        Teacher(str(grey), CPU, COCO17)
    with pytest.raises(DataError, match="cannot teach"):
        Teacher(str(tmp_path / "nowhere.xml"), CPU, COCO17)


def test_teachers_that_do_not_fit(teacher: Path) -> None:
    with pytest.raises(DataError, match="knows 17 joints and the network 16: give a teacher of the same skeleton"):
        Teacher(str(teacher), CPU, MPII16)
    with pytest.raises(BundleError, match="no pose bundle 'nobody'"):
        Teacher("nobody", CPU, COCO17)
    with pytest.raises(DataError, match="name a teacher and say with a number how much it counts"):
        Recipe("tp_m", teacher=str(teacher))
    with pytest.raises(DataError, match="name a teacher"):
        Recipe("tp_m", teacher_joints=0.5)


def test_distilled_run_resumes_to_the_bit(tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_people(tmp_path / "data", "train", 8, seed=1)
    write_people(tmp_path / "data", "val", 2, seed=2)
    both = {"teacher": str(teacher), "teacher_heatmaps": 0.5, "teacher_joints": 0.5, "device_augmentation": True}
    recipe = Recipe.from_dict({**TINY, **both, "ema": 0.9, "color": 0.2})
    train(recipe, tmp_path / "data", tmp_path / "whole", workers=0)
    make = EpochBatches.__getitem__

    def fail(self: EpochBatches, index: int) -> Batch:
        if self.first + index == 1:
            raise KeyboardInterrupt
        return make(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(EpochBatches, "__getitem__", fail)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "data", tmp_path / "parted", workers=0, save_seconds=0.0)
    assert load_state(tmp_path / "parted/last.pt")["progress"]["step"] == 1
    train(recipe, tmp_path / "data", tmp_path / "parted", workers=0)
    state, expected = (load_state(tmp_path / name / "last.pt") for name in ("parted", "whole"))
    for part in (state, expected):
        del part["progress"]["seconds"]
    torch.testing.assert_close(state, expected, rtol=0, atol=0)


@pytest.fixture(scope="module")
def foreign(shared: Path) -> Path:
    path = shared / "weights/teacher/tinypose_256x192_fp16.xml"
    if not path.exists():
        pytest.skip("needs PP-TinyPose's graph")
    return path


def heatmap_output(path: Path) -> Any:
    return next(output for output in CORE.read_model(path).outputs if len(output.shape) == 4)


def test_graph_in_torch_gives_what_openvino_gives(foreign: Path) -> None:
    """As many crops as one likes, although the graph is for one."""
    network, compiled = GraphNetwork(heatmap_output(foreign)), CORE.compile_model(foreign, "CPU", PRECISE)
    images = torch.from_numpy(np.random.default_rng(5).normal(size=(3, 3, 256, 192)).astype(np.float32))
    answers = network(images).numpy()
    place = next(place for place, output in enumerate(compiled.outputs) if len(output.shape) == 4)
    for image, answer in zip(images.numpy(), answers, strict=True):
        expected = compiled(image[None])[place][0]
        np.testing.assert_allclose(answer, expected, atol=1e-5 * np.abs(expected).max())


def test_convolutions_that_torch_pads_otherwise_and_unknown_operations_are_refused() -> None:
    image, kernel = opset.parameter([1, 3, 8, 6]), opset.constant(np.ones((2, 3, 3, 3), np.float32))
    known = opset.convolution(image, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    answer = GraphNetwork(ov.Model([known], [image]).outputs[0])(torch.ones(2, 3, 8, 6))
    assert answer.shape == (2, 2, 8, 6)
    assert answer[:, :, 3, 3].unique().item() == 27
    lopsided = opset.convolution(image, kernel, [1, 1], [0, 0], [1, 1], [1, 1])
    with pytest.raises(DataError, match=r"a convolution with padding \[0, 0\] and \[1, 1\]"):
        GraphNetwork(ov.Model([lopsided], [image]).outputs[0])
    with pytest.raises(DataError, match="the operation Tanh has no counterpart"):
        GraphNetwork(ov.Model([opset.tanh(image)], [image]).outputs[0])
    cubic = opset.interpolate(image, np.array([16, 12]), "cubic", "sizes", [0, 0], [0, 0], axes=np.array([2, 3]))
    with pytest.raises(DataError, match="interpolation cubic with half_pixel"):
        GraphNetwork(ov.Model([cubic], [image]).outputs[0])


def test_foreign_teacher_runs_on_the_gpu(foreign: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    crops = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (2, 256, 192, 3), np.uint8))
    expected = Teacher(str(foreign), CPU, COCO17).heatmaps(crops)
    for precision in ("fp32", "bf16"):  # convolutions are TF32 then, or float16, which have as many digits
        answer = Teacher(str(foreign), torch.device("cuda"), 17, precision).heatmaps(crops.cuda())
        assert answer.is_cuda
        torch.testing.assert_close(answer.cpu(), expected, rtol=0, atol=1e-2 * expected.abs().max().item())
