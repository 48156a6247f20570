"""`transpose explain` and `transpose run --attention` on an untrained network: the figure, the signals, the errors."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="figures need matplotlib: pip install transpose-sdk[explain]")

from transpose_sdk.bundles.bundle import open_bundle
from transpose_sdk.cli.main import main
from transpose_sdk.dependency import DependencyArea
from transpose_sdk.drawing.figure import explain_figure, save_figure
from transpose_sdk.errors import InputError, SinkError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.sources import open_source
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import COCO17

GRID = (8, 6)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An image of noise, 160x120 px."""
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8))
    return path


def figure_of(names: list[str], layers: int, image: np.ndarray, cell: tuple[int, int] = (2, 3)) -> object:
    """A figure of one person on the image whose joints all attend to one cell, 10 px wide."""
    grid = np.full(GRID, 1e-4, np.float32)
    grid[cell[1], cell[0]] = 0.9
    transform = np.array([[10.0, 0, 20], [0, 10, 20]])
    poses = Poses(
        keypoints=np.full((1, 17, 2), 60, np.float32),
        scores=np.ones((1, 17), np.float32),
        boxes=np.float32([[20, 20, 60, 80]]),
        person_scores=np.ones(1, np.float32),
        skeleton=COCO17,
    )
    areas = [DependencyArea(grid, transform, name, cell) for name in names]
    return explain_figure(image, poses, 0, {f"layer {n}": areas for n in range(1, layers + 1)}, title="title")


@pytest.mark.parametrize(
    ("count", "layers", "columns"),
    [
        (17, 1, 6),  # three rows of six
        (17, 3, 9),  # two rows of nine for each layer
        (2, 2, 3),  # a row a layer
        (1, 1, 2),
    ],
)
def test_panels_skeleton_first_then_one_a_joint(count: int, layers: int, columns: int) -> None:
    figure = figure_of(list(COCO17.names[:count]), layers, np.zeros((120, 160, 3), np.uint8))
    panels = [axes for axes in figure.axes if axes.images[0].get_array().shape[0] > 1]  # the scale is one px high
    assert len(panels) == layers * (1 + count)
    assert len({round(axes.get_position().x0, 4) for axes in panels}) == columns
    texts = [text.get_text() for text in figure.texts]
    assert texts.count("skeleton") == layers
    assert all(texts.count(name.replace("_", " ")) == layers for name in COCO17.names[:count])
    assert "layer 1" in texts and "title" in texts
    boxes = [axes.get_position() for axes in panels]  # nothing lies outside or on another panel
    assert all(0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_map_glows_at_its_cell_and_has_a_star_at_the_joint() -> None:
    figure = figure_of(["nose"], 1, np.zeros((120, 160, 3), np.uint8))
    drawn = np.asarray(figure.axes[1].images[0].get_array()).astype(int)
    step = drawn.shape[1] / GRID[1]
    glow, far = drawn[int(3.5 * step), int(2.5 * step)], drawn[int(7.5 * step), int(0.5 * step)]
    assert glow.sum() > far.sum() + 250
    star = drawn[int((60 - 15) / 10 * step), int((60 - 15) / 10 * step)]  # the joint, 4.5 cells from the corner
    assert (star == 255).all()


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to draw"):
        figure_of([], 1, np.zeros((9, 9, 3), np.uint8))


@pytest.mark.parametrize("name", ["figure.doc", "figure", "file.txt/figure.png"])
def test_figures_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("no folder")
    with pytest.raises(SinkError, match="figure"):
        save_figure(figure_of(["nose"], 1, np.zeros((9, 9, 3), np.uint8)), tmp_path / name)


@pytest.mark.parametrize("options", [[], ["--layers", "all", "--mode", "affected"], ["--layers", "1"]])
def test_explain_writes_figure_and_signals(
    options: list[str], tiny_bundle: Path, picture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = picture.parent / "new" / "figure.png"
    arguments = ["explain", str(picture), "--model", str(tiny_bundle), "--detector", "frame", "--device", "CPU"]
    assert main([*arguments, "--out", str(out), "--json", "-", *options]) == 0
    captured = capfd.readouterr()
    signals = json.loads(captured.out)
    assert tuple(signals) == COCO17.names
    for joint in signals.values():
        assert sum(joint[name] for name in ("joint", "limb", "mirror", "elsewhere")) == pytest.approx(1, abs=1e-3)
    assert min(cv2.imread(str(out)).shape[:2]) > 400
    assert "Traceback" not in captured.err


def test_a_bundle_and_its_checkpoint_give_the_same_signals(
    tiny_bundle: Path, picture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = open_bundle(tiny_bundle, "pose").graph("torch").path
    answers = []
    for network in (["--model", str(tiny_bundle), "--precision", "fp32"], ["--checkpoint", str(checkpoint)]):
        arguments = ["explain", str(picture), *network, "--detector", "frame", "--out", str(picture.parent / "f.svg")]
        assert main([*arguments, "--keypoints", "nose, left_wrist", "--json", "-"]) == 0
        answers.append(json.loads(capfd.readouterr().out))
    for name in COCO17.names:
        assert answers[0][name]["entropy"] == pytest.approx(answers[1][name]["entropy"], abs=2e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--person", "1"], ["no person 1", "hold 1"]),
        (["--person", "-1"], ["no person -1"]),
        (["--keypoints", "left_wing"], ["left_wing", "left_wrist"]),
        (["--layers", "2"], ["no layers '2'", "1..1"]),
        (["--layers", "first"], ["no layers 'first'"]),
        (["--threshold", "much"], ["no threshold 'much'", "0.01"]),
        (["--out", "figure.doc"], ["figure.doc", ".png"]),
        (["--model", "no_such_model"], ["no_such_model"]),
        (["--json", "picture.png/out.json"], ["picture.png/out.json"]),
    ],
)
def test_errors_are_one_sentence(
    arguments: list[str],
    words: list[str],
    tiny_bundle: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(picture.parent)
    defaults = ["explain", str(picture), "--model", str(tiny_bundle), "--detector", "frame", "--out", "figure.png"]
    assert main([*defaults, *arguments]) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("transpose: error: ")
    assert all(word in error for word in words)


def test_layers_of_a_bundle_without_its_network(
    tiny_bundle: Path, picture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare.tpose"
    bare.mkdir()
    for file in tiny_bundle.iterdir():
        (bare / file.name).write_bytes(file.read_bytes())
    description = json.loads((bare / "bundle.json").read_text())
    del description["graphs"]["torch"]
    (bare / "bundle.json").write_text(json.dumps(description))
    out = ["--detector", "frame", "--out", str(tmp_path / "f.png")]
    assert main(["explain", str(picture), "--model", str(bare), "--layers", "all", *out]) == 2
    assert "--layers last" in capfd.readouterr().err
    assert main(["explain", str(picture), "--model", str(bare), *out]) == 0


def test_run_draws_attention_on_the_video(tiny_bundle: Path, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (4, 120, 160, 3), np.uint8)
    folder = tmp_path / "in"
    folder.mkdir()
    for index, image in enumerate(pictures):
        cv2.imwrite(str(folder / f"{index}.png"), image)
    options = ["--model", str(tiny_bundle), "--detector", "frame", "--min-score", "0", "--quiet"]
    with PoseEstimator(tiny_bundle, "CPU", detector="frame") as estimator:  # untrained: some joints score below 0
        joint = COCO17.names[int(np.min([estimator(image).scores[0] for image in pictures], axis=0).argmax())]
    overlay = ["--attention", joint, "--attention-threshold", "1x"]
    assert main(["run", str(folder), *options, "--save", str(tmp_path / "plain")]) == 0
    assert main(["run", str(folder), *options, *overlay, "--save", str(tmp_path / "shown")]) == 0
    for plain, shown in zip(open_source(tmp_path / "plain"), open_source(tmp_path / "shown"), strict=True):
        assert (plain.image != shown.image).any(axis=2).mean() > 0.05


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--attention", "left_wing", "--save", "out.png"], ["left_wing", "left_wrist"]),
        (["--attention", "left_wrist"], ["--save"]),
        (["--attention", "left_wrist", "--attention-threshold", "-1", "--save", "out.png"], ["no threshold '-1'"]),
    ],
)
def test_run_refuses_what_it_cannot_draw(
    arguments: list[str], words: list[str], tiny_bundle: Path, picture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(picture), "--model", str(tiny_bundle), "--detector", "frame", *arguments]) == 2
    error = capfd.readouterr().err
    assert all(word in error for word in words)
    assert not Path("out.png").exists()
