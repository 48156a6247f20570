"""Files that are read as a whole: regular ones, and none that would fill the memory."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST = 4 << 30  # bytes; COCO's largest annotation file has .5 GB
LARGEST_DESCRIPTION = 16 << 20  # of what people write: recipes, skeletons, bundle.json


def read_small(path: Path, largest: int = LARGEST) -> bytes:
    """Content of a file that is there to be read: no pipe, on which reading would wait, no device, and not too large.

    Args:
        path: The file.
        largest: Bytes that it may have.

    Raises:
        OSError: It cannot be read, is no regular file, or has more bytes.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > largest:
            raise OSError(errno.EFBIG, f"it has more than {largest >> 20} MiB")
        return file.read()


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read from, if it is a regular one: a pipe's other end is not waited for.

    Raises:
        OSError: It cannot be opened, or is none.
    """
    # The file that is looked at is the one that is read, whatever becomes of the name.
    file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file")
    return file
