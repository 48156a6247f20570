"""Files that are kept for the next time because making them takes long; a damaged one is noticed and made again."""

from __future__ import annotations

import contextlib
from pathlib import Path

from transpose_sdk.disk.digest import file_digest
from transpose_sdk.disk.whole_file import whole_file


def is_sound(path: Path) -> bool:
    """Whether a file is there and is the one that `keep` left."""
    try:
        return path.is_file() and _record(path).read_text(encoding="ascii") == file_digest(path)
    except (OSError, ValueError):
        return False


def keep(path: Path, made: Path) -> None:
    """Move a file to where it is kept, with its digest beside it.

    Args:
        path: Where to, in a folder that is there.
        made: The file, in the same file system.

    Raises:
        OSError: It cannot be kept.
    """
    digest = file_digest(made)
    with contextlib.suppress(FileNotFoundError):
        _record(path).unlink()  # first: until all is written there is no record of what is there
    made.replace(path)
    with whole_file(_record(path)) as unfinished:
        unfinished.write_text(digest, encoding="ascii")


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
