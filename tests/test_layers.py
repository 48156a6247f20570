"""The house stands: imports read from the source, no arrow up, no circle, one word for one thing.

docs/architecture.md draws the same floors.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Where a package's files lie: trainers and apps are installed inside transpose_sdk, see setup.py.
HOMES = {"transpose_sdk": "transpose_sdk", "transpose_sdk.trainers": "trainers", "transpose_sdk.apps": "apps"}

# From top to bottom; a folder or a file imports from its own floor or from one below.
FLOORS = (
    ("cli", "apps"),
    ("trainers", "diagnostics"),
    ("stream",),
    ("estimator",),
    ("convert",),
    ("detectors",),
    ("backends",),
    ("bundles",),
    ("models", "media"),
    ("topdown", "tracking", "drawing"),
    # The vocabulary: NumPy and numba only.
    ("signals",),
    ("dependency", "boxes"),
    ("poses",),
    ("attention", "oks"),
    ("crops", "decoding", "skeletons", "scores"),
    # The ground.
    ("checks", "backend", "compiled", "lifetime", "disk"),
    ("arrays", "errors"),
    ("without_secrets",),
)
VOCABULARY = ("signals", "dependency", "boxes", "poses", "attention", "oks", "crops", "decoding", "skeletons", "scores")
FLOOR = {name: number for number, names in enumerate(reversed(FLOORS)) for name in names}

# What a function imports of ours: the package that it needs is an extra, or it is a command's own.
LAZY = {
    ("transpose_sdk.backends.onnx_graph", "transpose_sdk.models"): "torch, for a graph that the bundle lacks",
    ("transpose_sdk.backends.onnx_graph", "transpose_sdk.models.deployed"): "as above",
    ("transpose_sdk.convert.export", "transpose_sdk.convert.quantize"): "nncf, for INT8",
}
COMMANDS = ("transpose_sdk.cli.", "transpose_sdk.trainers.detector.__main__")

# Modules of one name beside the commands, which are called as what they do.
SAME_NAME = {
    "worker": "a thread that works for others: for a device that takes one caller, and for the viewer's window",
    "export": "a trained network becomes a bundle: a pose network's, and the detector's",
    "augmentation": "of the training of pose networks, and of the detector",
    "targets": "of the training of pose networks, and of the detector",
    "loop": "of the training of pose networks, and of the detector",
}
LONGEST = 350  # lines
AT_THE_TOP = 18  # files beside __init__.py


@cache
def modules() -> dict[str, Path]:
    """All files of the packages by the name that they are imported by."""
    found = {}
    for package, folder in HOMES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(name: str, node: ast.AST) -> list[str]:
    """Modules of ours that a statement of the module `name` imports."""
    known = modules()
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.startswith("transpose_sdk")]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        package = name.split(".") if known[name].name == "__init__.py" else name.split(".")[:-1]
        base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
    if not base.startswith("transpose_sdk"):
        return []
    return [each if each in known else base for each in (f"{base}.{alias.name}" for alias in node.names)]


@cache
def imports() -> tuple[tuple[str, str, bool], ...]:
    """(importing module, imported module, whether within a function), those for types alone too."""

    def walk(name: str, node: ast.AST, within: bool) -> Iterator[tuple[str, str, bool]]:
        for child in ast.iter_child_nodes(node):
            yield from ((name, other, within) for other in imported(name, child))
            yield from walk(name, child, within or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    return tuple(edge for name, path in modules().items() for edge in walk(name, tree(path), False))


def room(module: str) -> str:
    """The folder or file of a module below transpose_sdk; "" for transpose_sdk itself."""
    return (module.split(".") + [""])[1]


def test_every_room_has_its_floor() -> None:
    assert {room(name) for name in modules()} - {""} == set(FLOOR)
    assert len(imports()) > 500  # they are read at all


def test_what_is_imported_is_there() -> None:
    """Mypy lets a module that it does not find pass, since extras may be missing."""
    assert sorted({f"{name} -> {other}" for name, other, _ in imports() if other not in modules()}) == []


def test_no_arrow_points_up() -> None:
    up = [
        f"{name} -> {other}"
        for name, other, _ in imports()
        if room(name) and room(other) and FLOOR[room(other)] > FLOOR[room(name)]
    ]
    assert up == []


def test_nobody_imports_the_front_door() -> None:
    assert [
        name for name, other, _ in imports() if other == "transpose_sdk" and not name.startswith("transpose_sdk.cli")
    ] == []


@pytest.mark.parametrize("rooms", [True, False])
def test_no_circle(rooms: bool) -> None:
    """Neither of rooms nor of files."""
    below: dict[str, set[str]] = defaultdict(set)
    for name, other, _ in imports():
        start, end = (room(name), room(other)) if rooms else (name, other)
        if start != end and start and end:
            below[start].add(end)
    done: set[str] = set()

    def visit(place: str, way: tuple[str, ...]) -> None:
        assert place not in way, " -> ".join((*way[way.index(place) :], place))
        if place not in done:
            for other in below[place]:
                visit(other, (*way, place))
            done.add(place)

    for place in list(below):
        visit(place, ())


def test_the_vocabulary_needs_numpy_and_numba_alone() -> None:
    for name in VOCABULARY:
        for node in ast.walk(tree(modules()[f"transpose_sdk.{name}"])):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for each in names:
                assert each.split(".")[0] not in ("torch", "openvino", "onnxruntime", "PyQt6"), (name, each)


def test_imports_within_functions_wait_for_an_extra() -> None:
    found = {(name, other) for name, other, within in imports() if within and not name.startswith(COMMANDS)}
    assert found == set(LAZY)


def test_no_second_class_of_a_name() -> None:
    classes = defaultdict(list)
    for name, path in modules().items():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(name)
    assert {name: places for name, places in classes.items() if len(places) > 1} == {}


def test_no_second_module_of_a_name() -> None:
    places = defaultdict(list)
    for name, path in modules().items():
        if path.stem not in ("__init__", "__main__") and not name.startswith("transpose_sdk.cli."):
            places[path.stem].append(name)
    assert {name for name, found in places.items() if len(found) > 1} == set(SAME_NAME)
    rooms = {room(name) for name, path in modules().items() if path.name == "__init__.py"} - {""}
    assert rooms & set(places) == set()


def test_files_have_one_import_name() -> None:
    bare = [
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("transpose_sdk", "trainers", "apps", "tests", "examples")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(tree(path))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
        if name.split(".")[0] in ("trainers", "apps", "tests", "examples")
    ]
    assert bare == []


def test_the_library_does_not_print() -> None:
    printing = [
        name
        for name, path in modules().items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_sizes() -> None:
    top = [path.name for path in (ROOT / "transpose_sdk").glob("*.py") if path.name != "__init__.py"]
    assert len(top) <= AT_THE_TOP, sorted(top)
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}
