"""The checkpoints that the authors of TransPose released, and how they are downloaded."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transpose_sdk.disk.digest import file_digest
from transpose_sdk.disk.user_folder import checkpoints_folder
from transpose_sdk.disk.whole_file import whole_file
from transpose_sdk.errors import CheckpointError, InputError, MissingDependencyError

log = logging.getLogger(__name__)

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
        with whole_file(record) as unfinished:
            unfinished.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
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
