"""`transpose bench`: how fast a bundle is on this machine, part by part and end to end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from transpose_sdk.bundles.bundle import DEFAULT_MODEL

if TYPE_CHECKING:
    from transpose_sdk.estimator import PoseEstimator
    from transpose_sdk.media.frames import Source

SCHEMA = "transpose-sdk/bench/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `transpose bench`."""
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="video or folder of images (default: drawn people)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped network or a path (default: %(default)s)")
    parser.add_argument("--device", default="AUTO", help="AUTO, CPU, GPU, NPU, CUDA, ... (default: AUTO)")
    parser.add_argument("--precision", help="fp32, fp16 or int8 (default: the fastest of the right)")
    parser.add_argument("--detector", default="person", help="person, frame, or a detector's path (default: person)")
    parser.add_argument("--requests", type=int, metavar="N", help="crops in flight (default: the device's choice)")
    parser.add_argument("--frames", type=int, default=100, metavar="N", help="of the source (default: 100)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="everything once a round (default: 5)")
    parser.add_argument("--json", metavar="FILE", help="also write the figures as JSON; - is stdout")


def run(args: argparse.Namespace) -> int:
    """Measure and print a table.

    Raises:
        TransposeError: The source, the network, the device or the output cannot be used, or nobody is in the clip.
    """
    from transpose_sdk.cli.output import write_json
    from transpose_sdk.cli.outputs import Output, check_outputs
    from transpose_sdk.diagnostics import doctor
    from transpose_sdk.diagnostics.bench import measure, table
    from transpose_sdk.errors import InputError
    from transpose_sdk.estimator import PoseEstimator
    from transpose_sdk.without_secrets import without_secrets

    if args.json is not None:
        source = [args.source] if args.source is not None else []
        check_outputs([Output("--json", args.json)], [*source, args.model, args.detector])
    if min(args.frames, args.rounds) < 1 or (args.requests is not None and args.requests < 1):
        raise InputError("--frames, --rounds and --requests are counts: give 1 or more")
    with PoseEstimator(args.model, args.device, args.precision, args.detector, requests=args.requests) as estimator:
        open_clip = _clip(args, estimator)
        backend, model = estimator.backend, estimator.describe()
        figures = measure(open_clip, estimator, args.rounds)
    clip = without_secrets(args.source or "drawn people")
    report = sys.stderr if args.json == "-" else sys.stdout
    report.write(
        f"{model['name']} {model['precision']} on {model['device']} ({backend.name}), detector {model['detector']}, "
        f"{backend.requests} requests in flight, batches of up to {backend.batches[-1]}\n"
        f"{clip}, {args.frames} frames, {args.rounds} rounds; {doctor.system()}\n\n"
        f"{table(figures)}"
    )
    if args.json is not None:
        document = {
            "schema": SCHEMA,
            "system": doctor.system(),
            "model": {**model, "backend": backend.name, "requests": backend.requests, "batches": list(backend.batches)},
            "source": {"name": clip, "frames": args.frames},
            "rounds": args.rounds,
            "figures": [figure.to_dict() for figure in figures],
        }
        write_json(document, args.json)
    return 0


def _clip(args: argparse.Namespace, estimator: PoseEstimator) -> Callable[[], Source]:
    """A function that opens the clip."""
    from transpose_sdk.bundles.probe import Probe
    from transpose_sdk.diagnostics.clip import KnownPeople, drawn_clip
    from transpose_sdk.media.sources import open_source

    if args.source is not None:
        return lambda: open_source(args.source, stop=args.frames)
    frames, boxes = drawn_clip(Probe.load(estimator.bundle).crops, args.frames)
    estimator.detector = KnownPeople(estimator.detector, boxes)
    return lambda: open_source(frames, fps=30.0)
