"""Packaging: what lies where in the package, and the page that a package index shows.

The trainers and the apps are installed inside the SDK, so that no general name lands at the top level. All else that
packaging needs stands in pyproject.toml.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
# Where the repository's files can be fetched from, with a slash at its end; None as long as they lie nowhere in public.
FILES = None
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:)([^)]*)\)")


def inside(folder: str) -> dict[str, str]:
    """Packages of a top-level folder, as they are called within transpose_sdk, and where they lie."""
    names = [folder, *(f"{folder}.{name}" for name in find_packages(str(HERE / folder)))]
    return {f"transpose_sdk.{name}": name.replace(".", "/") for name in names}


def index_page() -> str:
    """The README as a package index can show it: with whole addresses where it points into the repository.

    Without FILES a picture is left out and a link is its words, for an index has neither file.
    """

    def whole(link: re.Match[str]) -> str:
        picture, words, path = link.groups()
        if FILES is not None:
            return f"{picture}[{words}]({FILES}{path})"
        return "" if picture else words

    return LINK.sub(whole, (HERE / "README.md").read_text(encoding="utf-8"))


PACKAGES = {name: name.replace(".", "/") for name in find_packages(str(HERE), include=["transpose_sdk*"])}
PACKAGES |= inside("trainers") | inside("apps")

setup(
    packages=list(PACKAGES),
    package_dir=PACKAGES,
    package_data={"transpose_sdk": ["py.typed", "assets/*/*"], "transpose_sdk.trainers": ["recipes/*.yaml"]},
    long_description=index_page(),
    long_description_content_type="text/markdown",
)
