"""Files that are whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

LONGEST = 40  # characters of a name that its unfinished file bears too: most systems end names at 255 bytes


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write what `path` becomes once the block has ended well.

    Whatever goes wrong, `path` is what it was before. Several processes and threads may write the same file at a
    time. A file that was there gives its mode and its owner to the new one, a link stays a link to it, and a device or
    a pipe is written itself.

    Args:
        path: The file; its folder has to be there.

    Raises:
        PermissionError: The file that is there may not be written.
    """
    place = Path(os.path.realpath(path))
    before = _found(place)
    if before is not None and not stat.S_ISREG(before.st_mode):
        yield place
        return
    if before is not None and not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    unfinished = place.with_name(f".{place.name[:LONGEST]}.{secrets.token_hex(8)}.tmp")
    try:
        yield unfinished
        if before is not None:
            _like(unfinished, before)
        unfinished.replace(place)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _found(place: Path) -> os.stat_result | None:
    try:
        return place.stat()
    except FileNotFoundError:
        return None


def _like(file: Path, model: os.stat_result) -> None:
    """Give a file another one's mode and owner, as far as the system lets us."""
    with contextlib.suppress(OSError):
        if hasattr(os, "chown") and (file.stat().st_uid, file.stat().st_gid) != (model.st_uid, model.st_gid):
            os.chown(file, model.st_uid, model.st_gid)
    with contextlib.suppress(OSError):
        file.chmod(stat.S_IMODE(model.st_mode))
