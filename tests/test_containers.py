"""Places that nobody thought of: read-only disks, users without a home, displays out of reach, names of any bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_people import coco_file, write_people

from transpose_sdk.bundles.bundle import ASSETS, DEFAULT_MODEL
from transpose_sdk.cli.main import main
from transpose_sdk.errors import DataError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def read_only(tmp_path: Path) -> Path:
    """The package where nothing can be written beside it: a file stands in the place of every folder of caches."""
    shutil.copytree(
        ROOT / "transpose_sdk", tmp_path / "transpose_sdk", ignore=shutil.ignore_patterns("__pycache__", "assets")
    )
    (tmp_path / "transpose_sdk" / "assets").symlink_to(ASSETS)
    for folder in [path for path in (tmp_path / "transpose_sdk").rglob("*") if path.is_dir() and path.name != "assets"]:
        (folder / "__pycache__").write_text("")
    (tmp_path / "transpose_sdk" / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="the caches lie elsewhere on Windows")
def test_everything_works_without_a_cache(read_only: Path) -> None:
    home = str(read_only / "home" / "x")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA", "XDG", "TRANSPOSE"))}
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import logging, numpy as np, transpose_sdk as tp\n"
        "logging.basicConfig(format='%(message)s')\n"
        "assert tp.__file__.startswith(sys.argv[1]), tp.__file__\n"
        "crop = np.load(sys.argv[2])['crops'][0]\n"
        "with tp.PoseEstimator(device='CPU') as estimator:\n"
        "    print(len(estimator(np.pad(crop, ((40, 40), (40, 40), (0, 0))))))\n"
    )
    probe = str(ASSETS / f"{DEFAULT_MODEL}.tpose" / "probe.npz")
    result = subprocess.run(
        [sys.executable, "-c", script, str(read_only), probe],
        cwd=read_only,
        env=kept | {"HOME": home, "XDG_CACHE_HOME": home, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "1"
    assert result.stderr.count("compiled anew in each process") == 1


def test_a_damaged_cache_of_machine_code_is_made_again(tmp_path: Path) -> None:
    script = (
        "import logging, numpy as np\n"
        "from transpose_sdk.decoding import decode_dark\n"
        "logging.basicConfig(format='%(message)s')\n"
        "print(decode_dark(np.ones((1, 1, 8, 6), np.float32))[1])\n"
    )
    outputs = []
    for damaged in (False, True, False):
        for file in tmp_path.rglob("*.nb?") if damaged else ():
            file.write_bytes(file.read_bytes()[:5])
        result = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert result.returncode == 0, result.stderr
        assert ("damaged" in result.stderr) == damaged
        outputs.append(result.stdout)
    assert len(set(outputs)) == 1
    assert list(tmp_path.rglob("*.nbi"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows users have a home")
def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    from transpose_sdk.disk import user_folder

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("TRANSPOSE_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(user_folder.Path, "home", nowhere)
    assert user_folder.home().is_absolute()
    monkeypatch.setenv("TRANSPOSE_HOME", "~nobody_of_that_name/x")
    assert user_folder.home() == Path("~nobody_of_that_name/x")


@pytest.mark.skipif(sys.platform != "linux", reason="the screen is named so on Linux")
def test_a_display_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("PyQt6.QtWidgets", reason="the viewer needs PyQt6 and its libraries", exc_type=ImportError)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":987")
    assert main(["view"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("transpose: error: no window can be opened on DISPLAY=:987")
    assert error.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have names of characters alone")
def test_names_of_any_bytes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \xff"))
    folder.mkdir()
    picture = cv2.resize(np.load(ASSETS / f"{DEFAULT_MODEL}.tpose" / "probe.npz")["crops"][0], (192, 256))
    image = folder / os.fsdecode(b"ph\xf6to.png")
    image.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    options = ["--device", "CPU", "--detector", "frame"]
    outputs = [
        ("--save", "drawn"),
        ("--json", "o.json"),
        ("--jsonl", "l\udcff.jsonl"),
        ("--csv", "o.csv"),
        ("--openpose", "op"),
    ]
    arguments = [text for option, name in outputs for text in (option, str(folder / name))]
    assert main(["run", str(folder), *options, *arguments]) == 0
    assert "1 frames" in capfd.readouterr().err
    document = json.loads((folder / "o.json").read_text())
    assert document["source"]["name"] == str(folder)
    assert len(document["frames"][0]["people"]) == 1
    assert (folder / "drawn" / image.name).is_file()
    assert (folder / "l\udcff.jsonl").is_file()
    assert main(["run", str(image), *options, "--save", str(folder / "b.jpg")]) == 0
    assert main(["run", str(folder / "gone\udcff.png"), *options]) == 2
    assert (
        main(["bench", str(folder), *options, "--frames", "1", "--rounds", "1", "--json", str(folder / "b.json")]) == 0
    )
    assert json.loads((folder / "b.json").read_text())["source"]["name"] == str(folder)


def test_joints_that_no_skeleton_names(tmp_path: Path) -> None:
    """Twenty-one joints, of a hand: the sentence says which option names them."""
    pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")
    from transpose_sdk.trainers.loop import train_recipe

    content = write_people(tmp_path, "train", 2, seed=0)
    names = [f"joint_{number}" for number in range(21)]
    for person in content["annotations"]:
        person["keypoints"] = [value for k in range(21) for value in (20 + k, 30 + k, 2)]
    for categories in ([{"id": 1, "name": "hand", "keypoints": names}], [{"id": 1, "name": "hand"}]):
        document = coco_file(content["images"], content["annotations"]) | {"categories": categories}
        (tmp_path / "train.json").write_text(json.dumps(document))
        sets = ["train_annotations=train.json", "train_images=train", "val_annotations=train.json", "val_images=train"]
        with pytest.raises(DataError, match="--set skeleton=FILE"):
            train_recipe("tp_m16_192x144", sets, data=tmp_path, folder=tmp_path / "run")
