"""The `transpose` command: its frame, its errors, and `transpose run` with the shipped weights."""

from __future__ import annotations

import csv
import ctypes
import importlib
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from transpose_sdk.bundles.bundle import ASSETS, DEFAULT_MODEL
from transpose_sdk.cli import progress
from transpose_sdk.cli.interrupts import interrupts_kept
from transpose_sdk.cli.main import COMMANDS, main
from transpose_sdk.cli.progress import Progress
from transpose_sdk.media.sources import open_source

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-c", "import sys; from transpose_sdk.cli.main import main; sys.exit(main())"]


@pytest.fixture
def shipped() -> None:
    """The shipped weights, made by training; a fresh checkout before the first export has none."""
    if not any(ASSETS.glob("*.tpose")):
        pytest.skip("no bundle in transpose_sdk/assets")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve frames of a drawn person who fills them, 144x192 px at 10 fps."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (144, 192))
    probe = np.load(ASSETS / f"{DEFAULT_MODEL}.tpose" / "probe.npz")
    for _ in range(12):
        writer.write(cv2.resize(probe["crops"][0], (144, 192)))
    writer.release()
    return path


def test_help_lists_the_commands_at_once() -> None:
    script = (
        "import sys\nfrom transpose_sdk.cli.main import main\n"
        "try:\n    main(['--help'])\nfinally:\n"
        "    sys.stderr.write(' '.join(m for m in ('cv2', 'numba', 'openvino', 'torch') if m in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")  # nothing heavy was imported
    text = " ".join(result.stdout.split())  # argparse breaks lines
    assert all(f"{name} {summary}" in text for name, summary in COMMANDS)


@pytest.mark.parametrize("name", [name for name, _ in COMMANDS])
def test_every_command_has_its_module_and_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"transpose_sdk.cli.{name}")
    assert callable(module.run)
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    assert f"transpose {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--version"], 0, "transpose "),
        ([], 2, "COMMAND"),
        (["dance"], 2, "dance"),
        (["run"], 2, "SOURCE"),
        (["run", "x.mp4", "--max-frames", "0"], 2, "whole number from 1 on"),
        (["run", "x.mp4", "--stride", "two"], 2, "whole number from 1 on"),
    ],
)
def test_usage(arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    captured = capsys.readouterr()
    assert left.value.code == code
    assert words in captured.out + captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.mp4"], ["missing.mp4", "expected", "check"]),
        (["text.mp4"], ["text.mp4", "decoded"]),
        (["folder"], ["folder", "no images"]),
        (["clip.avi", "--start", "5", "--stop", "3"], ["start=5", "stop=3"]),
        (["clip.avi", "--model", "no_such_model"], ["no_such_model"]),
        (["clip.avi", "--save", "clip.avi"], ["--save clip.avi", "overwrite"]),
        (["clip.avi", "--json", "./folder/../clip.avi"], ["overwrite"]),
    ],
)
def test_errors_are_one_sentence_and_exit_code_2(
    arguments: list[str],
    words: list[str],
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(clip.parent)
    Path("folder").mkdir()
    Path("text.mp4").write_text("this is no video")
    assert main(["run", *arguments]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("transpose: error: ")
    assert captured.err.count("\n") == 1
    assert all(word in captured.err for word in words)
    assert cv2.VideoCapture(str(clip)).isOpened()  # the source was not touched


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "TOASTER"], ["TOASTER"]),
        (["--precision", "int3"], ["int3"]),
        (["--detector", "no_such_detector"], ["no_such_detector"]),
        (["--detector-score", "26"], ["26", "from 0 to 1"]),
        (["--save", "out.gif"], ["out.gif", "expected"]),
        (["--json", "text.mp4/out.json"], ["text.mp4/out.json"]),
    ],
)
def test_errors_with_the_shipped_weights(
    arguments: list[str],
    words: list[str],
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(clip.parent)
    Path("text.mp4").write_text("this is no video")
    assert main(["run", "clip.avi", *arguments]) == 2
    error = capfd.readouterr().err
    assert error.startswith("transpose: error: ")
    assert all(word in error for word in words)


def test_a_video_comes_through_stdin_and_goes_to_stdout(clip: Path, tmp_path: Path, shipped: None) -> None:
    program = "import sys; from transpose_sdk.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "run", "-", "--save", "-", "--detector", "frame", "--quiet"]
    result = subprocess.run(command, cwd=ROOT, input=clip.read_bytes(), capture_output=True, check=False, timeout=300)
    assert (result.returncode, result.stderr) == (0, b"")
    (tmp_path / "out.mkv").write_bytes(result.stdout)
    assert len(list(open_source(tmp_path / "out.mkv"))) == 12


@pytest.mark.usefixtures("shipped")
def test_run_writes_every_output(clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = clip.parent / "out"
    options = ["--flip", "--detector", "frame", "--start", "2", "--stride", "2", "--max-frames", "4", "--device", "CPU"]
    for option, name in [
        ("--save", "video.mp4"), ("--json", "poses.json"), ("--jsonl", "poses.jsonl"), ("--csv", "poses.csv"),
        ("--coco", "coco.json"), ("--openpose", "openpose"), ("--mot", "mot.txt"),
    ]:  # fmt: skip
        options += [option, str(out / name)]
    assert main(["run", str(clip), *options]) == 0
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "4 frames in" in captured.err
    assert "Traceback" not in captured.err

    document = json.loads((out / "poses.json").read_text())
    assert document["schema"] == "transpose-sdk/poses/1"
    assert document["source"]["name"] == str(clip)
    assert document["model"]["name"] == DEFAULT_MODEL
    assert document["model"]["flip_test"] is True
    indices = [entry["index"] for entry in document["frames"]]
    assert indices == [2, 4, 6, 8]
    assert [entry["time"] for entry in document["frames"]] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert [json.loads(line) for line in (out / "poses.jsonl").read_text().splitlines()] == document["frames"]
    people = sum(len(entry["people"]) for entry in document["frames"])
    assert people > 0  # the detector "frame" takes the whole frame for a person
    assert len(list(csv.DictReader((out / "poses.csv").open()))) == 17 * people
    assert len(json.loads((out / "coco.json").read_text())) == people
    assert len((out / "mot.txt").read_text().splitlines()) == people
    assert len(list((out / "openpose").glob("clip_*_keypoints.json"))) == 4
    frames = list(open_source(out / "video.mp4"))
    assert [frame.image.shape for frame in frames] == [(192, 144, 3)] * 4


@pytest.mark.usefixtures("shipped")
def test_run_without_outputs_writes_json_lines_to_stdout(clip: Path) -> None:
    arguments = ["run", str(clip), "--max-frames", "3", "--quiet"]
    result = subprocess.run(COMMAND + arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert [json.loads(line)["index"] for line in result.stdout.splitlines()] == [0, 1, 2]


@pytest.mark.usefixtures("shipped")
def test_a_reader_that_leaves_is_no_error(clip: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "run", str(clip), "--quiet"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 141
    process.stderr.close()


@pytest.mark.usefixtures("shipped")
def test_images_become_images(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (2, 60, 80, 3), np.uint8)
    folder = tmp_path / "in"
    folder.mkdir()
    for name, picture in zip(("b.png", "a.png"), pictures, strict=True):
        cv2.imwrite(str(folder / name), picture)
    assert main(["run", str(folder / "a.png"), "--save", str(tmp_path / "one.png"), "--quiet"]) == 0
    assert cv2.imread(str(tmp_path / "one.png")).shape == (60, 80, 3)
    assert main(["run", str(folder), "--save", str(tmp_path / "many"), "--quiet"]) == 0
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == ["a.png", "b.png"]
    assert main(["run", str(folder), "--save", str(folder), "--quiet"]) == 2  # would overwrite its own images


@pytest.mark.usefixtures("shipped")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child alone")
def test_interrupt_leaves_whole_files(shared: Path, tmp_path: Path) -> None:
    arguments = ["run", str(shared / "media" / "vtest.avi"), "--device", "CPU", "--quiet"]
    arguments += ["--json", str(tmp_path / "out.json"), "--save", str(tmp_path / "out.mp4")]
    process = subprocess.Popen(COMMAND + arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while '"index":1' not in (tmp_path / "out.json").read_text() if (tmp_path / "out.json").exists() else True:
        assert time.monotonic() < deadline, "no frame within a minute"
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in error
    frames = json.loads((tmp_path / "out.json").read_text())["frames"]
    assert 2 <= len(frames) < 795
    assert abs(len(list(open_source(tmp_path / "out.mp4"))) - len(frames)) <= 1


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "total", "words", "newlines"),
    [
        (_Terminal(), 10, ["\r2/10 frames", "2 people", " fps", "0:00 left"], 1),  # refreshed in place, ended once
        (_Terminal(), None, ["\r2 frames"], 1),
        (io.StringIO(), 10, ["2/10 frames"], 2),  # a log gets lines
    ],
)
def test_progress(
    stream: io.StringIO, total: int | None, words: list[str], newlines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "TERMINAL_INTERVAL", 0.0)
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0.0)
    with Progress(total, stream=stream) as line:
        line.update(1)
        line.update(2, dropped=3)
    assert (line.frames, line.people, line.dropped) == (2, 3, 3)
    assert all(word in stream.getvalue() for word in [*words, "3 dropped"])
    assert stream.getvalue().count("\n") == newlines


def test_quiet_progress_is_silent() -> None:
    stream = _Terminal()
    with Progress(3, quiet=True, stream=stream) as line:
        line.update(1)
    assert stream.getvalue() == ""


def test_ctrl_c_within_a_callback_from_c_is_not_lost() -> None:
    """Python ignores what is raised there, and numba's loading has such callbacks."""

    @ctypes.CFUNCTYPE(None)
    def callback() -> None:
        raise KeyboardInterrupt

    def wait() -> None:
        callback()
        time.sleep(10)

    with pytest.raises(KeyboardInterrupt), interrupts_kept():
        wait()
