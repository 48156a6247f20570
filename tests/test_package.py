"""What a program gets by importing and installing the package."""

from __future__ import annotations

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


def test_nothing_heavy_is_imported_by_the_runtime() -> None:
    code = (
        "import sys, transpose_sdk as tp; tp.PoseEstimator, tp.PoseStream, tp.PoseAnnotator;"
        f"print(*[name for name in {HEAVY} if name in sys.modules])"
    )
    assert run_python(code).split() == []


@pytest.mark.parametrize("name", tp.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(tp, name).__name__ == name if name not in ("COCO17", "MPII16") else len(getattr(tp, name)) > 15


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
    bundles = ("tp_m16_192x144", "tp_m16_256x192", "tp_m16_320x240", "person")
    for needed in ("py.typed", *(f"assets/{name}.tpose/bundle.json" for name in bundles)):
        assert f"transpose_sdk/{needed}" in names
    assert sum(size for name, size in sizes.items() if name.startswith("transpose_sdk/assets/")) <= 30e6
    assert "transpose_sdk/trainers/recipes/tp_m_128x96.yaml" in names
