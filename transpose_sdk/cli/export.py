"""`transpose export`: a checkpoint becomes a bundle, or a bundle gets new INT8 graphs."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from transpose_sdk.bundles.bundle import SUFFIX
from transpose_sdk.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `transpose export`."""
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="official .pth, training checkpoint or .safetensors; or a bundle, whose int8 is made anew",
    )
    parser.add_argument("--out", required=True, metavar="NAME.tpose", help="the bundle's folder")
    parser.add_argument(
        "--to",
        type=_words,
        default=("openvino",),
        metavar="TARGETS",
        help="some of openvino, onnx, tensorrt, torch, with commas (default: openvino)",
    )
    parser.add_argument(
        "--precision",
        type=_words,
        default=("fp16",),
        metavar="PRECISIONS",
        help="fp16, int8 or both, with a comma (default: fp16)",
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="DIR|ANN.json", help="people for int8: photos, or a COCO keypoint file"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="images of --calibration (default: beside the file)")
    parser.add_argument(
        "--measure", type=Path, metavar="ANN.json", help="people to judge int8 by (default: some of --calibration)"
    )
    parser.add_argument("--measure-images", type=Path, metavar="DIR", help="their images (default: beside the file)")
    parser.add_argument(
        "--detector",
        default="person",
        help="finds the people in photos: person, frame, or a path (default: person)",
    )
    parser.add_argument("--half", action="store_true", help="kernels of the target torch in float16: half its size")
    parser.add_argument("--name", help="the bundle's name (default: the folder's)")
    parser.add_argument("--facts", type=Path, metavar="FILE.json", help="more for bundle.json: licence, training, ...")


def run(args: argparse.Namespace) -> int:
    """Export.

    Raises:
        TransposeError: The checkpoint does not load, an option does not fit, or no graph is good enough.
    """
    from transpose_sdk.cli.optional import import_extra

    convert = import_extra("transpose_sdk.convert", "convert")
    facts = _read_facts(args.facts) if args.facts else None
    data = None
    if args.calibration is not None:
        data = convert.CalibrationData(
            args.calibration, args.images, args.measure, args.measure_images, detector=args.detector
        )
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.getLogger("transpose_sdk.convert")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        if Path(args.checkpoint).suffix == SUFFIX:
            if args.precision != ("int8",) or data is None:
                raise InputError(
                    f"of the bundle {args.checkpoint} only int8 can be made anew: give --precision int8 and "
                    "--calibration, or a checkpoint"
                )
            requantize = import_extra("transpose_sdk.convert.requantize", "convert").requantize_bundle
            folder = requantize(args.checkpoint, args.out, data, name=args.name, facts=facts)
        else:
            folder = convert.export_bundle(
                args.checkpoint,
                args.out,
                targets=args.to,
                precisions=args.precision,
                calibration=data,
                name=args.name,
                facts=facts,
                half=args.half,
            )
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    sys.stderr.write(f"wrote {folder}\n")
    return 0


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the facts in {path} ({error}): give a file with one JSON object") from None
    if not isinstance(facts, dict):
        raise InputError(f"{path} holds a {type(facts).__name__}: give a file with one JSON object")
    return facts
