"""What a program gets by importing and installing the package."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import zipfile
from importlib.metadata import metadata, version
from pathlib import Path

import pytest

import transpose_sdk as tp
from transpose_sdk.backends.choose import RUNTIMES

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "PyQt6", "nncf", "mediapipe", "tensorrt", "onnxruntime", "matplotlib", "pandas")


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout


def test_import_takes_under_half_a_second() -> None:
    code = "import time; start = time.perf_counter(); import transpose_sdk; print(time.perf_counter() - start)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.5


def test_the_package_alone_loads_nothing_but_names() -> None:
    third_party = ("numpy", "cv2", "numba", "scipy", "openvino", *HEAVY)
    code = f"import sys, transpose_sdk; print(*[name for name in {third_party} if name in sys.modules])"
    assert run_python(code).split() == []


def test_nothing_heavy_is_imported_by_the_runtime() -> None:
    code = (
        "import sys, transpose_sdk as tp; [getattr(tp, name) for name in tp.__all__];"
        f"print(*[name for name in {HEAVY} if name in sys.modules])"
    )
    assert run_python(code).split() == []


def test_every_name_is_there_for_programs_and_for_type_checkers() -> None:
    """Loaded by name, and imported where only type checkers look: both from the module that has it."""
    tree = ast.parse(Path(tp.__file__).read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = {alias.name: node.module for node in checked.body for alias in node.names}
    assert sorted(imports) == sorted(tp.__all__)
    for name, module in imports.items():
        assert getattr(tp, name) is getattr(importlib.import_module(module), name)
    assert set(tp.__all__) <= set(dir(tp))


def test_users_types_are_checked(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is a tool of developers: pip install 'transpose-sdk[lint]'")
    program = tmp_path / "program.py"
    program.write_text(
        "import transpose_sdk as tp\n"
        "tp.PoseEstimator(device='GPU.1', precision='int8')\n"
        "tp.PoseEstimator(precision='int9')\n"
        "def policy() -> tp.Policy: return 'newest'\n"
        "tp.AttentionOverlay('nose', mode='sideways')\n"
        "def people(poses: tp.Poses) -> int: return len(poses['nose']) + len(poses[0].to_dict())\n"
        "reveal_type(tp.PoseStream('a.mp4').source)\n"
    )
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", str(program)]
    lines = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    faults = [int(line.split(":")[1]) for line in lines if ": error:" in line]
    assert faults == [3, 4, 5], lines
    assert any("media.frames.Source" in line for line in lines)


def test_the_version_is_that_of_the_installed_package() -> None:
    assert tp.__version__ == version("transpose-sdk")


def test_unknown_names_raise_attribute_error() -> None:
    with pytest.raises(AttributeError, match="PoseEstimater"):
        _ = tp.PoseEstimater


def test_extras_that_messages_name_exist() -> None:
    extras = set(metadata("transpose-sdk").get_all("Provides-Extra", []))
    named = {extra for _, _, extra in RUNTIMES.values()}
    for folder in ("transpose_sdk", "trainers", "apps", "tests", "docs"):
        for file in (*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.md")):
            text = file.read_text(encoding="utf-8")
            named |= set(re.findall(r"transpose-sdk\[([a-z-]+)\]", text))
            named |= set(re.findall(r'import_extra\([^,)]+, "([a-z-]+)"\)', text))
    assert {"convert", "train", "viewer"} <= named <= extras


def test_wheel_has_one_top_level_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", str(ROOT), "--wheel-dir", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        sizes = {item.filename: item.file_size for item in archive.infolist()}
    names = list(sizes)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"transpose_sdk"}
    for terms in ("LICENSE", "NOTICE", "Apache-2.0.txt"):  # of the weights that others' work is in
        assert any(".dist-info/" in name and name.endswith(f"/{terms}") for name in names)
    bundles = ("tp_l_256x192", "tp_l_160x112", "tp_m16_192x144", "person")
    for needed in ("py.typed", *(f"assets/{name}.tpose/bundle.json" for name in bundles)):
        assert f"transpose_sdk/{needed}" in names
    assert sum(size for name, size in sizes.items() if name.startswith("transpose_sdk/assets/")) <= 30e6
    assert "transpose_sdk/trainers/recipes/tp_m_128x96.yaml" in names
