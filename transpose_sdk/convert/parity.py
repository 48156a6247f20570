"""A converted graph compared with the network number by number, before anybody calls it the same network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from transpose_sdk.convert.drawn_people import drawn_people
from transpose_sdk.convert.runners import Infer, run_graph
from transpose_sdk.errors import BundleError, MissingDependencyError

# Root mean squares. Measured on a trained TP-M: 2e-6 for ONNX, 8e-3 to 1.4e-2 for OpenVINO with weights in FP16, and
# 0.16 to 0.25 for the same network with red and blue swapped.
PARITY_LIMIT = 5e-2
BATCHES = (1, 3)  # a graph traced with one crop, or with two, may have kept that number


def compare(
    infer: Infer, input_size: tuple[int, int], graph: Path, limit: float | None = PARITY_LIMIT
) -> dict[str, float]:
    """Difference of each output between the network and a graph, relative to the output's own size.

    Args:
        infer: The network.
        input_size: (height, width) of a crop.
        graph: An .xml or .onnx.
        limit: What is allowed; None for a quantized graph, whose gate is another one: then only the shapes count.

    Raises:
        BundleError: A difference is above the limit, or the graph does not take one and three crops.
        MissingDependencyError: The graph's runtime is not installed.
    """
    crops = drawn_people(max(BATCHES), input_size)
    expected = vars(infer(crops))
    worst = dict.fromkeys(expected, 0.0)
    for batch in BATCHES:
        try:
            answers = vars(run_graph(graph)(crops[:batch]))
        except MissingDependencyError:
            raise
        except Exception as error:  # every runtime has errors of its own, and all mean the same here
            raise BundleError(f"{graph.name} does not run with {batch} crops ({error}): report it") from error
        for output, reference in expected.items():
            answer, wanted = answers[output], reference[:batch]
            if answer.shape != wanted.shape:
                raise BundleError(f"{graph.name} gives {output} {answer.shape} for {batch} crops, not {wanted.shape}")
            difference = np.sqrt(np.mean((answer - wanted) ** 2) / np.mean(wanted**2))
            worst[output] = max(worst[output], float(difference))
    if limit is not None and not all(value <= limit for value in worst.values()):
        raise BundleError(f"{graph.name} is not the network it came from: relative differences {worst}")
    return {output: round(value, 6) for output, value in worst.items()}
