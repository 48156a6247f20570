"""`transpose view`: the desktop viewer."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `transpose view`."""
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="video, image, folder, camera index, or URL")
    parser.add_argument("--model", help="shipped network's name or a bundle's path (default: the last one used)")
    parser.add_argument("--device", help="AUTO, CPU, GPU, NPU, ... (default: the last one used)")
    parser.add_argument("--precision", help="fp32, fp16 or int8 (default: the bundle's best)")
    parser.add_argument("--detector", help="person, frame, or a detector's path (default: the last one used)")


def run(args: argparse.Namespace) -> int:
    """Open the window.

    Raises:
        MissingDependencyError: PyQt6 is not installed.
    """
    from transpose_sdk.cli.optional import import_extra

    app = import_extra("transpose_sdk.apps.viewer.app", "viewer")
    given = {name: getattr(args, name) for name in ("model", "device", "precision", "detector")}
    return int(app.show(args.source, {name: value for name, value in given.items() if value is not None}))
