"""Figure 5 of the paper with TP-M: train with each position embedding at one input size, evaluate at four.

    python examples/benchmarks/position_embeddings.py --data DATA --init CHECKPOINT --out RUNS [--samples 19200] \
        [--cache DIR]

All three networks start from the same weights and see the same crops in the same order. Stem and head come from
CHECKPOINT, a trained TP-M; the encoder is fresh, because a trained one has learned to read the embedding that it was
trained with. Runs and evaluations that RUNS holds already are not repeated. Prints a Markdown table; --picture FILE
draws it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray

from transpose_sdk.models import TransPose, create_model, load_checkpoint, save_checkpoint
from transpose_sdk.models.preprocessing import Preprocessing
from transpose_sdk.models.variant import POSITIONS
from transpose_sdk.skeletons import COCO17
from transpose_sdk.trainers.evaluation.benchmark import Benchmark
from transpose_sdk.trainers.evaluation.evaluate import evaluate_boxes, image_reader
from transpose_sdk.trainers.loop import train
from transpose_sdk.trainers.recipe import Recipe, load_recipe
from transpose_sdk.trainers.validation import validation_set

SIZES = ((128, 96), (192, 144), (256, 192), (384, 288))
TRAINED = SIZES[0]
EPOCHS = 4
BATCH = 16  # crops of one evaluation step; the attention of 384x288 takes 12 MB a person and head


def position_recipe(position: str, samples: int) -> Recipe:
    """TP-M's recipe for 128x96, shortened to a number of crops."""
    base = load_recipe("tp_m_128x96")
    values: dict[str, Any] = {"epochs": EPOCHS, "samples_per_epoch": samples // EPOCHS}
    values |= {"warmup_steps": 100, "ema": 0.99, "seed": 5}
    values |= {"input_size": TRAINED, "variant": {**base.variant, "position": position}}
    return Recipe.from_dict(base.to_dict() | values)


def write_init(recipe: Recipe, checkpoint: Path, path: Path) -> None:
    """Write weights that differ between the embeddings in nothing but the embedding."""
    torch.manual_seed(recipe.seed)
    # Drawn without an embedding, so that a learnable one's random numbers do not shift all that follow.
    fresh = create_model(recipe.model, input_size=TRAINED, **{**recipe.variant, "position": "none"})
    model = create_model(recipe.model, input_size=TRAINED, **recipe.variant)
    trained = load_checkpoint(checkpoint).state_dict()
    weights = {name: fresh.state_dict().get(name, value) for name, value in model.state_dict().items()}
    weights |= {name: trained[name] for name in weights if not name.startswith(("global_encoder.", "pos_embedding"))}
    model.load_state_dict(weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(model, path)


@torch.inference_mode()
def evaluate_size(model: TransPose, size: tuple[int, int], benchmark: Benchmark, images: Path) -> dict[str, float]:
    """COCO's numbers of a network at an input size (height, width) in px, annotated boxes, no flip test."""
    preprocessing = Preprocessing()

    def infer(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = torch.from_numpy(crops).split(BATCH)
        return torch.cat([model(preprocessing(part)) for part in parts]).numpy()

    return evaluate_boxes(infer, benchmark, image_reader(images, benchmark), size)


def measure(position: str, args: argparse.Namespace) -> dict[str, float]:
    """Train with an embedding and evaluate it, as far as that is still to be done; give AP by input size."""
    folder, names = args.out / position, [f"{height}x{width}" for height, width in SIZES]
    results = folder / "sizes.json"
    measured: dict[str, float] = json.loads(results.read_text()) if results.exists() else {}
    if all(name in measured for name in names):
        return measured
    recipe = position_recipe(position, args.samples)
    if not (folder / "init.safetensors").exists():
        write_init(recipe, args.init, folder / "init.safetensors")
    train(recipe, args.data, folder, init=folder / "init.safetensors", cache=args.cache, workers=args.workers)
    benchmark = validation_set(recipe, args.data, COCO17)
    model = load_checkpoint(folder / "best.safetensors").eval()
    for name, size in zip(names, SIZES, strict=True):
        if name not in measured:
            measured[name] = evaluate_size(model, size, benchmark, args.data / recipe.val_images)["AP"]
            results.write_text(json.dumps(measured))
    return measured


def draw(table: dict[str, dict[str, float]], path: Path) -> None:
    """Draw AP against the input size, one line an embedding."""
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.0, 3.8), layout="constrained")
    for (position, values), marker in zip(table.items(), "osD", strict=True):
        axes.plot(list(values), list(values.values()), marker=marker, label=position)
    axes.axvline(0, color="gray", linestyle=":", linewidth=1)
    axes.annotate(" trained here", (0, 0.02), xycoords=("data", "axes fraction"), color="gray", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("input size when tested")
    axes.set_ylabel("AP on the validation set")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="position embedding", frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train, evaluate, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--init", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--samples", type=int, default=19200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    table = {position: measure(position, args) for position in POSITIONS}
    sizes = [f"{height}x{width}" for height, width in SIZES]
    rows = ["| position embedding | " + " | ".join(sizes) + " |", "|---" * (1 + len(sizes)) + "|"]
    for position, values in table.items():
        rows.append(f"| {position} | " + " | ".join(f"{values[size]:.3f}" for size in sizes) + " |")
    sys.stdout.write("\n".join(rows) + "\n")
    if args.picture:
        draw(table, args.picture)


if __name__ == "__main__":
    main()
