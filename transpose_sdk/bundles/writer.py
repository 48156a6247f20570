"""Bundles written and changed, all at once or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transpose_sdk.bundles.bundle import FILE, NAME, SCHEMA, Bundle, read_bundle
from transpose_sdk.disk.digest import file_digest
from transpose_sdk.disk.whole_file import whole_file
from transpose_sdk.errors import InputError


def write_bundle(folder: Path, description: Mapping[str, Any], files: Path) -> None:
    """Make a bundle of a folder of files; all of it appears at once, or nothing.

    Args:
        folder: The bundle to write; one that is there is replaced.
        description: Content of bundle.json; the `schema` is added, and to every graph the digests of its files: those
            in `files` that share the stem of the graph's `path`. So it is with the `probe`, which is one file.
        files: Folder with the graphs and the probe.

    Raises:
        BundleError: The description is none that `open_bundle` would read; nothing is written.
    """
    graphs = {
        name: {**graph, "sha256": {file.name: file_digest(file) for file in _siblings(files / graph["path"])}}
        for name, graph in description["graphs"].items()
    }
    content = {"schema": SCHEMA, **description, "graphs": graphs}
    if "probe" in description:
        probe = description["probe"]
        content["probe"] = {**probe, "sha256": file_digest(files / probe["path"])}
    opened = read_bundle(folder, json.loads(json.dumps(content)))
    names = {name for graph in opened.graphs.values() for name in graph.sha256}
    names |= {opened.probe.path.name} if opened.probe else set()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target: a rename stays within one file system and so is atomic.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        for name in names:
            shutil.copyfile(files / name, new / name)
        (new / FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        _put(new, folder)


def amend_bundle(bundle: Bundle, **entries: Any) -> None:
    """Replace entries of a bundle's bundle.json, such as its `occlusion` rule.

    Raises:
        BundleError: An entry is none that `open_bundle` would read; nothing is changed.
    """
    content = json.loads(json.dumps({**bundle.description, **entries}))
    read_bundle(bundle.folder, content)
    with whole_file(bundle.folder / FILE) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def check_name(name: str) -> None:
    """Raise InputError where a bundle cannot be called so."""
    if not re.match(NAME, name):
        raise InputError(
            f"{name!r} is no name for a bundle: give a plain word of up to 100 letters, digits, -, _, . and +, such as "
            "tp_r_a4"
        )


def _put(new: Path, folder: Path) -> None:
    """Move a folder to where another one may be, which stays if that fails."""
    if not folder.exists():
        new.rename(folder)
        return
    old = folder.with_name(f".{folder.name}-old-{os.getpid()}")  # not in a temporary folder: it must outlive a failure
    folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _siblings(path: Path) -> list[Path]:
    """A graph's file and those that belong to it (an .xml has its .bin)."""
    return sorted(file for file in path.parent.iterdir() if file.stem == path.stem)
