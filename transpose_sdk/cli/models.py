"""`transpose models`: the networks at hand, and how to get more."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transpose_sdk.bundles.bundle import Bundle
    from transpose_sdk.bundles.installed import Installed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions of `transpose models`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="shipped, imported and published networks")
    info = actions.add_parser("info", help="all that a bundle says about itself, as JSON")
    info.add_argument("name", metavar="NAME", help="a network's name or a bundle's path")
    importing = actions.add_parser("import", help="make a bundle of a checkpoint, to be used by name")
    importing.add_argument("file", metavar="FILE", help="published .pth, training checkpoint or .safetensors")
    importing.add_argument("--name", help="the bundle's name (default: the published network's, or the file's)")
    download = actions.add_parser("download", help="download a published checkpoint and import it")
    download.add_argument("name", metavar="NAME", help="tp_r_a3, tp_r_a4, tp_h_s, tp_h_a4 or tp_h_a6")
    for action in (importing, download):
        action.add_argument("--replace", action="store_true", help="replace the bundle if there is one of that name")


def run(args: argparse.Namespace) -> int:
    """Do it.

    Raises:
        TransposeError: There is no such network or file, or it cannot be read, converted or downloaded.
    """
    from transpose_sdk.bundles.official import fetch, official
    from transpose_sdk.cli.optional import import_extra

    logging.basicConfig(format="transpose: %(message)s", level=logging.WARNING)
    if args.action == "list":
        _list()
    elif args.action == "info":
        _info(args.name)
    else:
        importer = import_extra("transpose_sdk.convert.importer", "convert")
        path = args.file if args.action == "import" else fetch(official(args.name))
        folder = importer.import_checkpoint(path, getattr(args, "name", None), replace=args.replace)
        sys.stderr.write(f"wrote {folder}; use it as --model {folder.stem}\n")
    return 0


def _list() -> None:
    from transpose_sdk.bundles.installed import installed
    from transpose_sdk.bundles.official import OFFICIAL

    entries = installed()
    rows = [("name", "where", "input", "graphs", "accuracy")]
    rows += [_row(entry) for entry in entries]
    here = {entry.name for entry in entries}
    for name, checkpoint in OFFICIAL.items():
        if name not in here:
            rows.append((name, "to download", "256x192", "-", f"AP {checkpoint.ap} published"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        sys.stdout.write("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def _row(entry: Installed) -> tuple[str, str, str, str, str]:
    where = "imported" if entry.imported else "shipped"
    if entry.bundle is None:
        return entry.name, where, "-", "-", f"damaged: {entry.problem}"
    height, width = entry.bundle.input_size
    return entry.name, where, f"{height}x{width}", ", ".join(entry.bundle.graphs), _accuracy(entry.bundle)


def _accuracy(bundle: Bundle) -> str:
    """AP in a few words: measured on the bundle if it was, else published."""
    if bundle.accuracy is not None and bundle.accuracy.AP is not None:
        return f"AP {100 * bundle.accuracy.AP:.1f} measured"
    return f"AP {bundle.published.ap_gt_boxes} published" if bundle.published is not None else "-"


def _info(name: str) -> None:
    from pathlib import Path

    from transpose_sdk.bundles.bundle import open_bundle
    from transpose_sdk.bundles.installed import installed
    from transpose_sdk.bundles.official import OFFICIAL

    found = Path(name).is_dir() or any(entry.name == name for entry in installed())
    if not found and name in OFFICIAL:
        checkpoint = OFFICIAL[name]
        facts = {"name": name, "installed": False, "file": str(checkpoint.path), **checkpoint.facts()}
    else:
        bundle = open_bundle(name, "pose")
        known = {} if bundle.scores else {"scores": "estimated by another network's maps: see `transpose fit`"}
        facts = {"folder": str(bundle.folder), **bundle.description, **known}
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")
