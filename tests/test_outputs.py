"""What commands write: nothing that they read, nothing twice, and never half of what was there before."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from transpose_sdk.bundles.bundle import ASSETS, DEFAULT_MODEL
from transpose_sdk.cli.main import main
from transpose_sdk.cli.outputs import Output, check_outputs
from transpose_sdk.disk.whole_file import whole_file
from transpose_sdk.errors import InputError, SinkError
from transpose_sdk.media.files import write_whole
from transpose_sdk.media.sinks import CsvSink, JsonSink, MotSink
from transpose_sdk.skeletons import COCO17

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-c", "import sys; from transpose_sdk.cli.main import main; sys.exit(main())"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures of a drawn person, where the test stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    crop = np.load(ASSETS / f"{DEFAULT_MODEL}.tpose" / "probe.npz")["crops"][0]
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(tmp_path / "in" / name), crop)
    return tmp_path


# Files of their own ---------------------------------------------------------------------------------------------------


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.json"
    path.write_text("mine")
    usual = Path.write_bytes

    def half(self: Path, data: bytes) -> int:
        usual(self, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(SinkError, match="No space left"):
        write_whole(path, b"yours")
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "folder").mkdir()
    with pytest.raises(SinkError):
        write_whole(tmp_path / "folder", b"yours")
    assert (tmp_path / "folder").is_dir()


def test_what_may_not_be_written_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.json"
    path.write_text("mine")
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for users who are not root
    with pytest.raises(SinkError, match="Permission denied"):
        write_whole(path, b"yours")
    assert path.read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither modes nor these links")
def test_mode_links_and_devices_are_kept(tmp_path: Path) -> None:
    path, link = tmp_path / "mine.json", tmp_path / "link.json"
    path.write_text("mine")
    path.chmod(0o640)
    link.symlink_to("mine.json")
    write_whole(link, b"yours")
    assert link.is_symlink()
    assert path.read_text() == "yours"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    write_whole(Path(os.devnull), b"yours")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)  # noqa: PTH116 - the device, not a path of ours
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((tmp_path / "pipe").read_bytes)
        write_whole(tmp_path / "pipe", b"yours")
        assert read.result(10) == b"yours"
    write_whole(tmp_path / ("n" * 250), b"long")  # no room for a longer name beside it
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.json", "mine.json", "n" * 250, "pipe"]


def test_writers_in_one_thread_do_not_share_an_unfinished_file(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as one, whole_file(tmp_path / "a") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a").read_text() == "one"


# Inputs and outputs ---------------------------------------------------------------------------------------------------


def hard_link(folder: Path) -> str:
    os.link(folder / "clip.avi", folder / "other.avi")
    return "other.avi"


def link(folder: Path) -> str:
    (folder / "other.avi").symlink_to("clip.avi")
    return "other.avi"


@pytest.mark.parametrize("name", [lambda _: "clip.avi", lambda _: "./x/../clip.avi", hard_link, link])
@pytest.mark.parametrize("given", ["clip.avi", "file://{}/clip.avi", "file:{}/cl%69p.avi"])
def test_an_input_is_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, name: Callable[[Path], str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.avi").write_bytes(b"video")
    (tmp_path / "x").mkdir()
    with pytest.raises(InputError, match=r"would overwrite .*clip\.avi, which is read"):
        check_outputs([Output("--json", name(tmp_path))], [given.format(tmp_path)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Output("--json", "out"), Output("--csv", "out")),
        (Output("--json", "out"), Output("--csv", "./x/../out")),
        (Output("--json", "-"), Output("--csv", "-")),
        (Output("--json", "x"), Output("--csv", "linked")),
        (Output("--json", "x/new"), Output("--csv", "linked/new")),
        (Output("--json", "x"), Output("--save", "x", re.compile(".*jpg"))),
        (Output("--save", "x", re.compile(".*jpg")), Output("--json", "linked/1.jpg")),
    ],
)
def test_two_outputs_are_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: Output, other: Output) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "linked").symlink_to("x")
    for pair in ((one, other), (other, one)):
        with pytest.raises(InputError, match=r"are one file|is a folder"):
            check_outputs(pair, [])


def test_harmless_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.avi").write_bytes(b"video")
    outputs = [
        Output("--save", "out", re.compile(r"\d{6}\.jpg")), Output("--openpose", "out", re.compile("_keypoints")),
        Output("--json", "out/1.jpg"), Output("--csv", os.devnull), Output("--mot", os.devnull),
    ]  # fmt: skip
    check_outputs(outputs, ["clip.avi", "0", "rtsp://host/x", "~nobody/x", "x" * 9999, "a\0b"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", ""], "the source is an empty text"),
        (["run", "in", "--json", ""], "--json has an empty name"),
        (["run", "in", "--save", " "], "--save has an empty name"),
        (["run", "in", "--openpose", "-"], "on stdout"),
        (["run", "in", "--save", "in"], "would overwrite"),
        (["run", "in", "--json", "hard.png"], "would overwrite"),
        (["run", "in", "--json", "o.json", "--coco", "o.json"], "are one file"),
        (["run", "in", "--json", "-", "--csv", "-"], "are one file"),
        (["run", "in", "--start", "3"], "gave no frame from frame 3 on"),
        (["run", "in", "--model", "m.tpose", "--json", "m.tpose/bundle.json"], "would overwrite"),
        (["bench", "in", "--json", "in/a.png"], "would overwrite"),
        (["explain", "in/a.png", "--out", "hard.png"], "would overwrite"),
        (["explain", "in/a.png", "--out", "x.png", "--json", "x.png"], "are one file"),
        (["eval", "--coco", "ann.json", "--images", "in", "--json", "ann.json"], "would overwrite"),
        (["eval", "--coco", "ann.json", "--images", "in", "--page", "hard.png"], "would overwrite"),
        (["export", "m.tpose/c.pth", "--out", "m.tpose"], "would be replaced"),
        (["export", "in/a.pth", "--out", "in/a.png/b.tpose"], "cannot go to"),
        (["run", "in", "--json", "in/a.png/o.json"], "cannot be written, because of"),
        (["run", "in", "--json", "m.tpose"], "is a folder"),
        (["run", "in", "--openpose", "hard.png"], "is no folder"),
        (["eval", "--coco", "ann.json", "--images", "in", "--json", "hard.png/o.json"], "cannot be written, be"),
        (["bench", "--json", "hard.png/o.json"], "cannot be written, because of"),
        (["train", "tp_r_a3_coco", "--data", "in", "--out", "hard.png/run"], "the run cannot go to"),
        (["train", "tp_r_a3_coco", "--data", "in", "--out", "x", "--threads", "-2"], "threads=-2"),
        (["train", "tp_r_a3_coco", "--data", "in", "--out", "x", "--workers", "-2"], "--workers -2"),
        (["train", "tp_r_a3_coco", "--data", "in", "--out", "x", "--set", "lr=[1"], "--set lr is not YAML"),
    ],
)  # fmt: skip
def test_refused_before_the_work(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    if arguments[0] in ("explain", "eval", "export", "train"):
        pytest.importorskip("torch", reason="this command needs torch")
    os.link("in/a.png", "hard.png")
    Path("m.tpose").mkdir()
    Path("m.tpose/bundle.json").write_text("{}")
    person = {"image_id": 1, "bbox": [0, 0, 9, 9], "keypoints": [5, 5, 2] * 17}
    images, people = [{"id": 1, "file_name": "a.png"}], [person, {**person, "bbox": [9, 9, 9, 9]}]
    Path("ann.json").write_text(json.dumps({"images": images, "annotations": people}))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(arguments) == 2
    captured = capfd.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert {path: path.read_bytes() for path in before} == before


def test_texts_go_to_stdout(folder: Path) -> None:
    arguments = [*COMMAND, "run", "in", "--device", "CPU", "--detector", "frame", "--quiet"]
    for option in ("--json", "--coco", "--jsonl", "--csv", "--mot"):
        result = subprocess.run([*arguments, option, "-"], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr) == (0, "")
        if option == "--json":
            assert len(json.loads(result.stdout)["frames"]) == 3
        elif option == "--coco":
            assert len(json.loads(result.stdout)) == 3
        else:
            assert result.stdout.count("\n") == {"--jsonl": 3, "--csv": 1 + 3 * 17, "--mot": 3}[option]
    assert sorted(path.name for path in folder.iterdir()) == ["in"]


def test_streams_are_lent() -> None:
    for make in (CsvSink, MotSink, lambda stream: JsonSink(stream, source="x", model="m", skeleton=COCO17)):
        stream = io.BytesIO()
        sink = make(stream)
        sink.close()
        sink.close()
        assert not stream.closed
    assert json.loads(stream.getvalue())["frames"] == []


def test_openpose_files_of_an_earlier_run_go(folder: Path) -> None:
    arguments = ["run", "in/a.png", "--openpose", "out", "--device", "CPU", "--detector", "frame", "--quiet"]
    Path("out").mkdir()
    old, others = Path("out/a_000000000009_keypoints.json"), ["a_1_keypoints.json", "b_000000000009_keypoints.json"]
    for name in (old.name, *others):
        Path("out", name).write_text("{}")
    assert main(arguments) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(["a_000000000000_keypoints.json", *others])


def test_pictures_of_an_earlier_run_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    Path("out").mkdir()
    for name in ("000009.jpg", "a.png", "mine.jpg"):
        Path("out", name).write_bytes(b"old")
        os.utime(Path("out", name), (1, 1))
    frames = ["run", "in", "--save", "out", "--device", "CPU", "--detector", "frame", "--stop", "2"]
    assert main(frames) == 0
    assert not caplog.records
    Path("out/c.png").write_bytes(b"old")
    os.utime("out/c.png", (1, 1))
    assert main(frames) == 0
    assert "holds 1 older files among the new ones, the first is c.png" in caplog.text
    assert Path("out/c.png").read_bytes() == b"old"


# Signals --------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_leave_outputs_that_agree(folder: Path, name: str) -> None:
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (192, 256))
    picture = cv2.resize(cv2.imread("in/a.png"), (192, 256))
    for _ in range(900):
        writer.write(picture)
    writer.release()
    outputs = [*COMMAND, "run", "clip.avi", "--device", "CPU", "--detector", "frame"]
    for option, file in (("--save", "o.mp4"), ("--json", "o.json"), ("--jsonl", "o.jsonl"), ("--mot", "o.txt")):
        outputs += [option, file]
    process = subprocess.Popen(outputs, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not Path("o.jsonl").exists() or Path("o.jsonl").read_text().count("\n") < 5:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(getattr(signal, name))
    process.send_signal(getattr(signal, name))  # a terminal that closes says it twice
    _, error = process.communicate(timeout=30)
    assert process.returncode == 128 + getattr(signal, name)
    assert "Traceback" not in error
    assert f"ended by {name}" in error
    count = len(json.loads(Path("o.json").read_text())["frames"])
    assert 5 <= count < 900
    assert Path("o.jsonl").read_text().count("\n") == count
    capture = cv2.VideoCapture("o.mp4")
    assert sum(iter(capture.grab, False)) == count


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    script = (
        "import os, signal, time\n"
        "from transpose_sdk.cli import interrupts\n"
        "interrupts.ECHO = 0.0\n"
        "with interrupts.interrupts_kept(), interrupts.undisturbed():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('held', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('never', flush=True)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (-signal.SIGTERM, "held\n")


def test_handlers_are_given_back_and_other_threads_have_none() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(["run", "no_such_file.mp4", "--quiet"])))
    thread.start()
    thread.join()
    assert codes == [2]
    assert main(["run", "no_such_file.mp4", "--quiet"]) == 2
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
