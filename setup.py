"""Packaging: the trainers and the apps are installed inside the SDK, so that no general name lands at the top level.

All else that packaging needs stands in pyproject.toml.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def inside(folder: str) -> dict[str, str]:
    """Packages of a top-level folder, as they are called within transpose_sdk, and where they lie."""
    names = [folder, *(f"{folder}.{name}" for name in find_packages(str(HERE / folder)))]
    return {f"transpose_sdk.{name}": name.replace(".", "/") for name in names}


PACKAGES = {name: name.replace(".", "/") for name in find_packages(str(HERE), include=["transpose_sdk*"])}
PACKAGES |= inside("trainers") | inside("apps")

setup(
    packages=list(PACKAGES),
    package_dir=PACKAGES,
    package_data={"transpose_sdk": ["py.typed", "assets/*/*"], "transpose_sdk.trainers": ["recipes/*.yaml"]},
)
