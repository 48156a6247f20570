"""Where the commands' JSON goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(record: Mapping[str, Any], path: str | None) -> None:
    """Write a record to a file; None and "-" stand for stdout.

    Raises:
        SinkError: The file cannot be written.
    """
    from transpose_sdk.media.files import sink_errors, write_whole

    text = json.dumps(record, indent=2) + "\n"
    if path is None or path == "-":
        sys.stdout.write(text)
    else:
        with sink_errors(path):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), text.encode())
