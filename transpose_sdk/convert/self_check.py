"""Makes a bundle's probe, drawn people and the FP32 network's answers to them, and asks a graph about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from transpose_sdk.bundles.probe import Probe, ProbeReport, compare_outputs
from transpose_sdk.convert.accuracy import answer
from transpose_sdk.convert.drawn_people import drawn_people
from transpose_sdk.convert.runners import run_graph, run_network
from transpose_sdk.models import TransPose

PEOPLE = 8
DRAWN = 48  # of which the network is the surest
# A joint counts if the network is sure of it, and stays so when the pixels flicker a little.
SURE_SCORE = 0.4
FLICKER = 3.0  # standard deviation in grey levels
STEADY = 0.5  # px of the crop; at 1 px some of the joints moved by 6 where a good graph ran in bfloat16


def make_probe(model: TransPose) -> Probe:
    """A probe for a network; without joints that count where the network is not trained.

    Args:
        model: In FP32.
    """
    infer = run_network(model)
    crops = drawn_people(DRAWN, model.input_size)
    answers = answer(infer, crops, model.grid)
    noise = np.random.default_rng(0).normal(0, FLICKER, crops.shape)
    flickering = answer(infer, (crops + noise).clip(0, 255).astype(np.uint8), model.grid)
    moved = np.linalg.norm(flickering.keypoints - answers.keypoints, axis=-1)
    counted = (answers.scores > SURE_SCORE) & (moved < STEADY)
    best = np.lexsort((-answers.scores.mean(1), -counted.sum(1)))[:PEOPLE]
    return Probe(
        crops=crops[best],
        keypoints=answers.keypoints[best],
        scores=answers.scores[best],
        counted=counted[best],
        cells=answers.cells[best],
        rows=answers.rows[best],
    )


def ask(path: Path, probe: Probe, graph: str) -> ProbeReport:
    """The self-check that opening the bundle will make, on this CPU.

    Args:
        path: The graph's file.
        probe: Of its bundle.
        graph: Its name in the bundle, which chooses the limits.
    """
    return compare_outputs(run_graph(path)(probe.crops), probe, "fp32" if graph == "onnx" else graph)
