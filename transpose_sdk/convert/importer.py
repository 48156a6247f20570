"""Checkpoints made to bundles in the user's folder, which every call finds by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transpose_sdk.bundles.bundle import ASSETS, SUFFIX
from transpose_sdk.bundles.official import OFFICIAL
from transpose_sdk.bundles.writer import check_name
from transpose_sdk.convert.export import TARGETS, check_folder, export_bundle
from transpose_sdk.disk.digest import file_digest
from transpose_sdk.disk.user_folder import models_folder
from transpose_sdk.errors import CheckpointError, InputError


def import_checkpoint(
    path: str | Path, name: str | None = None, *, replace: bool = False, facts: Mapping[str, Any] | None = None
) -> Path:
    """Convert a checkpoint to a bundle in the user's folder, where every call finds it by name.

    Args:
        path: A published .pth, a training checkpoint or a .safetensors.
        name: The bundle's name; by default the network's for a published file, else the file's.
        replace: Whether a bundle of that name may be replaced.
        facts: More entries for bundle.json.

    Returns:
        The bundle's folder.

    Raises:
        CheckpointError: The file does not load.
        InputError: The name is taken, or is no plain name.
        BundleError: The exported graph does not give the network's answers.
    """
    path = Path(path)
    published = next((entry for entry in OFFICIAL.values() if entry.file == path.name), None)
    name = name or (published.name if published else path.stem)
    check_name(name)
    folder = models_folder() / f"{name}{SUFFIX}"
    if (ASSETS / folder.name).is_dir():
        raise InputError(f"a shipped bundle is called {name}: choose another name")
    if folder.exists() and not replace:
        raise InputError(f"{folder} is there already: choose another name, or replace it")
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}: give a checkpoint (.pth or .safetensors)")
    check_folder(folder, path)
    origin = {"imported_from": {"file": path.name, "sha256": file_digest(path)}}
    origin |= {**(published.facts() if published else {}), **(facts or {})}
    # Graphs for every backend, so that it runs wherever the package does.
    return export_bundle(path, folder, targets=TARGETS, name=name, facts=origin)
