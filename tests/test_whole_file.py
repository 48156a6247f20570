"""Files that are whole or not there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from transpose_sdk.disk.whole_file import whole_file


def test_an_error_while_writing_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.bin"
    with whole_file(path) as unfinished:
        unfinished.write_bytes(b"first")
        assert not path.exists()
    with pytest.raises(RuntimeError, match="disk"), whole_file(path) as unfinished:
        unfinished.write_bytes(b"sec")
        raise RuntimeError("disk full")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "state.bin"):
        pass
    assert not list(tmp_path.iterdir())


def test_threads_that_write_the_same_file_do_not_mix(tmp_path: Path) -> None:
    path, both = tmp_path / "state.bin", Barrier(2)

    def write(content: bytes) -> None:
        with whole_file(path) as unfinished, unfinished.open("wb") as file:
            both.wait(10)
            file.write(content)
            both.wait(10)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (b"one" * 1000, b"another")))
    assert path.read_bytes() in (b"one" * 1000, b"another")
    assert list(tmp_path.iterdir()) == [path]
