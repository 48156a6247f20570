"""Which cameras there are, without opening them: opening takes seconds, and a camera in use cannot be opened."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

DEVICES = Path("/sys/class/video4linux")
OFFERED = 4  # cameras on systems that cannot be asked


@dataclass(frozen=True)
class Camera:
    """A camera that OpenCV can be told to open.

    Attributes:
        index: OpenCV's number.
        name: What the driver calls it.
    """

    index: int
    name: str


def list_cameras(devices: Path = DEVICES) -> list[Camera]:
    """The cameras of this machine; on other systems than Linux the first numbers, named only by them."""
    if not sys.platform.startswith("linux"):
        return [Camera(index, f"Camera {index}") for index in range(OFFERED)]
    found = []
    for folder in devices.glob("video*") if devices.is_dir() else ():
        number = folder.name.removeprefix("video")
        # A camera has further nodes for its metadata, which give no pictures.
        if number.isdigit() and _text(folder / "index") in ("", "0"):
            found.append(Camera(int(number), _text(folder / "name") or f"Camera {number}"))
    return sorted(found, key=lambda camera: camera.index)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
