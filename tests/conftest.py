"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development data beside the checkout; tests that need it skip where it is missing."""
    folder = Path(os.environ.get("TRANSPOSE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "REFERENCE.md").exists():
        pytest.skip(f"no development data at {folder} (set TRANSPOSE_SHARED)")
    return folder
