"""`transpose eval`: COCO's ten numbers of a bundle, on any device and precision."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `transpose eval`."""
    parser.add_argument("--bundle", default="tp_m", help="shipped network's name or a bundle's path (default: tp_m)")
    parser.add_argument("--coco", type=Path, required=True, metavar="ANN.json", help="COCO keypoint annotations")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of the images")
    parser.add_argument("--boxes", choices=("gt", "det"), default="gt", help="annotated or detected (default: gt)")
    parser.add_argument("--detector", default="person", help="person, frame, or a detector's path (default: person)")
    parser.add_argument("--device", default="AUTO", help="AUTO, CPU, GPU, NPU, ... (default: AUTO)")
    parser.add_argument("--precision", help="fp32, fp16 or int8 (default: the bundle's best for the device)")
    parser.add_argument("--flip", action="store_true", help="average with the mirrored crop, as published")
    parser.add_argument("--json", metavar="FILE", help="write the numbers here; - or nothing is stdout")


def run(args: argparse.Namespace) -> int:
    """Evaluate and write the numbers.

    Raises:
        TransposeError: The bundle, the annotations, the images or the output cannot be used.
    """
    from transpose_sdk.cli.optional import trainers_module
    from transpose_sdk.errors import SinkError
    from transpose_sdk.estimator import PoseEstimator

    evaluate_estimator = trainers_module("evaluation").evaluate_estimator
    detector = args.detector if args.boxes == "det" else "frame"
    with PoseEstimator(args.bundle, args.device, args.precision, detector, flip_test=args.flip) as estimator:
        numbers = evaluate_estimator(estimator, args.coco, args.images, args.boxes)
        report = {
            "bundle": str(args.bundle),
            "model": estimator.describe(),
            "annotations": args.coco.name,
            "boxes": args.boxes,
            "flip_test": args.flip,
            **{name: round(value, 4) for name, value in numbers.items()},
        }
    text = json.dumps(report, indent=2) + "\n"
    if args.json in (None, "-"):
        sys.stdout.write(text)
        return 0
    try:
        Path(args.json).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SinkError(f"cannot write {args.json} ({error.strerror}): give a file in a writable folder") from error
    return 0
