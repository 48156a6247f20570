"""Packaging: the SDK, with its trainers and apps installed inside it so that no general name lands at the top level."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def inside(folder: str) -> dict[str, str]:
    """Packages of a top-level folder, as they are called within transpose_sdk, and where they lie."""
    names = [folder, *(f"{folder}.{name}" for name in find_packages(str(HERE / folder)))]
    return {f"transpose_sdk.{name}": name.replace(".", "/") for name in names}


PACKAGES = {name: name.replace(".", "/") for name in find_packages(str(HERE), include=["transpose_sdk*"])}
PACKAGES |= inside("trainers") | inside("apps")

EXTRAS = {
    "train": ["torch>=2.4", "pycocotools>=2.0.8", "pyyaml>=6", "safetensors>=0.4", "tqdm>=4.60"],
    "convert": [
        "torch>=2.4",
        "onnx>=1.16",
        "onnxruntime>=1.18",
        "onnxscript>=0.2",
        "nncf>=2.14",
        "pooch>=1.8",
        "pycocotools>=2.0.8",
        "safetensors>=0.4",
    ],
    "cuda": ["torch>=2.4", "safetensors>=0.4"],
    "tensorrt": [
        "tensorrt>=10.3; platform_machine == 'x86_64'",
        "onnx>=1.16",
        "onnxscript>=0.2",
        "torch>=2.4",
        "safetensors>=0.4",
    ],
    "tensorboard": ["tensorboard>=2.14"],
    "explain": ["matplotlib>=3.8"],
    "pandas": ["pandas>=2"],
    "viewer": ["PyQt6>=6.5"],
    "test": ["pytest>=8", "pandas>=2", "matplotlib>=3.8", "motmetrics>=1.4"],
    # Apart: where Qt's system libraries are missing, pytest-qt keeps pytest from starting at all.
    "test-viewer": ["pytest-qt>=4.4", "PyQt6>=6.5"],
    "lint": ["ruff==0.17.6", "mypy==2.4.1", "types-PyYAML", "types-tqdm"],
}

setup(
    name="transpose-sdk",
    version="0.1.0",
    description="Real-time human pose with attention that explains itself, on OpenVINO and CUDA",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=list(PACKAGES),
    package_dir=PACKAGES,
    package_data={"transpose_sdk": ["py.typed", "assets/*/*"], "transpose_sdk.trainers": ["recipes/*.yaml"]},
    # Newer than the oldest release that the tests have run with is not asked for; numba decides Python's upper bound.
    install_requires=[
        "numpy>=1.26",
        "opencv-python-headless>=4.8",
        "numba>=0.60",
        "openvino>=2024.4",
        "scipy>=1.11",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["transpose=transpose_sdk.cli.main:main"]},
)
