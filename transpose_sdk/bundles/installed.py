"""The bundles at hand: those that came with the package, and those in the user's folder."""

from __future__ import annotations

from dataclasses import dataclass

from transpose_sdk.bundles.bundle import ASSETS, Bundle, kind_of, named_folders, open_bundle
from transpose_sdk.disk.user_folder import models_folder
from transpose_sdk.errors import BundleError


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
