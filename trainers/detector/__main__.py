"""Command line of the detector's training: train, eval, export."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from transpose_sdk.errors import TransposeError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m transpose_sdk.trainers.detector", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="start a run, or resume the one in the output folder")
    train.add_argument("--config", type=Path, help="options of an earlier run (config.json); flags override them")
    for name, text in (
        ("annotations", "COCO-format file with person_boxes"),
        ("images", "its folder"),
        ("negatives", "folder of photos without people"),
        ("val-annotations", "COCO-format file to evaluate on"),
        ("val-images", "its folder"),
        ("init", "weights to go on from: picodet_s_320_person.xml, or person.tpose/checkpoint.safetensors"),
        ("output", "folder of checkpoints and logs"),
    ):
        train.add_argument(f"--{name}", help=text)
    train.add_argument("--steps", type=int, help="length of the run")
    train.add_argument("--minutes", type=float, help="length of the run as training time, instead of steps")
    train.add_argument("--batch-size", type=int)
    train.add_argument("--device", help="cpu or cuda; by default a GPU if there is one")
    train.add_argument("--threads", type=int, help="torch threads on the CPU")
    train.add_argument("--workers", type=int, help="threads that make batches; a GPU wants one a core")
    train.add_argument("--seed", type=int)
    train.add_argument("--changed", action="store_true", help="resume a run with other options than it began with")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another option, its value in JSON: zoom=[0.8,1.3]",
    )

    export = commands.add_parser("export", help="write the bundle of a checkpoint's averaged weights, and measure it")
    export.add_argument("--checkpoint", type=Path, required=True, help="last.pt of a run")
    export.add_argument("--bundle", type=Path, required=True, help="folder to write, such as person.tpose")
    export.add_argument(
        "--keep", type=float, default=0.0, metavar="SHARE", help="of the weights that the run went on from, in the mean"
    )
    export.add_argument("--score-threshold", type=float, metavar="S", help="to ship with (default: the one measured)")

    judge = commands.add_parser("eval", help="AP, recall and time of detectors side by side")
    judge.add_argument("detectors", nargs="+", help="'person', 'frame', a bundle or a network file")
    judge.add_argument("--device", default="CPU", help="OpenVINO's name of the device")
    for command in (export, judge):
        command.add_argument("--val-annotations", type=Path, required=True, help="COCO-format file to measure on")
        command.add_argument("--val-images", type=Path, required=True, help="its folder")
    return parser


def _train(arguments: argparse.Namespace) -> None:
    import json
    from dataclasses import asdict

    import torch

    from .config import DetectorConfig
    from .loop import train

    options = asdict(DetectorConfig.load(arguments.config)) if arguments.config else {}
    flags = {
        name: value for name, value in vars(arguments).items() if name not in {"command", "config", "set", "changed"}
    }
    options.update({name: value for name, value in flags.items() if value is not None})
    try:
        options.update({key: json.loads(value) for key, _, value in (item.partition("=") for item in arguments.set)})
    except ValueError:
        raise TransposeError(f"--set {' --set '.join(arguments.set)}: give KEY=VALUE with a value in JSON") from None
    if "annotations" not in options or "images" not in options:
        raise TransposeError("give --annotations and --images, or a --config that has them.")
    options.setdefault("device", "cuda" if torch.cuda.is_available() else "cpu")
    train(DetectorConfig.from_dict(options, "the command line"), changed=arguments.changed)


def _export(arguments: argparse.Namespace) -> None:
    import json

    from .export import export

    where = arguments.checkpoint, arguments.bundle
    bundle = export(*where, arguments.val_annotations, arguments.val_images, arguments.keep, arguments.score_threshold)
    sys.stdout.write(json.dumps(bundle["measured"], indent=2) + "\n")


def _eval(arguments: argparse.Namespace) -> None:
    from transpose_sdk.detectors import open_detector

    from .evaluation import LOWEST_SCORE, compare, read_images

    truth, images = read_images(arguments.val_annotations, arguments.val_images)
    detectors = [open_detector(spec, arguments.device, score_threshold=LOWEST_SCORE) for spec in arguments.detectors]
    table = compare(list(detectors), truth, images)
    columns = {"recall@.5": "recall50", "@.75": "recall75", "large": "large50", "AP@.5": "ap50", "AP": "ap"}
    columns |= {"best F1": "best_f1", "at": "threshold"}
    sys.stdout.write(f"{'detector':24s}" + "".join(f" {title:>9s}" for title in (*columns, "ms")) + "\n")
    for detector, scores in zip(detectors, table, strict=True):
        row = "".join(f" {getattr(scores, name):9.3f}" for name in columns.values())
        sys.stdout.write(f"{detector.name:24s}{row} {scores.milliseconds:9.2f}\n")
        detector.close()


def main() -> int:
    """Run a command; errors of ours become one line and exit code 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    arguments = _parser().parse_args()
    try:
        {"train": _train, "export": _export, "eval": _eval}[arguments.command](arguments)
    except TransposeError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
