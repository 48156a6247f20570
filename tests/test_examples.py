"""The examples and the notebook run from top to bottom on a clip, and say or write what they promise."""

from __future__ import annotations

import ast
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from transpose_sdk.media.sources import open_source

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
CLIP, PHOTO = ROOT / "tests" / "data" / "walker.mp4", ROOT / "tests" / "data" / "park.jpg"
FRAMES = 40  # of the clip

Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs an example in this process; what it printed."""

    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def in_window(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run an example that opens a window, in a process of its own and without a screen."""
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *map(str, arguments)]
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_examples_are_short_and_documented() -> None:
    assert len(EXAMPLES) >= 12
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    for path in EXAMPLES:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 80, path.name
        assert f"python examples/{path.name}" in (ast.get_docstring(ast.parse(text)) or ""), path.name
        assert f'--8<-- "examples/{path.name}"' in page, f"docs/examples.md lacks {path.name}"


def test_draw_and_save(run: Run, tmp_path: Path) -> None:
    assert run("draw_and_save", PHOTO, "--out", tmp_path / "out.jpg").endswith(": 2 people\n")
    drawn, plain = cv2.imread(str(tmp_path / "out.jpg")), cv2.imread(str(PHOTO))
    assert drawn.shape == plain.shape
    changed = (np.abs(drawn.astype(int) - plain).max(2) > 60).mean()
    assert 0.001 < changed < 0.1  # skeletons, and nothing else


def test_webcam_headless(run: Run) -> None:
    lines = [json.loads(line) for line in run("webcam_headless", CLIP).splitlines()]
    assert [line["index"] for line in lines] == list(range(FRAMES))
    assert sum(len(line["people"]) for line in lines) > FRAMES


def test_count_squats(run: Run, shared: Path) -> None:
    assert run("count_squats", shared / "media" / "squats.mp4").splitlines()[-1] == "2 squats"


def test_nobody_squats_who_walks(run: Run) -> None:
    assert run("count_squats", CLIP) == "0 squats\n"


def test_raised_hand_alarm(run: Run, shared: Path) -> None:
    alarms = run("raised_hand_alarm", shared / "media" / "two_people.mp4").splitlines()
    assert 1 <= len(alarms) <= 3 and all("raises the" in alarm for alarm in alarms)


def test_count_crossings(run: Run) -> None:
    pytest.importorskip("supervision", reason="supervision is not installed")
    # The walker goes from the right to the left of the clip and passes the line once; the man on the box stands.
    lines = run("count_crossings", CLIP, "--line", 0.62, 0, 0.62, 1).splitlines()
    assert sorted(map(int, lines[-1].replace(" in", "").replace(" out", "").split(", "))) == [0, 1]


def test_blur_faces(run: Run, tmp_path: Path) -> None:
    assert run("blur_faces", CLIP, "--out", tmp_path / "out.mp4").startswith(f"{FRAMES} frames")
    blur = runpy.run_path(str(ROOT / "examples" / "blur_faces.py"))
    import transpose_sdk as tp

    image = cv2.imread(str(PHOTO))
    poses = tp.PoseEstimator()(image)
    blurred = blur["blur"](image, poses)
    for nose in poses["nose"].round().astype(int).tolist():
        face = (slice(nose[1] - 4, nose[1] + 5), slice(nose[0] - 4, nose[0] + 5))
        assert cv2.Laplacian(blurred[face], cv2.CV_64F).std() < 0.5 * cv2.Laplacian(image[face], cv2.CV_64F).std()
    assert (blurred != image).any(axis=2).mean() < 0.05


def test_plot_gait(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    said = run("plot_gait", CLIP, "--out", tmp_path / "gait.png")
    assert 100 < float(said.partition(" px")[0].split()[-1]) < 640  # the way of who walks, not of who stands
    assert cv2.imread(str(tmp_path / "gait.png")).std() > 5


def test_explain_joint(run: Run, tmp_path: Path) -> None:
    said = run("explain_joint", PHOTO, "--joint", "left_ankle", "--out", tmp_path / "out.jpg").splitlines()
    attention = [float(line.split()[0]) for line in said]
    assert len(attention) == 5 and attention == sorted(attention, reverse=True)
    assert (cv2.imread(str(tmp_path / "out.jpg")) != cv2.imread(str(PHOTO))).any()


def test_own_detector(run: Run, tmp_path: Path) -> None:
    said = run("own_detector", CLIP, "--out", tmp_path / "out.mp4")
    assert int(said.split()[0]) >= 1  # the walker
    assert (tmp_path / "out.mp4").stat().st_size > 10_000


def test_own_filter(run: Run, tmp_path: Path) -> None:
    said = run("own_filter", CLIP, "--out", tmp_path / "out.mp4")
    assert 0 < float(said.split(" px")[0].split()[-1]) < 10
    with open_source(tmp_path / "out.mp4") as video:
        assert sum(1 for _ in video) / video.fps == pytest.approx(FRAMES / 15)


@pytest.mark.parametrize("name", ["webcam_window", "embed_viewer"])
def test_windows_open_play_and_close(name: str) -> None:
    pytest.importorskip("PyQt6.QtWidgets", reason="PyQt6 or its system libraries are not installed")
    done = in_window(name, CLIP)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_the_notebook_runs() -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    notebook = nbformat.read(ROOT / "examples" / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not kept in the repository"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT / "examples")}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert "(2, 17, 2)" in json.dumps(outputs)
