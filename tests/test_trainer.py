"""The training loop: its step against arithmetic by hand, exact resume, what stops it, and that it learns."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_people import DRAWN, write_people
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: pip install transpose-sdk[train]")

from torch import Tensor, nn  # noqa: E402

from transpose_sdk.errors import CheckpointError, DataError, TrainingError  # noqa: E402
from transpose_sdk.models import create_model, load_checkpoint, read_metadata  # noqa: E402
from transpose_sdk.trainers.data.batches import Batch, EpochBatches  # noqa: E402
from transpose_sdk.trainers.loop import train, train_one_epoch, train_recipe  # noqa: E402
from transpose_sdk.trainers.recipe import Recipe  # noqa: E402
from transpose_sdk.trainers.run import Run, start_run  # noqa: E402
from transpose_sdk.trainers.state import AveragedWeights, load_state, save_state  # noqa: E402
from transpose_sdk.trainers.step import learning_rate  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
TINY = {**DRAWN, "epochs": 2}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    """Sums of floats depend on how many threads share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty drawn figures to train on and three to evaluate on."""
    folder = tmp_path_factory.mktemp("data")
    write_people(folder, "train", 20, seed=1)
    write_people(folder, "val", 3, seed=2)
    return folder


def copy_of(data: Path, folder: Path) -> Path:
    """A copy of the data that a test may damage."""
    for file in data.rglob("*"):
        if file.is_file() and "cache" not in file.parts:
            target = folder / file.relative_to(data)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return folder


# One step -----------------------------------------------------------------------------------------------------------


def fixed_batch(size: tuple[int, int], persons: int = 2) -> Batch:
    """Noise, joints in and around the heatmap, human and teacher's weights, some unknown."""
    rng = np.random.default_rng(11)
    height, width = size
    crops = rng.integers(0, 256, (persons, height, width, 3), np.uint8)
    joints = rng.uniform(-0.3, 1.3, (persons, 17, 2)) * (width // 4, height // 4)
    weights = rng.choice([0, 0.4, 1], (persons, 17), p=(0.2, 0.3, 0.5))
    return Batch(torch.from_numpy(crops), torch.tensor(joints).float(), torch.tensor(weights).float())


def step_by_hand(model: nn.Module, batch: Batch) -> float:
    """The published loss of a batch, leaving the gradients of the network's weights in place."""
    crops, joints, weights = (part.numpy().astype(np.float64) for part in batch)
    images = (crops[..., ::-1] / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    # The last bit of a pixel decides on which side of a ReLU's kink a value lies, and moves gradients by 2 %.
    mean, deviation = (255 * np.float32(values) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    rounded = (crops[..., ::-1].astype(np.float32) - mean) / deviation
    np.testing.assert_allclose(rounded, images, rtol=0, atol=1e-6)
    heatmaps = model(torch.tensor(rounded.transpose(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last))
    persons, keypoints, height, width = heatmaps.shape
    rows, columns = np.mgrid[:height, :width]
    targets = np.zeros(heatmaps.shape)
    for person in range(persons):
        for joint in range(keypoints):
            x, y = joints[person, joint]
            outside = int(x - 6) >= width or int(y - 6) >= height or int(x + 7) < 0 or int(y + 7) < 0
            if outside:
                weights[person, joint] = 0
            targets[person, joint] = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 2**2))
    difference = weights[..., None, None] * (heatmaps.detach().numpy() - targets)
    # d/dh of 1/K sum_k 1/2 mean (w (h - t))^2 over persons and pixels
    slope = weights[..., None, None] * difference / (keypoints * persons * height * width)
    heatmaps.backward(torch.tensor(slope).float())
    return float(np.mean([0.5 * np.mean(difference[:, joint] ** 2) for joint in range(keypoints)]))


class AdamByHand:
    """Kingma and Ba's algorithm 1 with the usual numbers and no weight decay."""

    def __init__(self, parameters: dict[str, NDArray[np.float64]]) -> None:
        self.parameters = parameters
        self.moments = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in parameters.items()}
        self.steps = 0

    def step(self, gradients: dict[str, Tensor], rate: float) -> None:
        self.steps += 1
        for name, value in self.parameters.items():
            gradient = gradients[name].numpy().astype(np.float64)
            first, second = self.moments[name]
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            unbiased = np.sqrt(second / (1 - 0.999**self.steps))
            value[...] -= rate * first / (1 - 0.9**self.steps) / (unbiased + 1e-8)


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def check_steps(run: Run, batch: Batch, steps: int) -> None:
    """Train on one batch again and again, and compare every step with arithmetic by hand."""
    twin = create_model(run.recipe.model, input_size=run.recipe.input_size, **run.recipe.variant).train()
    twin.to(memory_format=torch.channels_last)
    parameters = trained_parameters(run.model)
    start = {name: value.detach().double().numpy().copy() for name, value in parameters.items()}
    adam = AdamByHand(start)
    for number in range(steps):
        twin.load_state_dict(run.model.state_dict())
        twin.zero_grad()
        expected = step_by_hand(twin, batch)
        loss = train_one_epoch(run, [batch], steps)
        assert loss == pytest.approx(expected, rel=1e-5)
        gradients = {name: value.grad for name, value in parameters.items()}
        for name, value in trained_parameters(twin).items():
            largest = float(value.grad.abs().max())
            torch.testing.assert_close(gradients[name], value.grad, rtol=0, atol=1e-4 * largest + 1e-12, msg=name)
        adam.step(gradients, rate=1e-4)
        assert run.step == number + 1
        for name, value in parameters.items():
            np.testing.assert_allclose(
                value.detach().numpy(), adam.parameters[name], rtol=2e-7 * steps, atol=1e-8 * steps, err_msg=name
            )


def test_step_of_tp_r_a3_from_the_reference_weights(tmp_path: Path) -> None:
    recipe = Recipe("tp_r_a3", variant={"dropout": 0.0})
    run = start_run(recipe, tmp_path, None, CPU)
    for name, value in run.model.state_dict().items():
        if not name.endswith("num_batches_tracked") and name != "pos_embedding":
            value.copy_(torch.from_numpy(reference_values(name, tuple(value.shape))))
    check_steps(run, fixed_batch(recipe.input_size), steps=1)


def reference_values(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The rule of the reference weights."""
    rng = np.random.default_rng(zlib.crc32(f"shared-{name}".encode()))
    if name.endswith("running_var"):
        value = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        value = 0.1 * rng.standard_normal(shape)
    elif len(shape) <= 1 and name.endswith("weight"):
        value = rng.uniform(0.5, 1.5, shape)
    elif len(shape) <= 1:
        value = 0.1 * rng.standard_normal(shape)
    else:
        value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    return value.astype(np.float32)


def test_steps_of_tp_r_a3_from_fresh_weights(tmp_path: Path) -> None:
    recipe = Recipe("tp_r_a3", variant={"dropout": 0.0}, input_size=(64, 64), seed=7)
    check_steps(start_run(recipe, tmp_path, None, CPU), fixed_batch(recipe.input_size), steps=3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {(0, 0): 1e-4, (0, 99): 1e-4, (115, 0): 5.5e-5, (230, 0): 1e-5}),  # published: constant in an epoch
        ({"schedule": "step"}, {(0, 0): 1e-4, (114, 50): 5.53e-5, (115, 0): 5.5e-5, (229, 99): 1e-5}),
        ({"warmup_steps": 200}, {(0, 0): 5e-7, (0, 99): 5e-5, (1, 99): 1e-4}),
    ],
)
def test_learning_rate(options: dict[str, Any], expected: dict[tuple[int, int], float]) -> None:
    recipe = Recipe("tp_r_a4", **options)
    for (epoch, step), rate in expected.items():
        assert learning_rate(recipe, epoch, step, steps=100) == pytest.approx(rate, rel=2e-3)


def test_learning_rate_is_that_of_the_published_scheduler() -> None:
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 230, eta_min=1e-5)
    for epoch in range(230):
        rate = learning_rate(Recipe("tp_r_a4"), epoch, 3, steps=10)
        assert rate == pytest.approx(scheduler.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_that_of_the_recipe(tmp_path: Path, precision: str, dtype: Any) -> None:
    run = start_run(Recipe.from_dict({**TINY, "precision": precision}), tmp_path, None, CPU)
    seen = []
    run.model.final_layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    train_one_epoch(run, [fixed_batch((64, 48))], steps=1)
    assert seen == [dtype]
    assert all(value.dtype == torch.float32 for value in run.model.parameters())


def test_frozen_parts_stay_as_they_are(tmp_path: Path) -> None:
    recipe = Recipe.from_dict({**TINY, "frozen": ["features.0.", "reduce."]})
    run = start_run(recipe, tmp_path, None, CPU)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    train_one_epoch(run, [fixed_batch((64, 48))] * 2, steps=2)
    after = run.model.state_dict()
    frozen = [name for name in before if name.startswith(("features.0.", "reduce.", "pos_embedding"))]
    assert "features.0.1.running_mean" in frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"features.1.conv.0.weight", "features.1.conv.1.running_mean", "final_layer.weight"} <= changed


def test_averaged_weights() -> None:
    model = nn.BatchNorm1d(1)  # a weight, and a counter that is no float
    averaged, expected = AveragedWeights(model, decay=0.5), 1.0
    for step in range(1, 9):
        with torch.no_grad():
            model.weight.fill_(1.0 + step)
        model.num_batches_tracked.fill_(step)
        averaged.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))  # 2/11 after the first step, .5 from the eighth on
        expected = decay * expected + (1 - decay) * (1.0 + step)
        assert averaged.state["weight"].item() == pytest.approx(expected, rel=1e-6)
        assert averaged.state["num_batches_tracked"].item() == step


# Resume -------------------------------------------------------------------------------------------------------------

LONG = {
    **TINY,
    "optimizer": "adamw",
    "lr": 2e-3,
    "weight_decay": 0.02,
    "warmup_steps": 3,
    "schedule": "step",
    "clip_norm": 1.0,
    "ema": 0.9,
    "color": 0.25,  # random numbers of the loop, beside dropout's and the augmentation's
}


class Stop(Exception):  # noqa: N818
    """Thrown by a test into a run."""


@pytest.fixture(scope="module")
def whole_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    train(Recipe.from_dict(LONG), data, folder, workers=0)
    return folder


def check_same(folder: Path, whole: Path) -> None:
    """Everything but the time is the same, to the last bit."""
    state, expected = load_state(folder / "last.pt"), load_state(whole / "last.pt")
    for part in (state, expected):
        del part["progress"]["seconds"]
    torch.testing.assert_close(state, expected, rtol=0, atol=0)
    best, other = load_checkpoint(folder / "best.safetensors"), load_checkpoint(whole / "best.safetensors")
    torch.testing.assert_close(best.state_dict(), other.state_dict(), rtol=0, atol=0)
    logs = [[json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in (folder, whole)]
    for record in (record for log in logs for record in log):
        del record["seconds"], record["loss"]  # the mean of an interrupted epoch is that of its last part
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    ("epoch", "step", "save_seconds", "resumed_at"),
    [
        (0, 0, 0.0, None),  # before anything was saved
        (0, 3, 0.0, (0, 3)),
        (0, 4, 1e9, None),  # no state within the epoch: it starts anew
        (1, 2, 0.0, (1, 2)),
        (1, 3, 1e9, (1, 0)),
    ],
)
def test_resumed_run_equals_one_never_stopped(
    data: Path,
    whole_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epoch: int,
    step: int,
    save_seconds: float,
    resumed_at: tuple[int, int] | None,
) -> None:
    recipe = Recipe.from_dict(LONG)
    make = EpochBatches.__getitem__

    def fail(self: EpochBatches, index: int) -> Batch:
        if (self.epoch, self.first + index) == (epoch, step):
            raise Stop
        return make(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(EpochBatches, "__getitem__", fail)
        with pytest.raises(Stop):
            train(recipe, data, tmp_path, workers=0, save_seconds=save_seconds)
    if resumed_at is None:
        assert not (tmp_path / "last.pt").exists()
    else:
        progress = load_state(tmp_path / "last.pt")["progress"]
        assert (progress["epoch"], progress["step"]) == resumed_at
    train(recipe, data, tmp_path, workers=0)
    check_same(tmp_path, whole_run)


KILLED = """
import json, os, signal, sys
from pathlib import Path
import torch
from transpose_sdk.trainers import loop, run
from transpose_sdk.trainers.recipe import Recipe

torch.set_num_threads(1)
data, folder, recipe, kill_at = sys.argv[1:]
saves, write = 0, run.save_state

def write_and_die(path, state):
    global saves
    saves += 1
    if saves == int(kill_at):
        path.with_suffix(".partial").write_bytes(b"half a state")
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, state)

run.save_state = write_and_die
loop.train(Recipe.from_dict(json.loads(recipe)), Path(data), Path(folder), workers=1, save_seconds=0.0)
"""


def test_killed_process_resumes(data: Path, whole_run: Path, tmp_path: Path) -> None:
    """Killed without a chance to clean up, while it writes its state; made with another number of workers."""
    kill_at = int(np.random.default_rng().integers(2, 12))  # ten steps and two ends of epochs are saved
    arguments = [str(data), str(tmp_path), json.dumps(LONG), str(kill_at)]
    command = [sys.executable, "-c", KILLED, *arguments]
    ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == -9, ended.stderr
    progress = load_state(tmp_path / "last.pt")["progress"]
    assert progress["epoch"] + progress["step"] > 0, f"killed at save {kill_at}"  # the end of an epoch is step 0
    train(Recipe.from_dict(LONG), data, tmp_path, workers=0)
    check_same(tmp_path, whole_run)


def test_run_that_stopped_in_its_evaluation(
    data: Path, whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps of the epoch are not done again."""

    def fail(*_arguments: Any) -> dict[str, float]:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr("transpose_sdk.trainers.loop.evaluate", fail)
        with pytest.raises(Stop):
            train(Recipe.from_dict(LONG), data, tmp_path, workers=0)
    progress = load_state(tmp_path / "last.pt")["progress"]
    assert (progress["epoch"], progress["step"]) == (0, 5)
    train(Recipe.from_dict(LONG), data, tmp_path, workers=0)
    check_same(tmp_path, whole_run)
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])["loss"] is None


def test_finished_run_is_left_alone(data: Path, whole_run: Path) -> None:
    before = (whole_run / "last.pt").read_bytes()
    best = train(Recipe.from_dict(LONG), data, whole_run, workers=0)
    assert (whole_run / "last.pt").read_bytes() == before
    assert best == load_state(whole_run / "last.pt")["progress"]["best"]
    assert read_metadata(whole_run / "best.safetensors")["AP"] == pytest.approx(best, abs=1e-4)


def test_state_of_another_network_is_refused(data: Path, whole_run: Path) -> None:
    before = (whole_run / "recipe.json").read_text()
    other = Recipe.from_dict({**LONG, "variant": {**TINY["variant"], "d_model": 64}})
    with pytest.raises(CheckpointError, match=r"last\.pt belongs to another recipe .*into another folder"):
        train(other, data, whole_run, workers=0, changed=True)
    assert (whole_run / "recipe.json").read_text() == before


def test_another_recipe_is_refused_unless_the_user_says_so(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(Recipe.from_dict(TINY | {"epochs": 1}), data, tmp_path, workers=0)
    state, written = (tmp_path / "last.pt").read_bytes(), (tmp_path / "recipe.json").read_text()
    other = Recipe.from_dict({**TINY, "epochs": 1, "lr": 0.9, "color": 0.25, "about": "a bad idea"})
    with pytest.raises(CheckpointError, match=r"color was 0\.0 and is 0\.25; lr was .* and is 0\.9.*--changed"):
        train(other, data, tmp_path, workers=0)
    assert (tmp_path / "last.pt").read_bytes() == state
    assert (tmp_path / "recipe.json").read_text() == written
    values = json.loads(written)
    del values["color"]  # as an older version, which did not have it, would have written
    (tmp_path / "recipe.json").write_text(json.dumps(values))
    train(Recipe.from_dict({**TINY, "epochs": 1, "about": "other words"}), data, tmp_path, workers=0)
    train(other, data, tmp_path, workers=0, changed=True)
    assert "lr was" in caplog.text and "and is 0.9" in caplog.text
    assert json.loads((tmp_path / "recipe.json").read_text())["lr"] == 0.9


def test_damaged_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"half a state")
    with pytest.raises(CheckpointError, match="remove it to start anew"):
        start_run(Recipe.from_dict(TINY), tmp_path, None, CPU)


def test_failed_write_leaves_the_old_state(tmp_path: Path) -> None:
    save_state(tmp_path / "last.pt", {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        save_state(tmp_path / "last.pt", {"step": lambda: 2})
    assert load_state(tmp_path / "last.pt") == {"step": 1}


# What stops a run, and what does not --------------------------------------------------------------------------------


def test_loss_that_is_not_finite_stops_before_the_step(tmp_path: Path) -> None:
    run = start_run(Recipe.from_dict(TINY), tmp_path, None, CPU)
    batch = fixed_batch((64, 48))
    before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    with pytest.raises(TrainingError, match=r"the loss is nan and its gradient nan long in epoch 1, step 1: lower"):
        train_one_epoch(run, [batch._replace(joints=batch.joints * torch.nan)], steps=1)
    assert run.step == 0
    assert all(torch.equal(value, before[name]) for name, value in run.model.named_parameters())


def test_diverging_run_keeps_a_sound_state(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(Recipe.from_dict({**TINY, "lr": 1e30, "epochs": 4}), data, tmp_path, workers=0, save_seconds=0.0)
    state = load_state(tmp_path / "last.pt")
    assert all(torch.isfinite(value).all() for value in state["model"].values() if value.is_floating_point())


def test_unreadable_images_are_skipped(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = copy_of(data, tmp_path / "data")
    (folder / "train/001.png").write_bytes(b"no picture")
    (folder / "train/002.png").unlink()
    with caplog.at_level("INFO"):
        train(Recipe.from_dict({**TINY, "epochs": 1, "batch_size": 9}), folder, tmp_path / "run", workers=0)
    assert "2 images could not be read, the first is 001.png" in caplog.text
    assert "18 persons" in caplog.text  # two batches of nine, and neither of the two


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"train_annotations": "none.json"}, r"cannot read .*none\.json \(No such file"),
        ({"val_annotations": "none.json"}, r"cannot read .*none\.json \(No such file"),
        ({"train_images": "none"}, r"none of the 20 images could be read from .*none: give the images' folder"),
        ({"val_images": "train"}, r"the first is"),
        ({"batch_size": 21}, r"20 persons an epoch do not fill one batch of 21"),
        ({"source_weights": {"lsp": 1}, "samples_per_epoch": 8}, r"source_weights names \['lsp'\]"),
        ({"frozen": ["stem."]}, r"frozen: no part of tp_m is called 'stem\.'"),
    ],
)
def test_data_errors_come_before_the_first_step(
    data: Path, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    folder = copy_of(data, tmp_path / "data")
    for number in range(1, 4):
        (folder / f"val/{number:03d}.png").rename(folder / f"val/other{number}.png")
    content = json.loads((folder / "val.json").read_text())
    for image in content["images"]:
        image["file_name"] = f"other{image['id']}.png"
    (folder / "val.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=sentence):
        train(Recipe.from_dict({**TINY, **options}), folder, tmp_path / "run", workers=0)
    assert not (tmp_path / "run/last.pt").exists()


def test_validation_set_without_labels(data: Path, tmp_path: Path) -> None:
    folder = copy_of(data, tmp_path / "data")
    (folder / "val.json").write_text(json.dumps({"images": [], "annotations": []}))
    with pytest.raises(DataError, match=r"val\.json has persons of \[\] keypoints"):
        train(Recipe.from_dict(TINY), folder, tmp_path / "run", workers=0)


def test_recipe_by_file_with_replaced_values(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(json.dumps({**TINY, "input_size": [64, 48]}))
    replaced = ["epochs=1", "lr=1e-4"]
    train_recipe(tmp_path / "mine.yaml", replaced, data=data, folder=tmp_path / "run", device="cpu", workers=0)
    written = json.loads((tmp_path / "run/recipe.json").read_text())
    assert (written["epochs"], written["lr"], written["batch_size"]) == (1, 1e-4, 4)
    assert len((tmp_path / "run/log.jsonl").read_text().splitlines()) == 1


# Learning -----------------------------------------------------------------------------------------------------------

PERSONS, STEPS = 16, 100


def test_sixteen_real_persons_are_learned_by_heart(shared: Path, tmp_path: Path) -> None:
    """TP-M reaches AP .95 on its own training persons in `STEPS` steps."""
    content = json.loads((shared / "data/pose/train.json").read_text())
    images = {image["id"]: image for image in content["images"] if image["source"] == "coco"}
    clear = [
        person
        for person in content["annotations"]
        if person["image_id"] in images and person["num_keypoints"] >= 14 and min(person["bbox"][2:]) > 80
    ]
    first: dict[int, Any] = {}  # one person an image
    for person in clear:
        first.setdefault(person["image_id"], person)
    chosen = list(first.values())[:PERSONS]
    assert len(chosen) == PERSONS
    used = [images[person["image_id"]] for person in chosen]
    with tarfile.open(shared / "data/pose/shards/00.tar") as archive:
        for image in used:
            archive.extract(f"train/{image['file_name']}", tmp_path, filter="data")
    (tmp_path / "chosen.json").write_text(
        json.dumps({"images": used, "annotations": chosen, "categories": content["categories"]})
    )
    recipe = Recipe(
        "tp_m",
        input_size=(128, 96),
        variant={"dropout": 0.0},
        train_annotations="chosen.json",
        train_images="train",
        val_annotations="chosen.json",
        val_images="train",
        source_weights={"coco": 1},
        samples_per_epoch=PERSONS * STEPS,
        epochs=1,
        batch_size=PERSONS,
        optimizer="adamw",
        lr=2e-3,
        warmup_steps=20,
        schedule="step",
        clip_norm=1.0,
        half_body=0.0,
        scale=0.0,
        rotation=0.0,
        flip=0.0,
        frozen=tuple(f"features.{number}." for number in range(5)),  # as in training on a CPU: a third faster
    )
    stem = shared / "weights/init/mobilenet_v2_stem.safetensors"
    assert train(recipe, tmp_path, tmp_path / "run", init=stem, workers=0) > 0.95
