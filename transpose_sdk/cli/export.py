"""`transpose export`: a checkpoint becomes a bundle."""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `transpose export`."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="official .pth, training checkpoint or .safetensors")
    parser.add_argument("--out", required=True, metavar="NAME.tpose", help="the bundle's folder")
    parser.add_argument("--name", help="the bundle's name (default: the folder's)")


def run(args: argparse.Namespace) -> int:
    """Export.

    Raises:
        TransposeError: The checkpoint does not load, or the graph is not the network it came from.
    """
    from transpose_sdk.cli.optional import import_extra

    folder = import_extra("transpose_sdk.convert", "convert").export_bundle(args.checkpoint, args.out, name=args.name)
    sys.stderr.write(f"wrote {folder}\n")
    return 0
