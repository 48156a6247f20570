"""What every backend offers."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Outputs(NamedTuple):
    """What the network gives for N crops.

    Attributes:
        heatmaps: (N, K, h, w) float32, raw.
        queries: (N, heads, L, d_head) float32 of the last attention layer; None where not asked for.
        keys: As `queries`.
    """

    heatmaps: NDArray[np.float32]
    queries: NDArray[np.float32] | None = None
    keys: NDArray[np.float32] | None = None


class Backend(Protocol):
    """A compiled graph.

    Attributes:
        device: Where it runs, such as "CPU".
        precision: The graph's precision, such as "fp16".
        input_size: (height, width) of a crop.
        has_attention: Whether the graph gives queries and keys.
    """

    device: str
    precision: str
    input_size: tuple[int, int]
    has_attention: bool

    def infer(self, crops: NDArray[np.uint8], attention: bool = False) -> Outputs:
        """Run the network on (N, H, W, 3) uint8 BGR crops; N may be 0. Safe to call from several threads."""
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...
