"""`transpose explain`: the figures 6 and 7 of the paper for a person in an image, and the signals of their joints."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transpose_sdk.bundles.bundle import DEFAULT_MODEL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from transpose_sdk.models import TransPose
    from transpose_sdk.poses import Poses
    from transpose_sdk.scores import ScoreMaps
    from transpose_sdk.signals import OcclusionRule
    from transpose_sdk.skeletons import Skeleton

# A network's answer on an image: its name, and the poses with the attention of each layer by number.
Answer = tuple[str, "dict[int, Poses]"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `transpose explain`."""
    parser.add_argument("image", metavar="IMAGE", help="image, or a video for its first frame")
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--model", default=DEFAULT_MODEL, help="shipped network or a path (default: %(default)s)")
    network.add_argument("--checkpoint", type=Path, help=".safetensors or .pth instead; needs torch")
    parser.add_argument("--device", default="AUTO", help="of a bundle: AUTO, CPU, GPU, NPU, ... (default: AUTO)")
    parser.add_argument("--precision", help="of a bundle: fp32, fp16 or int8 (default: the fastest of the right)")
    parser.add_argument("--detector", default="person", help="person, frame, or a detector's path (default: person)")
    parser.add_argument("--person", type=int, default=0, metavar="N", help="from 0, best first (default: 0)")
    parser.add_argument("--keypoints", default="all", metavar="NAMES", help="names with commas, or all (default)")
    parser.add_argument(
        "--layers", default="last", help="last (default), all, or numbers with commas from 1; all but last need torch"
    )
    parser.add_argument("--mode", choices=("dependency", "affected"), default="dependency", help="default: dependency")
    parser.add_argument("--threshold", default="3x", help="attention that counts: 0.01, or 3x uniform (default: 3x)")
    parser.add_argument("--out", required=True, metavar="FILE", help="the figure: .png, .jpg, .pdf or .svg")
    parser.add_argument("--json", metavar="FILE", help="write the joints' signals here; - is stdout")


def run(args: argparse.Namespace) -> int:
    """Draw the figure.

    Raises:
        TransposeError: The image or the network cannot be used, or it has no such person, joint or layer.
    """
    from transpose_sdk.bundles.bundle import open_bundle
    from transpose_sdk.cli.optional import import_extra
    from transpose_sdk.cli.output import write_json
    from transpose_sdk.cli.outputs import Output, check_outputs
    from transpose_sdk.dependency import Threshold, attention_areas
    from transpose_sdk.errors import InputError
    from transpose_sdk.media.sources import open_source
    from transpose_sdk.without_secrets import without_secrets

    figures = import_extra("transpose_sdk.drawing.figure", "explain")
    threshold = Threshold.parse(args.threshold)
    outputs = [Output("--out", args.out), *([Output("--json", args.json)] if args.json is not None else [])]
    check_outputs(outputs, [args.image, args.model, args.detector, *([args.checkpoint] if args.checkpoint else [])])
    with open_source(args.image) as source:
        first = next(iter(source), None)
    if first is None:
        raise InputError(f"{args.image} gave no picture: give an image, or a video that is complete")
    image = first.image
    name, layers = _from_bundle(args, image) if args.checkpoint is None else _from_checkpoint(args, image)
    poses = layers[max(layers)]
    if not len(poses):
        raise InputError(
            f"nobody was found in {args.image}: give another image, or --detector frame for the whole of it"
        )
    names = poses.skeleton.names if args.keypoints == "all" else [item.strip() for item in args.keypoints.split(",")]
    areas = {
        f"layer {number}": attention_areas(layer, args.person, names, args.mode) for number, layer in layers.items()
    }
    picture = os.fsencode(Path(without_secrets(args.image)).name).decode(errors="replace")
    title = f"{name}: {args.mode} areas of person {args.person} in {picture}"
    figure = figures.explain_figure(image, poses, args.person, areas, threshold=threshold, title=title)
    figures.save_figure(figure, args.out)
    sys.stderr.write(f"wrote {args.out}\n")
    if args.json is not None:
        rule = None if args.checkpoint else open_bundle(args.model, "pose").occlusion
        write_json(signals_record(poses[args.person], rule), args.json)
    return 0


def _from_bundle(args: argparse.Namespace, image: NDArray[np.uint8]) -> Answer:
    """The answer of a bundle: of its last layer by its best graph, of all by its PyTorch network where it has one."""
    from transpose_sdk.bundles.bundle import open_bundle
    from transpose_sdk.cli.optional import import_extra
    from transpose_sdk.errors import InputError
    from transpose_sdk.estimator import PoseEstimator

    if args.layers == "last":
        with PoseEstimator(args.model, args.device, args.precision, args.detector, attention=True) as estimator:
            estimator.require_attention()
            network = estimator.bundle.network
            if network is None:
                raise InputError(f"the bundle {estimator.bundle.name} does not state its network: export it again")
            return estimator.bundle.name, {network.layers: estimator(image)}
    bundle = open_bundle(args.model, "pose")
    if "torch" not in bundle.graphs:
        raise InputError(
            f"the bundle {bundle.name} gives the attention of its last layer alone: use --layers last, or give the "
            "network's --checkpoint"
        )
    model = import_extra("transpose_sdk.models", "train").load_checkpoint(bundle.graph("torch").path)
    return _from_network(args, image, model, bundle.name, bundle.skeleton, bundle.scores)


def _from_checkpoint(args: argparse.Namespace, image: NDArray[np.uint8]) -> Answer:
    from transpose_sdk.cli.optional import import_extra

    models = import_extra("transpose_sdk.models", "train")
    model = models.load_checkpoint(args.checkpoint)
    skeleton = models.checkpoint_skeleton(args.checkpoint, model.keypoints)
    return _from_network(args, image, model, args.checkpoint.stem, skeleton)


def _from_network(
    args: argparse.Namespace,
    image: NDArray[np.uint8],
    model: TransPose,
    name: str,
    skeleton: Skeleton,
    maps: ScoreMaps | None = None,
) -> Answer:
    from transpose_sdk.detectors import open_detector
    from transpose_sdk.models.layer_attention import layer_poses
    from transpose_sdk.poses import Poses
    from transpose_sdk.scores import DEFAULT_MAPS
    from transpose_sdk.topdown import without_duplicates

    numbers = _layer_numbers(args.layers, model.variant.layers)
    boxes, scores = open_detector(args.detector)(image)
    if not len(boxes):
        return name, {number: Poses.empty(skeleton) for number in numbers}
    layers = layer_poses(model, image, boxes, scores, skeleton, maps or DEFAULT_MAPS)
    return name, {number: without_duplicates(layers[number - 1], model.input_size) for number in numbers}


def _layer_numbers(text: str, count: int) -> list[int]:
    """The layers asked for, from 1, in their order in the network.

    Raises:
        InputError: It names none, or one that the network does not have.
    """
    from transpose_sdk.errors import InputError

    if text in ("all", "last"):
        return list(range(1, count + 1))[-1 if text == "last" else 0 :]
    numbers = {int(item) if item.strip().isdecimal() else 0 for item in text.split(",")}
    if not numbers <= set(range(1, count + 1)):
        raise InputError(f"no layers {text!r}: the network has 1..{count}; give numbers with commas, all, or last")
    return sorted(numbers)


def signals_record(pose: Poses, rule: OcclusionRule | None) -> dict[str, Any]:
    """The signals of one person's joints, by name, as values for JSON."""
    from transpose_sdk.signals import joint_signals

    signals = joint_signals(pose, rule)
    names = ("entropy", "joint", "limb", "mirror", "elsewhere", "occlusion")
    return {
        keypoint: {
            "score": round(float(pose.scores[0, index]), 4),
            "raw_score": round(float(pose.raw_scores[0, index]), 4),
            **{name: round(float(getattr(signals, name)[0, index]), 4) for name in names},
            "occluded": bool(signals.occluded[0, index]),
        }
        for index, keypoint in enumerate(pose.skeleton.names)
    }
