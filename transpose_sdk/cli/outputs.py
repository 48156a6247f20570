"""What a command writes: nothing that it reads, nothing twice, and nothing without a name."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from transpose_sdk.errors import InputError

STDOUT = "-"
# What a file is, however it is called: where it lies on the disk, or the place in a folder where it will.
Identity = tuple[Any, ...]


@dataclass(frozen=True)
class Output:
    """A file that a command is asked to write, or a folder of files.

    Attributes:
        option: On the command line, such as "--json".
        path: As given; "-" is stdout.
        names: Of the files in a folder; None for a file.
    """

    option: str
    path: str
    names: re.Pattern[str] | None = None

    def __str__(self) -> str:
        return f"{self.option} {self.path}"


def check_outputs(outputs: Iterable[Output], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Check a command's outputs before any work is done and anything is opened for writing.

    Args:
        outputs: What will be written.
        inputs: What is read: files, file:// addresses, and bundles' folders. What is none of these is no file.

    Raises:
        InputError: An output has no name, cannot be written, is an input by this or another name (a link, a hard link),
            or shares a file with another output.
    """
    outputs = list(outputs)
    for output in outputs:
        if not output.path.strip():
            raise InputError(f"{output.option} has an empty name: give a file, or leave the option out")
        if output.path == STDOUT and output.names is not None:
            raise InputError(f"{output} asks for several files on stdout: give a file or a folder")
    for output in outputs:
        if output.path != STDOUT:
            _require_place(output)
    read = {identity(file): file for given in inputs for file in _files(given)}
    for output in outputs:
        for file in _written(output):
            if identity(file) in read:
                raise InputError(f"{output} would overwrite {read[identity(file)]}, which is read: give another name")
    for number, output in enumerate(outputs):
        for other in outputs[:number]:
            if _share(output, other):
                raise InputError(f"{other} and {output} are one file: give each output a name of its own")


def names_pattern(names: Sequence[str] | None) -> re.Pattern[str]:
    """The names of pictures in a folder, which without given ones are numbers."""
    return re.compile(r"\d{6,}\.jpg" if names is None else "|".join(re.escape(name) for name in names))


def identity(path: str | os.PathLike[str]) -> Identity:
    """What a path stands for."""
    if os.fspath(path) == STDOUT:
        return (STDOUT,)
    place = os.path.realpath(path)
    try:
        found = Path(place).stat()
    except (OSError, ValueError):
        folder, name = os.path.split(place)
        name = name.casefold() if sys.platform in ("win32", "darwin") else name
        return (folder,) if folder == place else (identity(folder), name)
    return found.st_dev, found.st_ino


def _require_place(output: Output) -> None:
    """Raise InputError where an output can be seen not to be writable."""
    path = Path(output.path)
    try:
        there = path if path.exists() else next(folder for folder in path.absolute().parents if folder.exists())
        is_folder = there.is_dir()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{output} cannot be written ({reason}): give another name") from error
    if there is path and is_folder != (output.names is not None):
        raise InputError(f"{output} is {'a folder' if is_folder else 'no folder'}: give another name")
    if (there is not path and not is_folder) or not os.access(there, os.W_OK):
        raise InputError(f"{output} cannot be written, because of {there}: give a place where you may write")


def _files(given: str | os.PathLike[str]) -> list[Path]:
    """The files of an input."""
    text = os.fspath(given)
    if text.lower().startswith("file:"):
        text = url2pathname(urlsplit(text).path)
    try:
        path = Path(text).expanduser()
        if path.is_dir():
            return [file for file in path.iterdir() if file.is_file()]
        return [path] if path.is_file() else []
    except (OSError, ValueError, RuntimeError):  # no home, a name that is too long, a zero byte
        return []


def _written(output: Output) -> list[Path]:
    """The files that are there and would be written."""
    path = Path(output.path)
    if output.names is None:
        return [path]
    try:
        return [file for file in path.iterdir() if output.names.fullmatch(file.name)]
    except (OSError, ValueError):
        return []


def _share(output: Output, other: Output) -> bool:
    """Whether two outputs write one file."""
    if os.devnull in (output.path, other.path):
        return False
    if output.names is not None and other.names is not None:
        return False  # pictures and texts, whose names differ
    if identity(output.path) == identity(other.path):
        return True
    file, folder = (output, other) if output.names is None else (other, output)
    place = Path(os.path.realpath(file.path))
    return bool(
        folder.names is not None
        and folder.names.fullmatch(place.name)
        and identity(place.parent) == identity(folder.path)
    )
