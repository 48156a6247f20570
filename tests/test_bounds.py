"""Files that are small, hostile or damaged: a sentence, before memory is taken, and never another exception."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transpose_sdk.bundles.bundle import ASSETS, DEFAULT_MODEL, FILE, SCHEMA, open_bundle
from transpose_sdk.bundles.external_data import external_files
from transpose_sdk.bundles.installed import installed
from transpose_sdk.bundles.probe import Probe
from transpose_sdk.checks.small_file import read_small
from transpose_sdk.cli.main import main
from transpose_sdk.disk.digest import file_digest
from transpose_sdk.disk.kept_file import is_sound, keep
from transpose_sdk.errors import BundleError, CheckpointError, DataError, InputError, SourceError, TransposeError
from transpose_sdk.media.image_file import read_image
from transpose_sdk.media.image_size import image_size
from transpose_sdk.media.sources import open_source
from transpose_sdk.skeletons import COCO17, Skeleton

ROOT = Path(__file__).resolve().parents[1]
# A few seconds each, the same in every run.
FEW = settings(max_examples=60, deadline=None, derandomize=True)
SHIPPED = ASSETS / f"{DEFAULT_MODEL}.tpose"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def peak_memory(script: str, *arguments: str) -> tuple[str, float]:
    """What a script prints, and by how many MiB its process grew beyond what it has at the word `begin()`."""
    if sys.platform == "win32":
        pytest.skip("Windows does not count a process's memory that way")
    head = (
        "import resource, sys\n"
        "unit = 1024 if sys.platform == 'linux' else 2**20\n"
        "def used():\n    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit\n"
        "def begin():\n    global before\n    before = used()\n"
    )
    code = f"{head}{script}\nprint(used() - before)"
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    *words, grown = result.stdout.strip().splitlines()
    return "\n".join(words), float(grown)


# Images ---------------------------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """A PNG of one colour whose every pixel is there, some hundred times smaller than what it stands for."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeezed = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    body = b"".join(squeezed.compress(row) for _ in range(height)) + squeezed.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_small_picture_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(40000, 30000))
    assert (tmp_path / "bomb.png").stat().st_size < 300_000
    script = (
        "from transpose_sdk.media.image_file import read_image\n"
        "from transpose_sdk.errors import SourceError\nfrom pathlib import Path\nbegin()\n"
        "try:\n    read_image(Path(sys.argv[1]))\nexcept SourceError as error:\n    print(error)"
    )
    words, grown = peak_memory(script, str(tmp_path / "bomb.png"))
    assert "claims 40000x30000 px, more than the 200 million" in words
    assert grown < 100


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff", ".bmp", ".ppm", ".pgm", ".jp2"])
@pytest.mark.parametrize("size", [(37, 53), (40, 300)])
def test_headers_tell_the_size(suffix: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, size if suffix == ".pgm" else (*size, 3), np.uint8)
    found, data = cv2.imencode(suffix, picture)
    assert found
    assert image_size(data.tobytes()) == size


@FEW
@given(st.sampled_from([".png", ".jpg", ".webp", ".tiff", ".bmp", ".ppm", ".jp2"]), st.data())
def test_damaged_pictures_are_told(tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject) -> None:
    content = bytearray(cv2.imencode(suffix, np.full((40, 60, 3), 90, np.uint8))[1].tobytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(80, len(content) - 1)))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)))]
    path = tmp_path_factory.mktemp("images") / f"a{suffix}"
    path.write_bytes(content)
    try:
        picture = read_image(path)
    except SourceError as error:
        assert str(path) in str(error)
    else:
        assert picture.ndim == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_among_files_is_no_file(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9, 3), np.uint8))
    os.mkfifo(tmp_path / "b.png")
    with open_source(tmp_path) as source:
        assert [frame.index for frame in source] == [0]
        assert [path.name for path in source.skipped] == ["b.png"]
    (tmp_path / "c.tpose").mkdir()
    os.mkfifo(tmp_path / "c.tpose" / FILE)
    with pytest.raises(BundleError, match="no regular file"):
        open_bundle(tmp_path / "c.tpose", "pose")
    with pytest.raises(OSError, match="no regular file"):
        read_small(tmp_path / "b.png")
    with pytest.raises(OSError, match="more than 0 MiB"):
        read_small(tmp_path / "a.png", 10)


@pytest.mark.parametrize("name", ["a\0b.png", "\ud800.png", "n" * 5000])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(SourceError):
        read_image(Path(name))
    with pytest.raises(TransposeError):
        open_source(name)


@pytest.mark.parametrize("camera", [-1, -(10**30), 10**30, "9" * 5000, 10**9])
def test_numbers_that_no_camera_has(camera: int | str) -> None:
    with pytest.raises(TransposeError):
        open_source(camera)


# Bundles --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def described() -> dict[str, Any]:
    """What the shipped bundle says."""
    return json.loads((SHIPPED / FILE).read_text())


def written(folder: Path, description: Any) -> Path:
    folder.mkdir(exist_ok=True)
    text = description if isinstance(description, str) else json.dumps(description)
    (folder / FILE).write_text(text)
    return folder


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/tmp/x", "a/b", "a\\b", "a:b", "a\n", "a\0b", ".hidden", "x" * 101, 5, None, ["a"], "-x"],
)
def test_names_that_lead_elsewhere(tmp_path: Path, described: dict[str, Any], name: Any) -> None:
    with pytest.raises(BundleError, match="name"):
        open_bundle(written(tmp_path / "a.tpose", {**described, "name": name}), "pose")


@pytest.mark.parametrize(
    "change",
    [
        {"input_size": ["256", "192"]}, {"input_size": [True, True]}, {"input_size": [256.5, 192]},
        {"input_size": [256, 0]}, {"input_size": [10**9, 192]}, {"input_size": [256]}, {"schema": True},
        {"score_threshold": -5}, {"score_threshold": "high"}, {"graphs": []},
        {"graphs": {"fp16": {"path": "a.pdmodel", "sha256": {}}}},
        {"graphs": {"fp16": {"path": "../a.xml", "sha256": {}}}}, {"attention": {"grid": [0, 5]}},
        {"network": {"layers": 10**6}}, {"occlusion": {"weights": [1], "threshold": 1}},
        {"skeleton": {**asdict(COCO17), "sigmas": [0.0] * 17}}, {"skeleton": {**asdict(COCO17), "names": ["a"] * 17}},
        {"skeleton": {**asdict(COCO17), "flip_pairs": [[1, 2], [2, 3]]}},
        {"skeleton": {**asdict(COCO17), "sigmas": [int("1" + "0" * 400)] * 17}},
    ],
)  # fmt: skip
def test_nonsense_in_bundles(tmp_path: Path, described: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(BundleError):
        open_bundle(written(tmp_path / "a.tpose", described | change), "pose")


@FEW
@given(st.data())
@example(None)
def test_whatever_a_bundle_says(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject | None) -> None:
    """Any value of another kind anywhere is a BundleError, and `models list` and `doctor` go on."""
    description = json.loads((SHIPPED / FILE).read_text())
    if data is None:
        text = "[" * 100_000
    else:
        place, value = description, data.draw(JSON)
        while True:
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
                break
            place = inner
        place[key] = value
        text = json.dumps(description)
    folder = written(tmp_path_factory.mktemp("fuzz") / "a.tpose", text)
    try:
        bundle = open_bundle(folder, "pose")
        for graph in bundle.graphs:
            bundle.graph(graph)
    except BundleError:
        pass


def test_one_bad_bundle_spoils_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, described: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRANSPOSE_HOME", str(tmp_path))
    models = tmp_path / "models"
    models.mkdir()
    contents = ("[" * 99999, "\x00", {**described, "input_size": None}, {**described, "name": ".."})
    for number, content in enumerate(contents):
        written(models / f"bad{number}.tpose", content)
    entries = {entry.name: entry for entry in installed()}
    assert entries[DEFAULT_MODEL].bundle is not None
    assert all(entries[f"bad{number}"].bundle is None for number in range(4))
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out.count("damaged: ") == 4
    assert main(["doctor", "bad2", "bad3"]) == 1
    assert capsys.readouterr().out.count("fails: ") == 2


def onnx_with(location: str) -> bytes:
    """A model of one tensor that lies in another file, as protocol buffers have it."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2]) + bytes([len(content)]) + content

    entry = field(1, b"location") + field(2, location.encode())
    tensor = bytes([13 << 3 | 2, len(entry)]) + entry
    return b"\x08\x08" + field(7, field(5, tensor))


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/passwd"])
def test_a_graph_reads_no_file_without_a_digest(tmp_path: Path, described: dict[str, Any], location: str) -> None:
    folder = tmp_path / "a.tpose"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(onnx_with(location))
    (folder / "weights.bin").write_bytes(b"weights")
    assert external_files(folder / "m.onnx") == {location}
    graph = {"path": "m.onnx", "sha256": {"m.onnx": file_digest(folder / "m.onnx")}}
    bundle = open_bundle(written(folder, described | {"graphs": {"onnx": graph}}), "pose")
    with pytest.raises(BundleError, match="states no SHA-256 for"):
        bundle.graph("onnx")
    graph["sha256"]["weights.bin"] = file_digest(folder / "weights.bin")
    bundle = open_bundle(written(folder, described | {"graphs": {"onnx": graph}}), "pose")
    if location == "weights.bin":
        assert bundle.graph("onnx").path == folder / "m.onnx"
        (folder / "weights.bin").write_bytes(b"changed")
    with pytest.raises(BundleError):
        bundle.graph("onnx")


def test_external_data_is_found_as_onnx_writes_it(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="compares with onnx: pip install transpose-sdk[convert]")
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    inner = helper.make_graph(
        [], "inner", [], [helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 64])], [weights]
    )
    choice = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=copy.deepcopy(inner))
    inputs = [helper.make_tensor_value_info("c", TensorProto.BOOL, [])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 64])]
    model = helper.make_model(helper.make_graph([choice], "g", inputs, outputs))
    onnx.save_model(model, tmp_path / "whole.onnx")
    assert external_files(tmp_path / "whole.onnx") == set()
    tensor = model.graph.node[0].attribute[0].g.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "apart.bin")
    onnx.save_model(model, tmp_path / "apart.onnx")
    assert external_files(tmp_path / "apart.onnx") == {"apart.bin"}


@FEW
@given(st.binary(max_size=200))
@example(b"")
@example(b"\x3a" * 200)
def test_what_is_no_onnx(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("onnx") / "a.onnx"
    path.write_bytes(content)
    try:
        external_files(path)
    except ValueError as error:
        assert str(error)


def test_kept_files_are_checked(tmp_path: Path) -> None:
    path, made = tmp_path / "kept.onnx", tmp_path / "made"
    assert not is_sound(path)
    made.write_bytes(b"graph")
    keep(path, made)
    assert is_sound(path)
    path.write_bytes(b"gra")
    assert not is_sound(path)
    made.write_bytes(b"graph")
    keep(path, made)
    assert is_sound(path)


def test_a_broken_kept_graph_is_made_again(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from transpose_sdk.backends.onnx_graph import onnx_graph

    monkeypatch.setenv("TRANSPOSE_HOME", str(tmp_path))
    bundle = open_bundle(tiny_bundle, "pose")
    bundle = replace(bundle, graphs={"torch": bundle.graphs["torch"]})
    path = onnx_graph(bundle, "onnx")
    whole = path.read_bytes()
    assert onnx_graph(replace(bundle, name="another"), "onnx") == path  # by content
    path.write_bytes(whole[:100])
    assert onnx_graph(bundle, "onnx") == path
    assert path.read_bytes()[:100] == whole[:100]
    assert path.stat().st_size == len(whole)
    assert sorted(entry.suffix for entry in path.parent.iterdir()) == [".onnx", ".sha256"]


# Probes ---------------------------------------------------------------------------------------------------------------


def with_probe(folder: Path, described: dict[str, Any], content: bytes) -> Path:
    written(folder, described)
    (folder / "probe.npz").write_bytes(content)
    probe = {"path": "probe.npz", "sha256": file_digest(folder / "probe.npz")}
    return written(folder, described | {"probe": probe})


def test_a_probe_that_would_grow_is_refused(tmp_path: Path, described: dict[str, Any]) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, crops=np.zeros((1, 30000, 10000, 3), np.uint8))
    folder = with_probe(tmp_path / "a.tpose", described, stream.getvalue())
    assert (folder / "probe.npz").stat().st_size < 1_000_000
    with pytest.raises(BundleError, match="would take 858 MiB, a probe at most 64"):
        Probe.load(open_bundle(folder, "pose"))


@FEW
@given(st.data())
def test_damaged_probes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    arrays = {name: array[:1] for name, array in np.load(SHIPPED / "probe.npz").items()}
    arrays["crops"] = arrays["crops"][:, :8, :8]
    change = data.draw(st.sampled_from(["bytes", "kind", "shape", "missing", "values"]))
    name = data.draw(st.sampled_from(sorted(arrays)))
    if change == "kind":
        arrays[name] = arrays[name].astype(data.draw(st.sampled_from(["U3", "c8", "i8", "f2", "?"])))
    elif change == "shape":
        arrays[name] = arrays[name].reshape(data.draw(st.sampled_from([(-1,), (1, -1), (-1, 1)])))
    elif change == "missing":
        del arrays[name]
    elif change == "values" and arrays[name].dtype.kind in "fi":
        arrays[name] = arrays[name] + data.draw(st.sampled_from([10**6, -(10**6)]))
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    content = bytearray(stream.getvalue())
    if change == "bytes":
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("probes") / "a.tpose"
    bundle = open_bundle(with_probe(folder, json.loads((SHIPPED / FILE).read_text()), bytes(content)), "pose")
    try:
        probe = Probe.load(bundle)
    except BundleError:
        return
    assert np.isfinite(probe.rows).all()


# Checkpoints ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    """Of a small network."""
    torch = pytest.importorskip("torch", reason="checkpoints need torch: pip install transpose-sdk[train]")
    from transpose_sdk.models import create_model

    torch.manual_seed(0)
    return dict(create_model("tp_m", input_size=(64, 48), layers=1, d_model=32, ffn=48, heads=4).state_dict())


def test_tensors_that_repeat_a_number_take_no_memory(tmp_path: Path, state: dict[str, Any]) -> None:
    import torch

    huge = state | {"reduce.weight": torch.zeros(1).expand(40_000, 40_000, 1, 1)}
    torch.save(huge, tmp_path / "huge.pth")
    assert (tmp_path / "huge.pth").stat().st_size < 20_000_000
    script = (
        "from transpose_sdk.models import load_checkpoint\nfrom transpose_sdk.errors import CheckpointError\nbegin()\n"
        "try:\n    load_checkpoint(sys.argv[1])\nexcept CheckpointError as error:\n    print(error)"
    )
    words, grown = peak_memory(script, str(tmp_path / "huge.pth"))
    assert "reduce.weight claims 6400000000 bytes by repeating 4" in words
    assert grown < 300


def test_a_header_of_a_million_layers_builds_nothing(tmp_path: Path, state: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    from transpose_sdk.models import load_checkpoint
    from transpose_sdk.models.create import VARIANTS

    for changed, words in (
        ({"layers": 10**6}, "layers is 1000000; give a whole number from 1 to 64"),
        ({"layers": 64, "d_model": 4096, "ffn": 16384}, "does not fit"),
        ({"input_size": [10**8, 10**8]}, "input size"),
        ({"heads": "4"}, "heads"),
        ({"name": 5}, "name"),
    ):
        variant = VARIANTS["tp_m"].to_dict() | changed
        header = json.dumps({"format": "transpose-sdk/checkpoint/1", "variant": variant})
        save_file(state, tmp_path / "a.safetensors", metadata={"transpose_sdk": header})
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(tmp_path / "a.safetensors")
    for header in ("null", "[]", "5", '{"format": 5}', "{", "[" * 99999, '{"format": "other"}'):
        save_file(state, tmp_path / "a.safetensors", metadata={"transpose_sdk": header})
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "a.safetensors")


def test_archives_that_grow_are_refused(tmp_path: Path, state: dict[str, Any]) -> None:
    import torch

    from transpose_sdk.models import load_checkpoint

    torch.save({"x": torch.zeros(30_000_000)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "a.pth", "w") as squeezed:
        for entry in plain.infolist():
            squeezed.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="would unpack to 114 MiB"):
        load_checkpoint(tmp_path / "a.pth")


VALUES: list[Callable[[Any], Any]] = [
    lambda torch: None, lambda torch: "text", lambda torch: 5, lambda torch: [], lambda torch: torch.zeros(()),
    lambda torch: torch.zeros(0), lambda torch: torch.zeros(2, 2), lambda torch: torch.full((4, 4, 1, 1), float("nan")),
    lambda torch: torch.zeros(3, dtype=torch.complex64), lambda torch: torch.zeros(3).to_sparse(),
    lambda torch: torch.zeros(3, device="meta"), lambda torch: torch.zeros(1, 1, 1, 1, 1),
    lambda torch: {"a": torch.zeros(1)},
]  # fmt: skip


@FEW
@given(st.data())
def test_whatever_a_checkpoint_holds(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any], data: st.DataObject
) -> None:
    import torch

    from transpose_sdk.models import checkpoint_skeleton, load_checkpoint

    telling = [
        name for name in state if name.split(".")[0] in ("reduce", "final_layer", "deconv_layers", "pos_embedding")
    ]
    telling += ["global_encoder.layers.0.linear1.weight", "stage2.0.branches.0.0.conv1.weight", "features.0.0.weight"]
    changed: Any = dict(state)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from([*telling, "state_dict", "best_state_dict", 5, ("a",)]))
        if data.draw(st.booleans()) and name in changed:
            del changed[name]
        else:
            changed[name] = data.draw(st.sampled_from(VALUES))(torch)
    changed = data.draw(st.sampled_from([changed, {"state_dict": changed}, [changed], changed.get("reduce.weight")]))
    path = tmp_path_factory.mktemp("checkpoints") / "a.pth"
    torch.save(changed, path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(1, 20))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2, 10]))])
    try:
        model = load_checkpoint(path)
        checkpoint_skeleton(path, model.keypoints)
    except (CheckpointError, InputError):
        pass


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="checkpoints need torch: pip install transpose-sdk[train]")
    from transpose_sdk.models import load_checkpoint

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path}/ran",)

    (tmp_path / "a.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


# Recipes, skeletons, networks -----------------------------------------------------------------------------------------


@FEW
@given(st.dictionaries(st.sampled_from(["name", "names", "edges", "flip_pairs", "sigmas", "upper_body"]), JSON))
@example(asdict(COCO17) | {"sigmas": [float("nan")] * 17})
@example(asdict(COCO17) | {"sigmas": [10**400] * 17})
def test_whatever_a_skeleton_says(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Skeleton.from_dict({**asdict(COCO17), "names": ["a"], **values})


@FEW
@given(st.data())
def test_whatever_a_recipe_says(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")
    from transpose_sdk.trainers.recipe import Recipe, load_recipe

    names = [*Recipe("tp_m").to_dict(), "base", "unknown"]
    content = {"model": "tp_m"} | data.draw(st.dictionaries(st.sampled_from(names), JSON, min_size=1, max_size=3))
    path = tmp_path_factory.mktemp("recipes") / "a.yaml"
    path.write_text(json.dumps(content))
    try:
        load_recipe(path)
    except DataError as error:
        assert str(error)


@pytest.mark.parametrize(
    "options",
    [
        {"input_size": ("256", "192")}, {"input_size": (True, 192)}, {"input_size": (256.0, 192)},
        {"input_size": (256,)},
        {"input_size": (10**9, 192)}, {"layers": 10**6}, {"layers": "2"}, {"layers": True}, {"dropout": "much"},
        {"dropout": float("nan")}, {"keypoints": 0}, {"keypoints": 10**6}, {"heads": 1.5},
    ],
)  # fmt: skip
def test_nonsense_in_networks(options: dict[str, Any]) -> None:
    pytest.importorskip("torch", reason="networks need torch: pip install transpose-sdk[train]")
    from transpose_sdk.models import create_model

    with pytest.raises(InputError):
        create_model("tp_r_a3", **options)


def test_the_schema_of_bundles_is_known() -> None:
    assert json.loads((SHIPPED / FILE).read_text())["schema"] == SCHEMA
