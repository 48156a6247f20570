"""Imports of what an extra brings, with the line that installs it where it is missing."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from transpose_sdk.errors import MissingDependencyError


def trainers_module(name: str) -> Any:
    """A module of the trainers; Any, because its names are looked up at run time.

    Raises:
        MissingDependencyError: A package that it needs is not installed.
    """
    return import_extra(f"transpose_sdk.trainers.{name}", "train")


def import_extra(module: str, extra: str) -> ModuleType:
    """Import a module whose dependencies come with an extra.

    Raises:
        MissingDependencyError: One of them is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"this needs {error.name}, which is not installed: pip install 'transpose-sdk[{extra}]'"
        ) from error
