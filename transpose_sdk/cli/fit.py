"""`transpose fit`: make a bundle's scores probabilities."""

from __future__ import annotations

import argparse
from pathlib import Path

from transpose_sdk.bundles.bundle import DEFAULT_MODEL

FROM = 0.2  # box score: below lie fifty boxes an image and more, of which some in a thousand are right


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `transpose fit`."""
    parser.add_argument("--bundle", default=DEFAULT_MODEL, help="a network's name or a path (default: %(default)s)")
    parser.add_argument(
        "--coco", type=Path, required=True, metavar="ANN.json", help="people on whom the network was not trained"
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of their images")
    parser.add_argument(
        "--share", type=float, default=1.0, metavar="S", help="of the images, those that a recipe's held_out leaves out"
    )
    parser.add_argument("--sources", nargs="+", metavar="NAME", help="images of these sources alone")
    parser.add_argument("--detector", default="person", help="person, frame, or a detector's path (default: person)")
    parser.add_argument("--device", default="AUTO", help="AUTO, CPU, GPU, NPU, CUDA, TENSORRT, ... (default: AUTO)")
    parser.add_argument("--precision", help="fp32, fp16 or int8 (default: the bundle's best for the device)")
    parser.add_argument("--seen", action="store_true", help="say in the bundle that the network was trained on them")
    parser.add_argument("--write", action="store_true", help="keep the maps in the bundle")
    parser.add_argument("--json", metavar="FILE", help="write the report here; - or nothing is stdout")


def run(args: argparse.Namespace) -> int:
    """Fit, report, and keep the maps where that is asked for.

    Raises:
        TransposeError: The bundle, the annotations or the images cannot be used.
    """
    import logging
    from dataclasses import asdict

    from transpose_sdk.bundles.writer import amend_bundle
    from transpose_sdk.cli.optional import trainers_module
    from transpose_sdk.cli.output import write_json
    from transpose_sdk.cli.outputs import Output, check_outputs
    from transpose_sdk.estimator import PoseEstimator

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.json is not None:
        check_outputs([Output("--json", args.json)], [args.coco, args.bundle, args.detector])
    benchmarks, scores = trainers_module("evaluation.benchmark"), trainers_module("evaluation.fitted_scores")
    with PoseEstimator(args.bundle, args.device, args.precision, args.detector, detector_score=FROM) as estimator:
        people = benchmarks.read_benchmark(args.coco, estimator.skeleton, "coco")
        people = scores.chosen_images(people, args.share, args.sources)
        report, maps = scores.fit_scores(estimator, people, args.images, args.coco.name, args.seen)
        bundle, model = estimator.bundle, estimator.describe()
    if args.write:
        amend_bundle(bundle, scores=asdict(maps))
    write_json({"bundle": str(args.bundle), "model": model, **report}, args.json)
    return 0
