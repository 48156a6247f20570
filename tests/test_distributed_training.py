"""Two processes that share a run, started by torchrun: the same result as one process with the whole batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from drawn_people import write_people

torch = pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: pip install transpose-sdk[train]")

from torch import nn  # noqa: E402

from transpose_sdk.errors import DataError  # noqa: E402
from transpose_sdk.trainers import loop, step  # noqa: E402
from transpose_sdk.trainers.data.batches import EpochBatches  # noqa: E402
from transpose_sdk.trainers.data.skeleton_file import load_skeleton  # noqa: E402
from transpose_sdk.trainers.data.training_set import load_training_set  # noqa: E402
from transpose_sdk.trainers.loop import set_mode  # noqa: E402
from transpose_sdk.trainers.processes import Processes  # noqa: E402
from transpose_sdk.trainers.recipe import Recipe  # noqa: E402
from transpose_sdk.trainers.run import start_run  # noqa: E402
from transpose_sdk.trainers.state import load_state  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
RECIPE: dict[str, Any] = {
    "model": "tp_m",
    # Dropout's random numbers are each process's own.
    "variant": {"layers": 1, "d_model": 32, "ffn": 32, "heads": 4, "dropout": 0.0},
    "input_size": (64, 48),
    "train_annotations": "train.json",
    "train_images": "train",
    "val_annotations": "val.json",
    "val_images": "val",
    "epochs": 2,
    "batch_size": 5,  # two rows for one process and three for the other
    "lr": 1e-5,  # where a gradient is mere noise Adam takes its sign: larger steps carry that into the rest
    "lr_end": 1e-6,
    "clip_norm": 0.01,  # clips every step
    "ema": 0.9,
    "color": 0.25,
    "frozen": ["features.0."],  # batch normalisation of both kinds
}

# A whole run, one that both processes leave after the same step, and its rest.
TWICE = """
import json, sys
from pathlib import Path
import torch
from transpose_sdk.trainers import loop
from transpose_sdk.trainers.data.batches import EpochBatches
from transpose_sdk.trainers.processes import joined
from transpose_sdk.trainers.recipe import Recipe

torch.set_num_threads(1)
loop.LOG_STEPS = 1
data, folder, recipe = Path(sys.argv[1]), Path(sys.argv[2]), Recipe.from_dict(json.loads(sys.argv[3]))
make = EpochBatches.__getitem__

def fail(self, index):
    if (self.epoch, self.first + index) == (1, 2):
        raise KeyboardInterrupt
    return make(self, index)

with joined("cpu"):
    loop.train(recipe, data, folder / "whole", workers=0)
    EpochBatches.__getitem__ = fail
    try:
        loop.train(recipe, data, folder / "parted", workers=0, save_seconds=0.0)
    except KeyboardInterrupt:
        EpochBatches.__getitem__ = make
        loop.train(recipe, data, folder / "parted", workers=0)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_people(folder, "train", 22, seed=1)  # two persons are too many for whole batches
    write_people(folder, "val", 3, seed=2)
    return folder


def run_two_processes(recipe: dict[str, Any], data: Path, folder: Path) -> Path:
    """What two processes write: a whole run, and one that was left."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = folder / "twice.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{TWICE}")
    ended = subprocess.run(
        [*command, str(script), str(data), str(folder), json.dumps(recipe)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture(scope="module")
def shared_runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_two_processes(RECIPE, data, tmp_path_factory.mktemp("shared"))


def steps_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]


def test_two_processes_learn_what_one_learns(
    data: Path, shared_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LOG_STEPS", 1)
    loop.train(Recipe.from_dict(RECIPE), data, tmp_path, workers=0)
    alone, shared = steps_of(tmp_path), steps_of(shared_runs / "whole")
    assert len(alone) == len(shared) == 8
    for one, other in zip(alone, shared, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert other["gradient"] == pytest.approx(one["gradient"], rel=1e-3)
        assert one["gradient"] > RECIPE["clip_norm"]
    model = start_run(Recipe.from_dict(RECIPE), tmp_path / "start", None, torch.device("cpu")).model
    start, weights = model.state_dict(), {name for name, _ in model.named_parameters()}
    expected, state = load_state(tmp_path / "last.pt"), load_state(shared_runs / "whole/last.pt")
    for part in ("model", "averaged"):
        moves = {
            name: ((value - start[name]).float().norm(), (state[part][name] - value).float().norm())
            for name, value in expected[part].items()
        }
        for name in set(moves) - weights:
            moved, apart = moves[name]
            assert apart <= 0.02 * moved + 1e-6, f"{part}: {name} is {apart} off, and moved by {moved}"
        # Weights all together: of a gradient that is mere noise Adam takes the sign, and a few entries go either way,
        # which makes 2.4 %. Processes that share nothing are a whole way apart.
        moved, apart = torch.tensor([moves[name] for name in weights]).norm(dim=0)
        assert apart <= 0.05 * moved, f"{part}: the weights are {apart} off, and moved by {moved}"


def test_one_process_writes(shared_runs: Path) -> None:
    """Each line once, the pictures and the best weights beside it."""
    written = {path.name for path in (shared_runs / "whole").iterdir()}
    assert {"last.pt", "best.safetensors", "log.jsonl", "steps.jsonl", "pictures", "recipe.json"} == written
    assert [json.loads(line)["epoch"] for line in (shared_runs / "whole/log.jsonl").read_text().splitlines()] == [1, 2]


def assert_same_state(folder: Path) -> None:
    state, expected = (load_state(folder / name / "last.pt") for name in ("parted", "whole"))
    for part in (state, expected):
        del part["progress"]["seconds"]
    torch.testing.assert_close(state, expected, rtol=0, atol=0)


def test_shared_run_resumes_to_the_bit(shared_runs: Path) -> None:
    assert_same_state(shared_runs)


def test_local_steps_are_those_of_two_runs_that_are_averaged(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four steps an epoch, averaged after the third and at the end; the other process alone, and the mean by hand."""
    recipe = Recipe.from_dict({**RECIPE, "local_steps": 3, "color": 0.0})
    shared = run_two_processes(recipe.to_dict(), data, tmp_path)
    assert_same_state(shared)

    monkeypatch.setattr(step, "agree", lambda run: None)
    skeleton = load_skeleton(recipe.skeleton, data)
    persons, images = load_training_set(recipe, data, skeleton, None)
    runs = [start_run(recipe, tmp_path / "alone", None, torch.device("cpu")) for _ in range(2)]
    for rank, run in enumerate(runs):
        run.processes = Processes(rank, rank, 2)
    for epoch in range(recipe.epochs):
        for number in range(4):
            for run in runs:
                set_mode(run)
                run.epoch, run.step = epoch, number
                rows = run.processes.rows(recipe.batch_size)
                batch = EpochBatches(persons, images, skeleton, recipe, epoch, number, rows)[0]
                step.train_step(run, batch, 4)
            if number >= 2:
                one, other = (
                    [run.model.state_dict(), *run.optimizer.state.values(), run.averaged.state] for run in runs
                )
                for mine, theirs in zip(one, other, strict=True):
                    for name, value in mine.items():
                        if value.is_floating_point():
                            theirs[name].copy_(value.copy_((value + theirs[name]) / 2))
    expected = load_state(shared / "whole/last.pt")
    torch.testing.assert_close(dict(runs[0].model.state_dict()), dict(expected["model"]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(runs[0].averaged.state, expected["averaged"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("count", "size"), [(1, 7), (2, 7), (3, 7), (4, 8), (7, 7)])
def test_rows_of_a_batch_are_shared_without_gap(count: int, size: int) -> None:
    rows = [list(range(size)[Processes(rank, 0, count).rows(size)]) for rank in range(count)]
    assert [row for part in rows for row in part] == list(range(size))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_more_processes_than_rows_are_refused() -> None:
    with pytest.raises(DataError, match="8 processes share a batch of 7: raise batch_size"):
        Processes(0, 0, 8).rows(7)


def test_names_of_weights_do_not_depend_on_the_processes() -> None:
    from transpose_sdk.trainers.processes import share_statistics

    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    names = list(model.state_dict())
    share_statistics(model, torch.device("cpu"))
    assert list(model.state_dict()) == names
    assert type(model[1]) is not nn.BatchNorm2d
