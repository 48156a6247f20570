"""The examples in docstrings and of the README are run, on a photo of two people and a clip of it; pages hold true."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import cv2
import pytest

import transpose_sdk

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("stream", "media", "drawing", "tracking")  # beside the files at the top: what a program imports


def examples() -> list[doctest.DocTest]:
    """Those of every docstring that has some."""
    modules = [name for _, name, _ in pkgutil.iter_modules(transpose_sdk.__path__)]
    for folder in FOLDERS:
        package = importlib.import_module(f"transpose_sdk.{folder}")
        modules += [f"{folder}.{name}" for _, name, _ in pkgutil.iter_modules(package.__path__)]
    found = []
    for name in modules:
        if name not in ("trainers", "apps", "models", "cli", "convert"):
            module = importlib.import_module(f"transpose_sdk.{name}")
            found += [test for test in doctest.DocTestFinder().find(module) if test.examples]
    return found


EXAMPLES = examples()


def test_what_users_call_has_an_example() -> None:
    names = {example.name.rpartition("transpose_sdk.")[2] for example in EXAMPLES}
    called = "estimator.PoseEstimator", "stream.pose_stream.PoseStream", "poses.Poses", "media.sources.open_source"
    methods = "estimator.PoseEstimator.__call__", "estimator.PoseEstimator.batch", "estimator.PoseEstimator.attention"
    pictures = "drawing.annotator.PoseAnnotator", "drawing.overlay.AttentionOverlay"
    files = "media.sinks.JsonSink", "media.sinks.CsvSink", "media.pictures.VideoSink"
    assert {*called, *methods, *pictures, *files} <= names


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the examples find their photo and their clip."""
    photo = cv2.imread(str(DATA / "park.jpg"))
    monkeypatch.chdir(tmp_path)
    for name in ("park.jpg", "street.jpg"):
        cv2.imwrite(name, photo)
    clip = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10.0, photo.shape[1::-1])
    for _ in range(3):
        clip.write(photo)
    clip.release()
    Path("clip.avi").rename("clip.mp4")  # a reader looks at the content
    return tmp_path


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_examples_say_what_happens(example: doctest.DocTest, files: Path) -> None:
    report: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=report.append)
    assert results.attempted and not results.failed, "".join(report)


def test_the_readmes_program_runs(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    exec(readme.partition("```python\n")[2].partition("```")[0], {})
    assert len(capsys.readouterr().out.splitlines()) >= 3
    assert (files / "out.mp4").stat().st_size > 1000
    assert len((files / "out.csv").read_text().splitlines()) == 1 + 3 * 2 * 17
    assert cv2.imread("out.jpg").shape == (540, 960, 3)


@pytest.mark.parametrize(("page", "lines"), [("video", 0), ("rtsp", 3), ("several_cameras", 6)])
def test_programs_of_the_quick_starts_run(
    page: str, lines: int, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the clip of three frames in the place of every camera."""
    text = (ROOT / "docs" / "start" / f"{page}.md").read_text(encoding="utf-8")
    program = text.partition("```python\n")[2].partition("```")[0]
    program = re.sub(r'"rtsp:[^"]*"|(?<="hall": )0', '"clip.mp4"', program)
    exec(program, {})
    assert len(capsys.readouterr().out.splitlines()) == lines
    assert page != "video" or cv2.imread("out.jpg").shape == (540, 960, 3)


def texts() -> list[str]:
    """All texts in the library's source; what is filled in is an X."""
    nodes = [
        node
        for path in (ROOT / "transpose_sdk").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ]
    filled = [node.values for node in nodes if isinstance(node, ast.JoinedStr)]
    plain = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    whole = ["".join(part.value if isinstance(part, ast.Constant) else "X" for part in parts) for parts in filled]
    return plain + whole


def test_troubleshooting_explains_messages_that_there_are() -> None:
    page = (ROOT / "docs" / "howto" / "troubleshooting.md").read_text(encoding="utf-8")
    entries = re.findall(r"^\*\*(`.*`)\*\*$", page, re.MULTILINE)
    messages = [message for entry in entries for message in re.findall(r"`([^`]+)`", entry)]
    assert len(messages) > 12
    known, missing = texts(), []
    for message in messages:
        # Words in capitals stand for what is filled in; what is fixed has to be together in one text.
        fixed = [re.escape(part) for part in re.split(r"\b[A-Z]{2,}\b|\bN\b", message)]
        pattern = re.compile(".*".join(fixed), re.DOTALL)
        if not any(pattern.search(text) for text in known):
            missing.append(message)
    assert missing == []


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]), ids=lambda path: path.name
)
def test_links_within_the_repository_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8"))
    made = {"commands.md"} | {f"{bundle.stem}.md" for bundle in (ROOT / "transpose_sdk" / "assets").glob("*.tpose")}
    assert [link for link in links if not (path.parent / link).exists() and Path(link).name not in made] == []
