"""Average networks that one training led to: the mean of their weights is often better than each of them.

    python examples/benchmarks/average_weights.py first.safetensors second.safetensors --weights 1 3 \
        --out mean.safetensors

Wortsman et al.: Model soups, ICML 2022. It needs networks of one descent, such as the best epochs of two stages of
which the second started from the first; others have nothing in common, and their mean is none. Input sizes may differ:
the mean is for that of the first.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from transpose_sdk.errors import InputError, TransposeError
from transpose_sdk.models import TransPose, checkpoint_skeleton, load_checkpoint, save_checkpoint
from transpose_sdk.models.create import build_model


def average(networks: list[TransPose], weights: list[float]) -> TransPose:
    """The mean of networks, batch statistics too, in the first of them.

    Args:
        networks: Of one variant and input size; the first is changed.
        weights: What each counts.

    Raises:
        InputError: They differ in variant, or the weights are not one positive number each.
    """
    if len(weights) != len(networks) or not all(weight > 0 for weight in weights):
        raise InputError(f"weights {weights} for {len(networks)} networks: give one number above 0 for each")
    if any(network.variant != networks[0].variant for network in networks):
        raise InputError("the networks differ in variant: give checkpoints that went on from each other")
    total, states = sum(weights), [network.state_dict() for network in networks]
    with torch.no_grad():
        for name, value in states[0].items():
            if value.is_floating_point():
                value.copy_(sum(state[name] * (weight / total) for state, weight in zip(states, weights, strict=True)))
    return networks[0]


def load(paths: list[Path]) -> list[TransPose]:
    """The networks of checkpoints, all at the input size of the first."""
    networks = [load_checkpoint(path) for path in paths]
    size = networks[0].input_size
    resized = [build_model(replace(network.variant, input_size=size)).eval() for network in networks[1:]]
    return networks[:1] + [load_checkpoint(path, model) for path, model in zip(paths[1:], resized, strict=True)]


def main() -> None:
    """Write the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--weights", nargs="+", type=float, help="what each counts (default: all the same)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    weights = args.weights or [1.0] * len(args.checkpoints)
    try:
        mean = average(load(args.checkpoints), weights)
        skeleton = asdict(checkpoint_skeleton(args.checkpoints[0], mean.keypoints))
        names = [path.name for path in args.checkpoints]
        save_checkpoint(mean, args.out, {"mean_of": names, "weights": weights, "skeleton": skeleton})
    except TransposeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
