"""A model on disk: a folder NAME.tpose with bundle.json and the graphs it describes.

Nothing in a bundle is executable and nothing is a pickle. A graph is used only if its files have the SHA-256 that
bundle.json states.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from transpose_sdk.errors import BundleError, InputError
from transpose_sdk.skeletons import Skeleton
from transpose_sdk.user_folder import models_folder

SCHEMA = 1
ASSETS = Path(__file__).parents[1] / "assets"
SUFFIX = ".tpose"
DEFAULT_MODEL = "tp_m16_320x240"  # the pose bundle that is taken where none is named
ATTACHMENTS = ("probe",)  # entries of bundle.json, beside the graphs, that have a file


@dataclass(frozen=True)
class Graph:
    """One form of a bundle's network.

    Attributes:
        name: Its key in the bundle: a precision ("fp16", "int8") for OpenVINO, or "onnx".
        path: File to open.
        sha256: Digest by file name, of every file that belongs to the graph.
    """

    name: str
    path: Path
    sha256: Mapping[str, str]

    def verify(self) -> None:
        """Check the digests of the files.

        Raises:
            BundleError: A file is missing or is not the one that was exported.
        """
        needed = {self.path.name, self.path.with_suffix(".bin").name if self.path.suffix == ".xml" else self.path.name}
        if missing := sorted(needed - set(self.sha256)):
            raise BundleError(f"{self.path.parent} states no SHA-256 for {missing[0]}: export or download it again")
        for name, digest in self.sha256.items():
            file = self.path.parent / name
            if not file.is_file():
                raise BundleError(f"{file} is missing: the bundle is incomplete, export or download it again")
            if file_digest(file) != digest:
                raise BundleError(f"{file} is not the file that was exported (SHA-256 differs): get the bundle again")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        folder: Where it lies.
        name: The network's name.
        kind: "pose" or "detector".
        input_size: (height, width) of the input in px.
        graphs: The graphs by name.
        description: All of bundle.json.
    """

    folder: Path
    name: str
    kind: str
    input_size: tuple[int, int]
    graphs: Mapping[str, Graph]
    description: Mapping[str, Any]

    @property
    def skeleton(self) -> Skeleton:
        """What the network's keypoints are.

        Raises:
            BundleError: bundle.json has no skeleton, or not a whole one.
        """
        try:
            return Skeleton.from_dict(self.description["skeleton"])
        except (KeyError, InputError) as error:
            raise BundleError(f"{self.folder} describes no skeleton ({error!r}): it is no pose bundle") from None

    @property
    def attention_grid(self) -> tuple[int, int] | None:
        """(height, width) of the attention grid; None where the graphs give no attention."""
        entry = self.description.get("attention")
        return None if entry is None else (int(entry["grid"][0]), int(entry["grid"][1]))

    def graph(self, name: str) -> Graph:
        """A graph by name, its files checked.

        Raises:
            BundleError: The bundle has no such graph, or a file of it is missing or changed.
        """
        if name not in self.graphs:
            offered = ", ".join(self.graphs) or "none"
            raise BundleError(
                f"{self.folder.name} has no graph {name!r}: it offers {offered} (`transpose models list`)"
            )
        graph = self.graphs[name]
        graph.verify()
        return graph

    def attachment(self, name: str) -> Path:
        """A file that belongs to the bundle but is no graph, such as the "probe", checked.

        Raises:
            BundleError: The bundle has none, or the file is missing, changed, or outside the bundle.
        """
        entry = self.description.get(name)
        try:
            path = _inside(self.folder, str(entry["path"]))  # type: ignore[index]
            file = Graph(name, path, {path.name: str(entry["sha256"])})  # type: ignore[index]
        except (KeyError, TypeError):
            raise BundleError(f"{self.folder.name} has no {name}: export it again, or download a newer one") from None
        file.verify()
        return path


def open_bundle(spec: str | Path, kind: str) -> Bundle:
    """Open a bundle by path, or a shipped or imported one by name.

    Args:
        spec: A folder, or a name such as "person" of a bundle that comes with the package or was imported.
        kind: "pose" or "detector", what it has to be.

    Raises:
        BundleError: There is no such bundle, it is damaged, of a newer schema, of another kind, or points outside.
    """
    folder = _find(spec, kind)
    description = _read_description(folder)
    if description.get("kind") != kind:
        raise BundleError(f"{folder} is a {description.get('kind')} bundle, not a {kind} bundle: give another one")
    try:
        height, width = (int(side) for side in description["input_size"])
        if min(height, width) < 1:
            raise ValueError(f"input_size {description['input_size']}")
        graphs = {
            name: Graph(name, _inside(folder, str(values["path"])), dict(values["sha256"]))
            for name, values in description["graphs"].items()
        }
        for graph in graphs.values():
            for file in graph.sha256:
                _inside(folder, file)
        return Bundle(folder, str(description["name"]), kind, (height, width), graphs, description)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{folder / 'bundle.json'} is incomplete ({error!r}): export or download it again") from None


def bundle_names(kind: str) -> list[str]:
    """Names of the bundles of a kind that come with the package or were imported."""
    return [folder.stem for folder in named_folders(ASSETS) + named_folders(models_folder()) if kind_of(folder) == kind]


def named_folders(place: Path) -> list[Path]:
    """The bundles in a folder, by name; none where it does not exist."""
    return sorted(path for path in place.glob(f"*{SUFFIX}") if path.is_dir())


def kind_of(folder: Path) -> str | None:
    """What a bundle is, "pose" or "detector"; None where it is damaged."""
    try:
        return str(_read_description(folder).get("kind"))
    except BundleError:
        return None


def write_bundle(folder: Path, description: Mapping[str, Any], files: Path) -> None:
    """Make a bundle of a folder of files; all of it appears at once, or nothing.

    Args:
        folder: The bundle to write; one that is there is replaced.
        description: Content of bundle.json; the `schema` is added, and to every graph the digests of its files: those
            in `files` that share the stem of the graph's `path`. So it is with the `ATTACHMENTS`, each one file.
        files: Folder with the graphs and attachments.
    """
    graphs = {
        name: {**graph, "sha256": {file.name: file_digest(file) for file in _siblings(files / graph["path"])}}
        for name, graph in description["graphs"].items()
    }
    attachments = {
        name: {**description[name], "sha256": file_digest(files / description[name]["path"])}
        for name in ATTACHMENTS
        if name in description
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target: a rename stays within one file system and so is atomic.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        for graph in graphs.values():
            for name in graph["sha256"]:
                shutil.copyfile(files / name, new / name)
        for attachment in attachments.values():
            shutil.copyfile(files / attachment["path"], new / attachment["path"])
        content = {"schema": SCHEMA, **description, "graphs": graphs, **attachments}
        (new / "bundle.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        _put(new, folder)


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


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _siblings(path: Path) -> list[Path]:
    """A graph's file and those that belong to it (an .xml has its .bin)."""
    return sorted(file for file in path.parent.iterdir() if file.stem == path.stem)


def _find(spec: str | Path, kind: str) -> Path:
    path = Path(spec)
    if path.is_dir():
        return path
    if path.name == str(spec):
        for place in (ASSETS, models_folder()):
            named = place / f"{spec}{SUFFIX}"
            if named.is_dir():
                return named
    names = ", ".join(bundle_names(kind)) or "none"
    raise BundleError(f"no {kind} bundle {str(spec)!r}: give a folder with bundle.json, or one of these names: {names}")


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "bundle.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{folder} has no bundle.json: give a folder that `transpose export` wrote") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"cannot read {path} ({error}): export or download the bundle again") from None
    if not isinstance(description, dict) or not isinstance(description.get("schema"), int):
        raise BundleError(f"{path} is not a bundle's description: give a folder that `transpose export` wrote")
    if description["schema"] > SCHEMA:
        raise BundleError(
            f"{folder} has schema {description['schema']}, this version reads up to {SCHEMA}: update transpose_sdk"
        )
    return description


def _inside(folder: Path, name: str) -> Path:
    """A file of the bundle; every file lies directly in its folder."""
    if name != PurePosixPath(name).name or name in ("", ".", "..") or "\\" in name:
        raise BundleError(f"{folder / 'bundle.json'} names a file outside the bundle, {name!r}: do not use this bundle")
    return folder / name
