"""`transpose train`: train a network by a recipe; see `transpose_sdk.trainers.loop`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `transpose train`."""
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file, or the name of a packaged recipe")
    parser.add_argument("--data", type=Path, required=True, help="folder of annotations and images")
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument("--out", type=Path, help="folder of the run; a run found there is resumed")
    goal.add_argument(
        "--dry-run", action="store_true", help="check the data, print the plan, try two steps and write no run"
    )
    parser.add_argument("--init", type=Path, help="checkpoint of the network, or weights of its stem, to start from")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--workers", type=int, default=1, help="processes that cut batches (default: 1)")
    parser.add_argument("--threads", type=int, help="CPU threads of the network (default: all cores)")
    parser.add_argument("--cache", type=Path, help="folder for decoded images, 3 bytes a pixel (default: DATA/cache)")
    parser.add_argument(
        "--changed", action="store_true", help="resume the run in OUT with another recipe than it began with"
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write logs for TensorBoard too, into OUT/tensorboard"
    )
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="replace a value of the recipe")


def run(args: argparse.Namespace) -> int:
    """Train, or with --dry-run write the plan to stdout.

    Raises:
        TransposeError: The recipe, the data or the checkpoint cannot be used, or the run cannot go on.
    """
    import logging
    import os

    from transpose_sdk.cli.optional import trainers_module
    from transpose_sdk.errors import InputError

    # Of the processes that torchrun starts one speaks for all.
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s")
    options = {"device": args.device, "threads": args.threads, "data": args.data, "init": args.init}
    options |= {"workers": args.workers, "cache": args.cache}
    if args.workers < 0:
        raise InputError(f"--workers {args.workers}: give 0 or more processes")
    if args.dry_run:
        for line in trainers_module("plan").plan_recipe(args.recipe, args.set, **options):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    else:
        options |= {"folder": args.out, "changed": args.changed, "tensorboard": args.tensorboard}
        trainers_module("loop").train_recipe(args.recipe, args.set, **options)
    return 0
