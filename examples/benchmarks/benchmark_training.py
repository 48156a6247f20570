"""Does the network wait for its data? Steps a second on a recipe's own data beside steps on one batch that lies ready.

    python examples/benchmarks/benchmark_training.py RECIPE --data DIR [--device cuda] [--workers 8] [--out FILE.md]

Both ways run the whole step: forward, backward, update. They take turns in rounds of a few steps, so that whatever else
the machine does hits both; a ratio is the median of the rounds' own. Every input is measured with crops that the
loader's processes warp and with crops that the device warps (`device_augmentation`). Each round starts with a fresh
loader: what one made ahead while the other way ran would not be its speed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np
import torch

from transpose_sdk.trainers.data.batches import Batch, EpochBatches
from transpose_sdk.trainers.data.skeleton_file import load_skeleton
from transpose_sdk.trainers.data.training_set import load_training_set
from transpose_sdk.trainers.loop import batch_loader, chosen, set_mode
from transpose_sdk.trainers.recipe import Recipe
from transpose_sdk.trainers.run import Run, start_run
from transpose_sdk.trainers.step import train_step

WANTED = 0.85  # of the synthetic step rate, where there is a GPU


def seconds(run: Run, batches: Iterator[Batch], steps: int) -> float:
    """Time of some steps."""
    begin = time.perf_counter()
    for _ in range(steps):
        train_step(run, next(batches), 1000)
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)
    return time.perf_counter() - begin


def measure(run: Run, loader: Callable[[int], Iterator[Batch]], steps: int, rounds: int) -> np.ndarray:
    """Steps a second, (rounds, 2): with real and with synthetic input.

    Args:
        run: What is trained.
        loader: Gives the batches of an epoch.
        steps: Of a round.
        rounds: How often.
    """
    ready = next(loader(0)).to(run.device)
    seconds(run, repeat(ready), 3)  # kernels are chosen, memory is allocated
    rates = []
    for epoch in range(rounds):
        synthetic = seconds(run, repeat(ready), steps)
        real = loader(epoch)
        next(real)  # its processes have started
        rates.append((steps / seconds(run, real, steps), steps / synthetic))
    return np.array(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a YAML file, or the name of a packaged recipe")
    parser.add_argument("--data", type=Path, required=True, help="folder of annotations and images")
    parser.add_argument("--cache", type=Path, help="folder for decoded images (default: DATA/cache)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="loader processes (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=40, help="steps of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="replace a value of the recipe")
    parser.add_argument("--out", type=Path, help="Markdown file to write; standard output gets the table anyway")
    options = parser.parse_args()
    recipe, name = chosen(options.recipe, options.set, options.device)
    device = torch.device(name)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    lines = [
        f"{options.recipe}, {recipe.batch_size} persons a step, {recipe.precision}; {where}; {options.workers} workers",
        "",
        "| crops are warped by | steps/s, real input | steps/s, synthetic | ratio | wanted on a GPU |",
        "|---|---|---|---|---|",
    ]
    skeleton = load_skeleton(recipe.skeleton, options.data)
    persons, images = load_training_set(recipe, options.data, skeleton, options.cache)
    for on_device in (False, True):
        changed = replace(recipe, device_augmentation=on_device)

        def loader(epoch: int, changed: Recipe = changed) -> Iterator[Batch]:
            return iter(batch_loader(EpochBatches(persons, images, skeleton, changed, epoch), device, options.workers))

        with tempfile.TemporaryDirectory() as folder:
            run = start_run(changed, Path(folder), None, device, skeleton)
            set_mode(run)
            rates = measure(run, loader, options.steps, options.rounds)
        real, synthetic = np.median(rates, axis=0)
        ratio = float(np.median(rates[:, 0] / rates[:, 1]))
        who = "the device" if on_device else "the loader's processes"
        lines.append(f"| {who} | {real:.2f} | {synthetic:.2f} | {ratio:.2f} | {WANTED} |")
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
