"""`transpose eval`: a bundle's numbers on annotated people, on any device and precision."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from transpose_sdk.bundles.bundle import DEFAULT_MODEL

WORST = 12  # cases on a page, unless told otherwise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `transpose eval`."""
    parser.add_argument("--bundle", default=DEFAULT_MODEL, help="shipped network or a path (default: %(default)s)")
    people = parser.add_mutually_exclusive_group(required=True)
    people.add_argument("--coco", type=Path, metavar="ANN.json", help="COCO keypoint annotations: average precision")
    people.add_argument(
        "--mpii", type=Path, metavar="FILE", help="valid.json with gt_valid.mat beside it, or the released .mat: PCKh"
    )
    people.add_argument("--lsp", type=Path, metavar="ANN.json", help="COCO file with lsp_joints: PCK@0.2 of the torso")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of the images")
    parser.add_argument(
        "--boxes",
        default="gt",
        metavar="gt|det|FILE.json",
        help="annotated, detected here, or a file of detections (default: gt)",
    )
    parser.add_argument("--detector", default="person", help="person, frame, or a detector's path (default: person)")
    parser.add_argument(
        "--detector-score",
        type=float,
        default=0.05,
        metavar="S",
        help="lowest score of a detected box (default: 0.05, since average precision counts the doubtful ones too)",
    )
    parser.add_argument("--device", default="AUTO", help="AUTO, CPU, GPU, NPU, CUDA, TENSORRT, ... (default: AUTO)")
    parser.add_argument("--precision", help="fp32, fp16 or int8 (default: the fastest of the right)")
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="average with the mirrored crop, as published (default: as the bundle does)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers here; - or nothing is stdout")
    parser.add_argument("--worst", type=int, metavar="N", help=f"how many cases --page shows (default: {WORST})")
    parser.add_argument("--page", type=Path, metavar="OUT.png|DIR", help="draw the worst cases, on a page or one each")


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the numbers, and print the tables by joint and by size to stderr.

    Raises:
        TransposeError: The bundle, the annotations, the images or an output cannot be used.
    """
    import logging
    import re

    from transpose_sdk.cli.optional import trainers_module
    from transpose_sdk.cli.output import write_json
    from transpose_sdk.cli.outputs import Output, check_outputs
    from transpose_sdk.errors import InputError
    from transpose_sdk.estimator import PoseEstimator

    if args.worst is not None and (args.worst < 1 or args.page is None):
        raise InputError(f"--worst {args.worst}: give a number of 1 or more, and --page to say where to draw them")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    benchmark, evaluation = trainers_module("evaluation.benchmark"), trainers_module("evaluation.evaluate")
    pairs, worst = trainers_module("evaluation.pairs"), trainers_module("evaluation.worst")
    found, scores = trainers_module("evaluation.outcomes"), trainers_module("evaluation.fitted_scores")
    annotations = args.coco or args.mpii or args.lsp
    outputs = [Output("--json", args.json)] if args.json is not None else []
    if args.page is not None:
        folder = None if args.page.suffix else re.compile(r"\d{3,}_.*\.png")
        outputs.append(Output("--page", str(args.page) if args.page != Path() else "", folder))
    check_outputs(outputs, [annotations, args.bundle, args.detector])
    kind = "coco" if args.coco else "mpii" if args.mpii else "lsp"
    detector = args.detector if args.boxes == "det" else "frame"
    options = {"flip_test": args.flip, "detector_score": args.detector_score}
    with PoseEstimator(args.bundle, args.device, args.precision, detector, **options) as estimator:
        people = benchmark.read_benchmark(annotations, estimator.skeleton, kind)
        images = [args.images / name for name in people.file_names.values()]
        check_outputs(outputs, [annotations, *images, args.bundle, args.detector, args.boxes])
        answers = evaluation.evaluate_estimator(estimator, people, args.images, args.boxes)
        model = estimator.describe()
        numbers = evaluation.score(people, answers, estimator.bundle.input_size)
        if kind == "coco":
            numbers["AP_error"] = evaluation.standard_error(people, answers, estimator.bundle.input_size)
    paired = pairs.pair_up(people, answers)
    tables = {"joints": pairs.joint_table(paired, kind), "sizes": pairs.size_table(paired)}
    report = {
        "bundle": str(args.bundle),
        "model": model,
        "annotations": annotations.name,
        "boxes": args.boxes,
        "flip_test": estimator.flip_test,
        "persons": len(paired),
        **{name: round(value, 4) for name, value in numbers.items()},
        **tables,
    }
    if kind == "coco":
        report["scores"] = scores.score_report(found.outcomes(people, answers))
    if args.page is not None:
        read_image = evaluation.image_reader(args.images, people)
        report["worst"] = worst.write_worst(paired, read_image, args.worst or WORST, args.page)
    for table in tables.values():
        sys.stderr.write(pairs.text_table(table) + "\n\n")
    write_json(report, args.json)
    return 0
