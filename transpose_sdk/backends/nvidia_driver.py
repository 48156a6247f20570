"""The version of NVIDIA's driver, on which compiled engines and answers depend."""

from __future__ import annotations

import subprocess
from pathlib import Path

# Where the driver says its version; a Jetson has the second file instead.
DRIVER_FILES = (Path("/proc/driver/nvidia/version"), Path("/etc/nv_tegra_release"))


def driver_version() -> str:
    """The NVIDIA driver's own words about its version; "unknown" where nothing tells."""
    for file in DRIVER_FILES:
        if file.is_file():
            return file.read_text(encoding="utf-8").strip()
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
