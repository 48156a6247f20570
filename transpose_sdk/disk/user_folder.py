"""The user's own folder: imported bundles, downloaded checkpoints, what was compiled, found right and timed here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "TRANSPOSE_HOME"
NAME = "transpose_sdk"


def home() -> Path:
    """The folder; it need not exist.

    TRANSPOSE_HOME if it is set, else where the system keeps a user's caches. All of it can be deleted at any time:
    it is made again by importing, downloading and compiling.
    """
    if given := os.environ.get(VARIABLE):
        return Path(os.path.expanduser(given))  # noqa: PTH111 - Path's raises where there is no home
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / NAME / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / NAME
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / NAME
    try:
        return Path.home() / ".cache" / NAME
    except RuntimeError:  # a user without a home, as containers have; what cannot be kept is made again
        return Path("/nonexistent") / NAME


def models_folder() -> Path:
    """Where imported bundles lie."""
    return home() / "models"


def checkpoints_folder() -> Path:
    """Where downloaded checkpoints lie."""
    return home() / "checkpoints"


def verified_folder() -> Path:
    """Which bundles gave the right answers on this machine."""
    return home() / "verified"


def timed_folder() -> Path:
    """Which of a bundle's graphs is taken on this machine, by their times."""
    return home() / "timed"


def compiled_folder(runtime: str) -> Path | None:
    """Where a runtime keeps what it compiled, made if need be; None where the user's folder cannot be written."""
    folder = home() / "compiled" / runtime
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
