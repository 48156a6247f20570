"""Half precision, compiled networks, what stops a step; the plan, the logs and the pictures of a run."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_people import DRAWN, write_people

torch = pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: pip install transpose-sdk[train]")

from transpose_sdk.cli.main import main  # noqa: E402
from transpose_sdk.errors import DataError, MissingDependencyError, TrainingError  # noqa: E402
from transpose_sdk.skeletons import COCO17  # noqa: E402
from transpose_sdk.trainers.data.batches import Batch  # noqa: E402
from transpose_sdk.trainers.evaluation.benchmark import read_benchmark  # noqa: E402
from transpose_sdk.trainers.loop import set_mode, train, train_one_epoch  # noqa: E402
from transpose_sdk.trainers.plan import plan  # noqa: E402
from transpose_sdk.trainers.previews import validation_batch  # noqa: E402
from transpose_sdk.trainers.recipe import Recipe  # noqa: E402
from transpose_sdk.trainers.run import Run, start_run  # noqa: E402
from transpose_sdk.trainers.state import load_state  # noqa: E402
from transpose_sdk.trainers.step import colored, train_step  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_people(folder, "train", 12, seed=1)
    write_people(folder, "val", 3, seed=2)
    return folder


def noise(persons: int = 2) -> Batch:
    rng = np.random.default_rng(3)
    crops = torch.from_numpy(rng.integers(0, 256, (persons, 64, 48, 3), np.uint8))
    return Batch(crops, torch.tensor(rng.uniform(0, 12, (persons, 17, 2))).float(), torch.ones(persons, 17))


def new_run(folder: Path, **options: Any) -> Run:
    run = start_run(Recipe.from_dict({**DRAWN, **options}), folder, None, CPU)
    set_mode(run)
    return run


# Half precision -----------------------------------------------------------------------------------------------------


def test_fp16_follows_fp32(tmp_path: Path) -> None:
    losses = {}
    for precision in ("fp32", "fp16"):
        run = new_run(tmp_path / precision, precision=precision, variant={**DRAWN["variant"], "dropout": 0.0})
        losses[precision] = [train_step(run, noise(), 5) for _ in range(3)]
        assert all(value.dtype == torch.float32 for value in run.model.parameters())
    np.testing.assert_allclose(losses["fp16"], losses["fp32"], rtol=0.05)
    assert losses["fp16"] != losses["fp32"]


def test_fp16_leaves_out_a_step_and_lowers_its_scale(tmp_path: Path) -> None:
    run = new_run(tmp_path, precision="fp16")
    run.scaler.load_state_dict({**run.scaler.state_dict(), "scale": 1e30})  # beyond fp16
    before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    loss, length = train_step(run, noise(), 5)
    assert np.isfinite(loss)
    assert not np.isfinite(length)
    assert all(torch.equal(value, before[name]) for name, value in run.model.named_parameters())
    assert run.scaler.get_scale() == pytest.approx(5e29)
    assert run.step == 1  # its place in the run is taken


def test_fp16_gives_up_where_no_scale_helps(tmp_path: Path) -> None:
    run = new_run(tmp_path, precision="fp16")
    run.model.final_layer.weight.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(TrainingError, match=r"its gradient (nan|inf) long in epoch 1, step 17: take precision bf16"):
        train_one_epoch(run, [noise()] * 40, steps=40)  # 65536 is halved 16 times


def test_fp16_state_resumes(data: Path, tmp_path: Path) -> None:
    recipe = Recipe.from_dict({**DRAWN, "precision": "fp16", "epochs": 2})
    train(recipe, data, tmp_path / "whole", workers=0)
    first = start_run(recipe, tmp_path / "parted", None, CPU)
    first.scaler.load_state_dict({**first.scaler.state_dict(), "scale": 1024.0, "_growth_tracker": 7})
    first.save()
    again = start_run(recipe, tmp_path / "parted", None, CPU)
    assert again.scaler.state_dict() == first.scaler.state_dict()
    assert load_state(tmp_path / "whole/last.pt")["scaler"]["_growth_tracker"] == 6  # two epochs of three steps


# Compiling ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_network_is_called_and_saved_under_the_same_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_network = torch.compile
    monkeypatch.setattr("torch.compile", lambda network: compile_network(network, backend="aot_eager"))  # in seconds
    plain, compiled = new_run(tmp_path / "plain"), new_run(tmp_path / "compiled", compile=True)
    assert compiled.network is not compiled.model
    losses = [train_step(run, noise(), 5) for run in (plain, compiled)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    compiled.save()
    assert list(load_state(tmp_path / "compiled/last.pt")["model"]) == list(plain.model.state_dict())


# What stops a step --------------------------------------------------------------------------------------------------


def test_too_little_memory_is_explained(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.model.final_layer.register_forward_hook(lambda *_: torch.empty(1 << 50))  # torch's own refusal
    with pytest.raises(
        TrainingError, match=r"cpu has too little memory for a step of 2 crops of 64x48 in fp32 \(.*: lower batch_size"
    ):
        train_step(run, noise(), 5)
    assert run.step == 0


def test_other_errors_of_a_step_are_left_as_they_are(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with pytest.raises(RuntimeError, match="size of tensor"):
        train_step(run, noise()._replace(weights=torch.ones(2, 5)), 5)


# The plan -----------------------------------------------------------------------------------------------------------


def test_dry_run_tells_the_plan_and_writes_no_run(data: Path, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder, ignore=shutil.ignore_patterns("cache"))
    (folder / "train/001.png").unlink()
    (folder / "train/002.png").write_bytes(b"no picture")
    (tmp_path / "mine.yaml").write_text(json.dumps({**DRAWN, "input_size": [64, 48]}))
    before = set(folder.rglob("*"))
    arguments = ["train", str(tmp_path / "mine.yaml"), "--data", str(folder), "--dry-run", "--device", "cpu"]
    assert main([*arguments, "--workers", "0", "--set", "batch_size=5", "--set", "epochs=3"]) == 0
    text = capsys.readouterr().out
    assert "10 persons in 10 images; of 12 images 1 are missing and 1 cannot be decoded" in text
    assert "the first missing one is 001.png" in text
    assert "validation: 3 persons in 3 images, judged by AP" in text
    assert "schedule: 3 epochs of 2 steps of 5 persons; adam" in text
    assert "time: the first step took" in text
    assert {path.relative_to(folder).parts[0] for path in set(folder.rglob("*")) - before} == {"cache"}
    assert {path.name for path in tmp_path.iterdir()} == {"data", "mine.yaml"}


def test_dry_run_stops_at_what_would_stop_the_run(data: Path) -> None:
    with pytest.raises(DataError, match="12 persons an epoch do not fill one batch of 13"):
        list(plan(Recipe.from_dict({**DRAWN, "batch_size": 13}), data, workers=0))


def test_the_plan_is_told_before_its_two_steps(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("transpose_sdk.trainers.plan._two_steps", killed)
    told = []
    with pytest.raises(MemoryError):
        told += plan(Recipe.from_dict(DRAWN), data, workers=0)
    assert [line.partition(":")[0] for line in told][-2:] == ["network", "schedule"]


def test_out_or_dry_run_is_needed(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["train", "tp_m_128x96", "--data", "somewhere"])
    assert "one of the arguments --out --dry-run is required" in capsys.readouterr().err


def test_the_page_on_training_knows_every_option() -> None:
    import argparse

    from transpose_sdk.cli.train import add_arguments

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    page = (Path(__file__).resolve().parents[1] / "docs/training.md").read_text()
    assert {option for option in options - {"--help"} if option not in page} == set()


# Logs and pictures --------------------------------------------------------------------------------------------------


def test_logs_and_pictures_of_each_epoch(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transpose_sdk.trainers.loop.LOG_STEPS", 2)
    recipe = Recipe.from_dict({**DRAWN, "epochs": 2, "color": 0.3, "device_augmentation": True})
    train(recipe, data, tmp_path, workers=0)
    steps = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert [(step["epoch"], step["step"]) for step in steps] == [(1, 2), (2, 2)]
    assert all(step["loss"] > 0 and step["gradient"] > 0 and step["rate"] > 0 for step in steps)
    names = {f"epoch_00{epoch}_{name}.png" for epoch in (1, 2) for name in ("training", "validation")}
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == names
    for name, persons in (("training", 4), ("validation", 3)):
        picture = cv2.imread(str(tmp_path / f"pictures/epoch_002_{name}.png"))
        assert picture.shape == (4 * 112, persons * 84, 3)  # four rows of crops, a person a column
        rows = picture.reshape(4, 112, -1, 3).astype(int)
        assert all(row.std() > 10 for row in rows)
        assert np.abs(rows[0] - rows[3]).max() > 50  # other joints on the same crops


def test_image_that_went_missing_is_black_in_the_picture(data: Path, tmp_path: Path) -> None:
    benchmark = read_benchmark(data / "val.json", COCO17)
    shutil.copytree(data / "val", tmp_path / "val")
    (tmp_path / "val/002.png").unlink()
    crops = validation_batch(benchmark, tmp_path / "val", (64, 48)).crops
    assert [bool(crop.any()) for crop in crops] == [True, False, True]


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard")
def test_tensorboard_gets_the_same_numbers(data: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(Recipe.from_dict(DRAWN), data, tmp_path, workers=0, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    record = json.loads((tmp_path / "log.jsonl").read_text())
    assert events.Scalars("epoch/loss")[0].value == pytest.approx(record["loss"])
    assert events.Tags()["images"] == ["training", "validation"]


def test_tensorboard_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'transpose-sdk\[tensorboard\]'"):
        start_run(Recipe.from_dict(DRAWN), tmp_path, None, CPU, tensorboard=True)


def test_colors_of_a_row_are_the_same_in_every_share_of_the_batch() -> None:
    """Processes draw the numbers of the whole batch and use those of their own rows."""
    images = torch.rand((5, 3, 8, 6), generator=torch.Generator().manual_seed(0)) - 0.5
    shares = []
    for rows in (slice(0, 5), slice(0, 2), slice(2, 5)):
        torch.manual_seed(1)
        shares.append(colored(images[rows], 0.25, 5, rows))
    torch.testing.assert_close(torch.cat(shares[1:]), shares[0], rtol=0, atol=0)
    assert (shares[0] - images).abs().amax((1, 2, 3)).min() > 1e-3
    # No brighter or darker than pixels can be, and so within what a network has seen.
    white = colored(torch.full((4, 3, 2, 2), 9.0), 0.25, 4, slice(0, 4))
    assert white.amax() == pytest.approx((1 - 0.406) / 0.225)
