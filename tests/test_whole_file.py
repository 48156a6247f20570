"""Files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from transpose_sdk.whole_file import whole_file


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
