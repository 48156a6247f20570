"""What is remembered between two runs."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from PyQt6.QtCore import QByteArray, QSettings, QStandardPaths

from transpose_sdk.dependency import Threshold
from transpose_sdk.errors import InputError
from transpose_sdk.without_secrets import has_secrets

from .engine.settings import Look, Network, Streaming
from .style.theme import CHOICES

Part = TypeVar("Part", Network, Streaming, Look)
RECENT = 6


def _pictures() -> str:
    folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.MoviesLocation)
    return folder or str(Path.home())


@dataclass
class Remembered:
    """All of it.

    Attributes:
        folder: Where recordings and screenshots go.
        recent: Sources, the last one first.
    """

    network: Network = field(default_factory=Network)
    streaming: Streaming = field(default_factory=Streaming)
    look: Look = field(default_factory=Look)
    theme: str = "system"
    folder: str = field(default_factory=_pictures)
    recent: list[str] = field(default_factory=list)
    loop: bool = False
    panel: bool = True
    geometry: bytes = b""

    def opened(self, spec: str) -> None:
        """A source was opened; one that tells a login is not kept, for it could not be opened without."""
        if not has_secrets(spec):
            self.recent = [spec, *(other for other in self.recent if other != spec)][:RECENT]

    def new_file(self, suffix: str) -> Path:
        """A name for a recording or a screenshot of now, which no file has yet."""
        stem = f"transpose_{datetime.now():%Y%m%d_%H%M%S}"
        names = (f"{stem}{number}" for number in ("", *(f"_{n}" for n in range(2, 1000))))
        free = (name for name in names if not any(Path(self.folder).glob(f"{name}.*")))
        return Path(self.folder) / f"{next(free, stem)}{suffix}"


def load(store: QSettings) -> Remembered:
    """Read; what is missing, damaged or of another version gets its default."""
    plain = Remembered()
    try:
        kept = json.loads(str(store.value("viewer", "{}")))
    except ValueError:
        kept = {}
    if not isinstance(kept, dict):
        kept = {}
    theme, recent = kept.get("theme"), kept.get("recent")
    recent = recent if isinstance(recent, list) else []
    geometry = store.value("geometry")
    return Remembered(
        network=_part(Network, kept.get("network")),
        streaming=_part(Streaming, kept.get("streaming")),
        look=_part(Look, kept.get("look")),
        theme=theme if theme in CHOICES else plain.theme,
        folder=str(kept.get("folder") or plain.folder),
        recent=[spec for spec in recent if isinstance(spec, str) and not has_secrets(spec)][:RECENT],
        loop=kept.get("loop") is True,
        panel=kept.get("panel") is not False,
        geometry=bytes(geometry.data()) if isinstance(geometry, QByteArray) else b"",
    )


def save(store: QSettings, remembered: Remembered) -> None:
    """Write, for the user's eyes alone."""
    values = {name: value for name, value in asdict(remembered).items() if name != "geometry"}
    store.setValue("viewer", json.dumps(values))
    store.setValue("geometry", QByteArray(remembered.geometry))
    mask = os.umask(0o077)
    try:
        store.sync()
    finally:
        os.umask(mask)
    with suppress(OSError):  # where settings are kept in no file, as on Windows
        Path(store.fileName()).chmod(0o600)


def _part(kind: type[Part], values: Any) -> Part:
    """A dataclass of settings from its fields; the default where they don't fit."""
    try:
        if kind is Look:
            values = {**values, "threshold": Threshold(*values["threshold"])}
        return kind(**values)
    except (TypeError, KeyError, ValueError, InputError):
        return kind()
