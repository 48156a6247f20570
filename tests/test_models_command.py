"""`transpose models`, imports of published checkpoints, and downloads from a server of the test's own."""

from __future__ import annotations

import functools
import json
import logging
import threading
import zlib
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from transpose_sdk.backends.choose import open_backend
from transpose_sdk.bundles.bundle import open_bundle
from transpose_sdk.bundles.official import OFFICIAL, OfficialCheckpoint, fetch
from transpose_sdk.cli.main import main
from transpose_sdk.disk.digest import file_digest
from transpose_sdk.errors import CheckpointError, InputError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of the test's own."""
    monkeypatch.setenv("TRANSPOSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[ThreadingHTTPServer, Path]]:
    """A web server and the folder it serves."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    web = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield web, folder
    web.shutdown()
    web.server_close()


def served(server: tuple[ThreadingHTTPServer, Path], content: bytes | None = b"weights") -> OfficialCheckpoint:
    """A checkpoint that the server has, or with None has not."""
    web, folder = server
    if content is not None:
        (folder / "net.pth").write_bytes(content)
    return OfficialCheckpoint("net", "net.pth", 70.0, f"http://127.0.0.1:{web.server_port}/")


def official_state(name: str, shared: Path, path: Path) -> Path:
    """A file as it is published, with weights by the rule of the development data."""
    torch = pytest.importorskip("torch", reason="checkpoints need torch: pip install transpose-sdk[convert]")
    from transpose_sdk.models.encoder import sine_table

    keys = json.loads((shared / "reference" / "official_outputs_keys.json").read_text())[name]
    state = {}
    for key, shape in keys.items():
        rng = np.random.default_rng(zlib.crc32(f"shared-{key}".encode()))
        if key == "pos_embedding":
            height = round((shape[0] * 4 / 3) ** 0.5)
            state[key] = sine_table(height, shape[0] // height, shape[2])
            continue
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(0)
            continue
        if key.endswith("running_var") or (len(shape) <= 1 and key.endswith("weight")):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) <= 1:
            value = 0.1 * rng.standard_normal(shape)
        else:
            value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        state[key] = torch.from_numpy(np.asarray(value, np.float32))
    torch.save(state, path / OFFICIAL[name].file)
    return path / OFFICIAL[name].file


@pytest.mark.parametrize(("name", "shape"), [("tp_r_a3", (8, 768, 32)), ("tp_h_s", (1, 3072, 64))])
def test_importing_a_published_checkpoint_is_one_command(
    name: str, shape: tuple[int, int, int], shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript", reason="importing needs onnxscript: pip install transpose-sdk[convert]")
    file = official_state(name, shared, tmp_path)
    assert main(["models", "import", str(file)]) == 0
    bundle = open_bundle(name, "pose")
    assert bundle.folder == tmp_path / "home" / "models" / f"{name}.tpose"
    assert bundle.description["imported_from"] == {"file": file.name, "sha256": file_digest(file)}
    assert bundle.licence.startswith("MIT")
    backend = open_backend(bundle, "CPU", "fp32", verify=False)  # drawn weights have no steady answers
    outputs = backend.infer(np.zeros((2, 256, 192, 3), np.uint8), attention=True)
    assert outputs.heatmaps.shape == (2, 17, 64, 48)
    assert outputs.queries is not None and outputs.queries.shape == (2, *shape)
    assert outputs.keys is not None and outputs.keys.shape == (2, *shape)

    capsys.readouterr()
    assert main(["models", "list"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{name} "))
    assert row.split()[1:3] == ["imported", "256x192"]
    assert f"AP {OFFICIAL[name].ap} published" in row
    assert main(["models", "import", str(file)]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(OFFICIAL))
def test_published_files_tell_their_network(name: str, shared: Path, tmp_path: Path) -> None:
    file = official_state(name, shared, tmp_path)
    from transpose_sdk.models import load_checkpoint
    from transpose_sdk.models.create import VARIANTS

    assert load_checkpoint(file).variant == VARIANTS[name]


def test_list_names_what_can_be_downloaded_and_what_is_damaged(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "models" / "broken.tpose").mkdir(parents=True)
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(any(line.startswith(f"{name} ") and "to download" in line for line in lines) for name in OFFICIAL)
    assert any(line.startswith("broken ") and "damaged" in line for line in lines)


def test_info_of_a_bundle_and_of_a_published_checkpoint(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", str(tiny_bundle)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["folder"]) == ("tiny", str(tiny_bundle))
    assert main(["models", "info", "tp_h_s"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["installed"] is False
    assert facts["published"]["url"].endswith("tp_h_32_256x192_enc4_d64_h128_mh1.pth")
    assert main(["models", "info", "nobody"]) == 2
    assert "no pose bundle 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "name", "error", "words"),
    [
        ("nowhere.pth", None, CheckpointError, "there is no file"),
        ("net.pth", "../net", InputError, "no name for a bundle"),
        ("net.pth", ".net", InputError, "no name for a bundle"),
        ("net.pth", None, CheckpointError, "no checkpoint that can be read safely"),
    ],
)
def test_imports_that_are_refused(
    file: str, name: str | None, error: type[Exception], words: str, tmp_path: Path, home: Path
) -> None:
    pytest.importorskip("torch", reason="importing needs torch: pip install transpose-sdk[convert]")
    from transpose_sdk.convert import import_checkpoint

    (tmp_path / "net.pth").write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")  # a pickle that runs a command
    with pytest.raises(error, match=words):
        import_checkpoint(tmp_path / file, name)
    assert not (tmp_path / "executed").exists()
    assert not list(home.rglob("*.tpose"))


def test_the_first_download_is_trusted_and_remembered(
    server: tuple[ThreadingHTTPServer, Path], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("pooch", reason="downloading needs pooch: pip install transpose-sdk[convert]")
    checkpoint = served(server)
    with caplog.at_level(logging.WARNING):
        path = fetch(checkpoint)
    digest = file_digest(path)
    assert path.read_bytes() == b"weights"
    assert f"{digest} is trusted from now on" in caplog.text
    assert path.with_name("net.pth.sha256").read_text() == f"{digest}  net.pth\n"

    server[0].shutdown()  # what is there needs no network
    assert fetch(checkpoint) == path
    path.write_bytes(b"other weights")
    with pytest.raises(CheckpointError, match=f"at the first time it was {digest}"):
        fetch(checkpoint)


def test_another_file_on_the_server_is_refused(server: tuple[ThreadingHTTPServer, Path]) -> None:
    pytest.importorskip("pooch", reason="downloading needs pooch: pip install transpose-sdk[convert]")
    path = fetch(served(server))
    path.unlink()
    with pytest.raises(CheckpointError, match=r"cannot download .*hash"):
        fetch(served(server, b"exchanged"))
    assert not path.exists()


def test_without_a_network_the_error_says_where_to_put_the_file(server: tuple[ThreadingHTTPServer, Path]) -> None:
    pytest.importorskip("pooch", reason="downloading needs pooch: pip install transpose-sdk[convert]")
    checkpoint = served(server, content=None)
    with pytest.raises(CheckpointError, match="404"):
        fetch(checkpoint)
    server[0].shutdown()
    server[0].server_close()
    with pytest.raises(CheckpointError) as raised:
        fetch(checkpoint)
    assert checkpoint.url in str(raised.value)
    assert f"put the file at {checkpoint.path} by hand" in str(raised.value)

    checkpoint.path.write_bytes(b"by hand")
    assert fetch(checkpoint) == checkpoint.path
    assert checkpoint.path.with_name("net.pth.sha256").is_file()


def test_only_published_names_can_be_downloaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "download", "tp_x"]) == 2
    assert "choose one of tp_r_a3" in capsys.readouterr().err
