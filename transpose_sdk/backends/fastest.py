"""INT8 or not: timed the first time a bundle is opened on a machine, then remembered.

With VNNI and without BF16, INT8 takes two thirds to three quarters of the time of FP16; with AMX, or with AVX2 alone,
it takes as long or longer (`python examples/benchmarks/precision_choice.py`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median

from transpose_sdk.arrays import Image
from transpose_sdk.backend import Backend
from transpose_sdk.backends.remembered import dependencies, recall, remember
from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.bundles.probe import Probe
from transpose_sdk.checks.typed import MismatchError, typed
from transpose_sdk.disk.user_folder import timed_folder
from transpose_sdk.errors import BackendError

QUANTIZED = "int8"
# INT8 is taken from this share of FP16's time on: its joints are farther from FP32, so it has to give something for
# that. On a busy machine its share was .70 to .81 with VNNI alone, where it is to be taken, and .83 to .94 with AVX-512
# alone, where a margin of a tenth would have tossed a coin.
CLEARLY_FASTER = 0.85
BUDGET = 0.3  # s for the rounds of both graphs, and
ROUNDS = 3  # at least, for slow networks on slow processors


@dataclass(frozen=True)
class Choice:
    """Which of two graphs of a bundle is taken on a device.

    Attributes:
        precision: Of the graph that is taken.
        milliseconds: Time of a crop by precision, the more accurate one first; empty where INT8 cannot be taken there,
            so that nothing was timed.
        share: INT8's time of the other's, the median of the rounds; None where nothing was timed.
        refusal: Why INT8 cannot be taken.
    """

    precision: str
    milliseconds: Mapping[str, float]
    share: float | None
    refusal: str = ""

    def reason(self) -> str:
        """Why this precision, with the times."""
        if self.share is None:
            return f"{self.precision} is taken, for {QUANTIZED} cannot be: {self.refusal}"
        times = ", ".join(f"{name} {time:.2f} ms" for name, time in self.milliseconds.items())
        return (
            f"{self.precision} is taken, of {times} a crop: {QUANTIZED} takes {self.share:.2f} of the time, and is "
            f"taken from {CLEARLY_FASTER} on"
        )


def recall_choice(bundle: Bundle, device: str, runtime: str) -> Choice | None:
    """What was chosen on this machine before; None where nothing was, or something has changed since."""
    try:
        return typed(recall(timed_folder(), dependencies(bundle, device, runtime)), Choice)
    except MismatchError:
        return None


def take_faster(accurate: Backend, open_quantized: Callable[[], Backend], bundle: Bundle) -> tuple[Backend, Choice]:
    """Time a backend against the INT8 graph on the same device, close the one that is not taken, remember the choice.

    Args:
        accurate: A backend that gives the right answers; stays unless INT8 is clearly faster.
        open_quantized: Opens the INT8 graph and checks its answers; BackendError where it cannot be taken.
        bundle: Of both. Its probe's first crop is what is timed.

    Returns:
        The backend that is taken, and why.

    Raises:
        BackendError: The device failed; nothing is left open.
        BundleError: A file of the bundle is damaged; nothing is left open.
    """
    quantized: Backend | None = None
    try:
        try:
            quantized = open_quantized()
        except BackendError as error:
            taken, choice = accurate, Choice(accurate.precision, {}, None, str(error))
        else:
            choice = compare(accurate, quantized, Probe.load(bundle).crops[:1])
            taken, other = accurate, quantized
            if choice.precision == quantized.precision:
                taken, other = other, taken
            other.close()
    except BaseException:
        accurate.close()
        if quantized is not None:
            quantized.close()
        raise
    remember(timed_folder(), dependencies(bundle, accurate.device, accurate.runtime), asdict(choice))
    return taken, choice


def compare(accurate: Backend, quantized: Backend, crop: Image) -> Choice:
    """Time two graphs in turn, so that whatever else the machine does hits both.

    Args:
        accurate: Taken unless the other one is clearly faster.
        quantized: The INT8 graph on the same device.
        crop: (1, H, W, 3) uint8 BGR.

    Raises:
        BackendError: The device failed.
    """
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + BUDGET
    while len(times) < ROUNDS or time.perf_counter() < end:
        if len(times) % 2:
            second = inference_time(quantized, crop)
            times.append((inference_time(accurate, crop), second))
        else:
            times.append((inference_time(accurate, crop), inference_time(quantized, crop)))
    share = median(second / first if first > 0 else 1.0 for first, second in times)  # a coarse clock: as fast
    firsts, seconds = zip(*times, strict=True)
    milliseconds = {accurate.precision: 1000 * median(firsts), quantized.precision: 1000 * median(seconds)}
    return Choice((quantized if share <= CLEARLY_FASTER else accurate).precision, milliseconds, share)


def inference_time(backend: Backend, crop: Image) -> float:
    """Time of one inference in s: the processor's on a CPU, of all its cores, else by the clock.

    Where other programs have the cores, INT8's share of FP16's time was between .6 and 2.0 by the clock, of medians of
    10 to 40 rounds, and between .95 and 1.1 by processor time. On Windows that goes in steps of 16 ms.
    """
    clock = time.process_time if backend.device == "CPU" and sys.platform != "win32" else time.perf_counter
    started = clock()
    backend.infer(crop)
    return clock() - started
