"""The networks at hand: shipped bundles, imported ones in the user's folder, and the published checkpoints by URL."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transpose_sdk.bundles.bundle import ASSETS, SUFFIX, Bundle, file_digest, kind_of, named_folders, open_bundle
from transpose_sdk.errors import BundleError, CheckpointError, InputError, MissingDependencyError
from transpose_sdk.user_folder import checkpoints_folder, models_folder

log = logging.getLogger(__name__)

# Graphs for every backend, so that an imported network runs wherever the package does.
TARGETS = ("openvino", "onnx", "torch")
RELEASE = "https://github.com/yangsenius/TransPose/releases/download/Hub/"


@dataclass(frozen=True)
class OfficialCheckpoint:
    """A checkpoint that the authors of TransPose released.

    Attributes:
        name: The network, as `create_model` knows it.
        file: Name of the file.
        ap: Published AP on COCO val2017 with annotated boxes, in percent.
        place: What the URL begins with.
    """

    name: str
    file: str
    ap: float
    place: str = RELEASE

    @property
    def url(self) -> str:
        """Where it is published."""
        return f"{self.place}{self.file}"

    @property
    def path(self) -> Path:
        """Where it lies once downloaded, or put by hand."""
        return checkpoints_folder() / self.file

    def facts(self) -> dict[str, Any]:
        """What the bundle made of it says about its origin."""
        return {
            "licence": "MIT, yangsenius/TransPose",
            "training_data": "COCO train2017 keypoints",
            "published": {"url": self.url, "ap_gt_boxes": self.ap},
        }


OFFICIAL = {
    checkpoint.name: checkpoint
    for checkpoint in (
        OfficialCheckpoint("tp_r_a3", "tp_r_256x192_enc3_d256_h1024_mh8.pth", 73.8),
        OfficialCheckpoint("tp_r_a4", "tp_r_256x192_enc4_d256_h1024_mh8.pth", 75.1),
        OfficialCheckpoint("tp_h_s", "tp_h_32_256x192_enc4_d64_h128_mh1.pth", 76.1),
        OfficialCheckpoint("tp_h_a4", "tp_h_48_256x192_enc4_d96_h192_mh1.pth", 77.5),
        OfficialCheckpoint("tp_h_a6", "tp_h_48_256x192_enc6_d96_h192_mh1.pth", 78.1),
    )
}


@dataclass(frozen=True)
class Installed:
    """A bundle that can be opened by name.

    Attributes:
        name: Its name.
        imported: Whether it lies in the user's folder; else it came with the package.
        bundle: It, or None where it cannot be opened.
        problem: Why not.
    """

    name: str
    imported: bool
    bundle: Bundle | None
    problem: str = ""


def installed() -> list[Installed]:
    """All pose bundles that can be opened by name, damaged ones with their problem."""
    entries = []
    for place, imported in ((ASSETS, False), (models_folder(), True)):
        for folder in named_folders(place):
            try:
                entries.append(Installed(folder.stem, imported, open_bundle(folder, "pose")))
            except BundleError as error:
                if kind_of(folder) in ("pose", None):
                    entries.append(Installed(folder.stem, imported, None, str(error)))
    return entries


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
        MissingDependencyError: PyTorch, which converts, is not installed.
        BundleError: The exported graph does not give the network's answers.
    """
    path = Path(path)
    published = next((entry for entry in OFFICIAL.values() if entry.file == path.name), None)
    name = name or (published.name if published else path.stem)
    if name != Path(name).name or name.startswith(".") or not name:
        raise InputError(f"{name!r} is no name for a bundle: give a plain word, such as tp_r_a4")
    folder = models_folder() / f"{name}{SUFFIX}"
    if (ASSETS / folder.name).is_dir():
        raise InputError(f"a shipped bundle is called {name}: choose another name")
    if folder.exists() and not replace:
        raise InputError(f"{folder} is there already: choose another name, or replace it")
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}: give a checkpoint (.pth or .safetensors)")
    try:
        from transpose_sdk.convert import export_bundle
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"importing {path.name} needs {error.name}, which is not installed: pip install 'transpose-sdk[convert]'"
        ) from error
    origin = {"imported_from": {"file": path.name, "sha256": file_digest(path)}}
    origin |= {**(published.facts() if published else {}), **(facts or {})}
    return Path(export_bundle(path, folder, targets=TARGETS, name=name, facts=origin))


def official(name: str) -> OfficialCheckpoint:
    """A published checkpoint by its network's name.

    Raises:
        InputError: There is none of that name.
    """
    if name not in OFFICIAL:
        raise InputError(f"no published checkpoint is called {name!r}: choose one of {', '.join(OFFICIAL)}")
    return OFFICIAL[name]


def fetch(checkpoint: OfficialCheckpoint) -> Path:
    """Download a checkpoint, unless it is there.

    Nobody published digests of these files. So the SHA-256 of the first one seen is kept beside it, and from then on
    any other file is refused: this shows that a file has changed, not that the first one was right.

    Returns:
        The file.

    Raises:
        CheckpointError: It cannot be downloaded, or is not the file of the first time.
        MissingDependencyError: pooch, which downloads, is not installed.
    """
    path = checkpoint.path
    record = path.with_name(f"{path.name}.sha256")
    known = _read_record(record)
    if path.is_file():
        digest = file_digest(path)
        if known not in (None, digest):
            raise CheckpointError(
                f"{path} has the SHA-256 {digest}, but at the first time it was {known}: delete it and download it "
                f"again, or delete {record.name} if you trust the new one"
            )
    else:
        digest = _retrieve(checkpoint, known)
    if known is None:
        record.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
        log.warning("no digest of %s is published; its SHA-256 %s is trusted from now on", path.name, digest)
    return path


def _retrieve(checkpoint: OfficialCheckpoint, known: str | None) -> str:
    """Download, and give the file's digest."""
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"downloading needs pooch: pip install 'transpose-sdk[convert]', or put {checkpoint.url} at "
            f"{checkpoint.path} by hand"
        ) from error
    pooch.get_logger().setLevel("WARNING")
    path = checkpoint.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(checkpoint.url, None if known is None else f"sha256:{known}", fname=path.name, path=path.parent)
    except (OSError, ValueError) as error:  # no network, no such file, no space; another digest
        raise CheckpointError(
            f"cannot download {checkpoint.url} ({_short(error)}): put the file at {path} by hand and try again"
        ) from error
    return file_digest(path)


def _read_record(record: Path) -> str | None:
    try:
        words = record.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return None
    if not words or len(words[0]) != 64:
        raise CheckpointError(f"{record} holds no SHA-256: delete it, and check the checkpoint beside it")
    return words[0].lower()


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
