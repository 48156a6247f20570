"""Folders to write into, tried before the work whose results go there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from transpose_sdk.errors import InputError


def require_writable(folder: Path, what: str) -> None:
    """Make a folder if need be, and try to write into it.

    Args:
        folder: The folder.
        what: Is going to be written, for the error.

    Raises:
        InputError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{what} cannot go to {folder} ({reason}): give a folder where you may write") from error
