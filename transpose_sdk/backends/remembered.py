"""What was found out about a bundle on this machine, kept as a file in the user's folder.

The file says on what the finding depends: machine, processor, runtime and driver, device, and the bundle's content.
Where one of them differs, or the file is damaged or could not be written, it is found out again.
Several processes may find out the same thing at a time: each writes a whole file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.disk.whole_file import whole_file

# Caps the instructions that OpenVINO uses, so that the same processor gives other answers in other times.
CAPS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")

Facts = dict[str, Any]


def dependencies(bundle: Bundle, device: str, runtime: str) -> Facts:
    """What a finding depends on.

    Args:
        bundle: What was opened.
        device: Where, such as "CPU".
        runtime: By what: `Backend.runtime`.
    """
    processor = [CORE.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    description = json.dumps(bundle.description, sort_keys=True)  # which has the digests of all files
    return {
        "machine": [platform.node(), platform.platform()],
        "processor": [*processor, *(os.environ.get(cap) for cap in CAPS)],
        "runtime": runtime,
        "device": device,
        "bundle": [bundle.name, hashlib.sha256(description.encode()).hexdigest()],
    }


def recall(folder: Path, facts: Facts) -> Any:
    """The finding of a folder that depends on exactly these facts; None where there is none, or it cannot be read."""
    try:
        kept = json.loads(_file(folder, facts).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return kept.get("finding") if isinstance(kept, dict) and kept.get("facts") == facts else None


def remember(folder: Path, facts: Facts, finding: Any) -> None:
    """Keep a finding, in values that JSON has; where the folder cannot be written it is found out again."""
    file = _file(folder, facts)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as unfinished:
            unfinished.write_text(json.dumps({"facts": facts, "finding": finding}, indent=2) + "\n", encoding="utf-8")


def _file(folder: Path, facts: Facts) -> Path:
    return folder / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}.json"
