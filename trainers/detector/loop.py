"""The training loop of the person detector.

Start or resume a run (it resumes by itself when its output folder holds a checkpoint):

    python -m transpose_sdk.trainers.detector train --annotations train.json --images train/ --negatives negatives/ \
        --init picodet_s_320_person.xml --output work/detector --minutes 80
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from transpose_sdk.detectors.letterbox import Letterbox, to_image
from transpose_sdk.detectors.person import decode_person
from transpose_sdk.disk.whole_file import whole_file
from transpose_sdk.errors import CheckpointError, TrainingError
from transpose_sdk.models.picodet import PicoDet
from transpose_sdk.models.preprocessing import Preprocessing

from ..state import check_settings
from .config import DetectorConfig
from .data import TrainingSet, prefetch
from .evaluation import LOWEST_SCORE, Find, evaluate, read_images
from .published import read_picodet
from .targets import Labels, detection_loss

LOG = logging.getLogger(__name__)
# Of the machine, not of what is learned: they may be others when a run goes on.
FREE = ("output", "device", "threads", "workers", "checkpoint_minutes", "eval_minutes")
_MOSAIC_UNTIL = 0.9
_TURNED = 4  # one step of so many sees its canvas on end, as the detector turns its input for frames that are


def network_input(images: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """(B, H, W, 3) uint8 BGR to the network's input, channels last, which is what bf16 convolutions want."""
    prepared: Tensor = Preprocessing().to(device)(torch.from_numpy(images).to(device))
    return prepared.contiguous(memory_format=torch.channels_last)


def build_model(config: DetectorConfig) -> PicoDet:
    """A network with the weights that the run goes on from.

    Raises:
        CheckpointError: `init` holds another network, or cannot be read.
    """
    torch.manual_seed(config.seed)
    model = PicoDet()
    if config.init:
        load_weights(model, Path(config.init))
    for stage in list(model.backbone.children())[: config.frozen_stages]:
        stage.requires_grad_(False)
    return model.to(config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_weights(model: PicoDet, path: Path) -> None:
    """Load a whole detector's weights.

    Args:
        model: The network, changed in place.
        path: Safetensors file, or the published graph (.xml).

    Raises:
        CheckpointError: The file cannot be read, or holds another network.
    """
    try:
        model.load_state_dict(read_picodet(path) if path.suffix == ".xml" else load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} does not hold a detector's weights ({type(error).__name__}): give PicoDet-S's .xml, or the "
            "checkpoint.safetensors of a detector's bundle"
        ) from error


def build_optimizer(model: PicoDet, config: DetectorConfig) -> torch.optim.AdamW:
    """AdamW in four groups: backbone or not, decayed (convolutions) or not (biases)."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": config.weight_decay if decayed else 0.0,
                "rate": config.backbone_rate if backbone else 1.0,
            }
            for (backbone, decayed), parameters in groups.items()
        ],
        lr=config.learning_rate,
    )


def learning_rate(progress: float, config: DetectorConfig) -> float:
    """Linear warm-up over 3 % of the run, cosine down to 2 % of the peak."""
    if progress < 0.03:
        return config.learning_rate * max(progress / 0.03, 0.01)
    return config.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (progress - 0.03) / 0.97)))


class DetectorRun:
    """The state of a run: all that a checkpoint holds."""

    def __init__(self, config: DetectorConfig) -> None:
        self.config = config
        self.model = build_model(config)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.optimizer = build_optimizer(self.model, config)
        self.step = 0
        self.seconds = 0.0

    def progress(self, ahead: int = 0) -> float:
        """Share of the run that is done, `ahead` steps from now; of a run in minutes, only the present is known."""
        if self.config.minutes is not None:
            return min(self.seconds / (self.config.minutes * 60), 1.0)
        return min((self.step + ahead) / self.config.steps, 1.0)

    def save(self, path: Path) -> None:
        """Write a checkpoint; a crash while writing leaves the old one."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        with whole_file(path) as unfinished:
            torch.save(state, unfinished)

    def resume(self, path: Path) -> None:
        """Continue where a checkpoint was written.

        A step's data depends on the seed and its number alone, so a run in steps ends with the very weights of one
        that was never stopped; a run in minutes follows the clock.
        """
        state: dict[str, Any] = torch.load(path, map_location=self.config.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]

    def update_average(self) -> None:
        """Move the averaged weights towards the present ones, faster at the beginning."""
        keep = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True):
                if value.dtype.is_floating_point:
                    mean.lerp_(value, 1 - keep)


def _requests(run: DetectorRun) -> Iterator[tuple[int, tuple[int, int], float]]:
    """What the loader should make: step, canvas, share of mosaics; asked a few steps ahead of the training."""
    step = run.step
    while (progress := run.progress(ahead=step - run.step)) < 1:
        canvas = next((height, width) for until, height, width in run.config.canvases if progress <= until)
        if step % _TURNED == _TURNED - 1:
            canvas = canvas[::-1]
        yield step, canvas, run.config.mosaic if progress < _MOSAIC_UNTIL else 0.0
        step += 1


def train_step(run: DetectorRun, images: Tensor, labels: Labels) -> dict[str, float]:
    """One optimisation step; returns the figures for the log.

    Raises:
        FloatingPointError: The loss is not finite.
    """
    rate = learning_rate(run.progress(), run.config)
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group["rate"]
    with torch.autocast(images.device.type, torch.bfloat16):
        maps = run.model(images)
    size = (images.shape[2], images.shape[3])
    loss, parts = detection_loss(maps, size, labels)
    if not math.isfinite(loss.item()):
        raise FloatingPointError(f"the loss is {loss.item()} at step {run.step}; lower the learning rate and resume.")
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), 10.0)
    run.optimizer.step()
    run.step += 1
    run.update_average()
    return {"loss": loss.item(), **parts, "rate": rate}


def train(config: DetectorConfig, *, changed: bool = False) -> None:
    """Run or resume a whole training: checkpoints, JSON-lines log and evaluations in `config.output`.

    Args:
        config: Numbers of the run.
        changed: Whether a run that is resumed may go on with other options than it began with.

    Raises:
        CheckpointError: The folder holds a run that began with other options.
        DataError: The data is missing.
        TrainingError: There is no such device.
        FloatingPointError: The loss is not finite.
    """
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError(f"the device {config.device!r} is not there: torch sees no NVIDIA GPU; use --device cpu")
    torch.set_num_threads(config.threads)
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = output / "last.pt"
    if checkpoint.exists():
        defaults = asdict(DetectorConfig(config.annotations, config.images))
        check_settings(output / "config.json", asdict(config), changed, free=FREE, defaults=defaults)
    run = DetectorRun(config)
    if checkpoint.exists():
        run.resume(checkpoint)
        LOG.info("resuming at step %d (%.0f %%)", run.step, 100 * run.progress())
    config.dump(output / "config.json")
    truth = read_images(Path(config.val_annotations), Path(config.val_images)) if config.val_annotations else None

    saved = evaluated = run.seconds
    figures: list[dict[str, float]] = []
    with (output / "log.jsonl").open("a") as log:

        def write(record: dict[str, Any]) -> None:
            log.write(json.dumps({"step": run.step, "minutes": round(run.seconds / 60, 2), **record}) + "\n")
            log.flush()

        def check() -> None:
            if truth is not None:
                write({"val": asdict(evaluate(finder(run.average, config.input_size), *truth))})

        run.model.train()
        clock = time.perf_counter()
        for batch in prefetch(TrainingSet(config), _requests(run)):
            arrays = (batch.boxes, batch.weights, batch.ignored)
            labels = Labels(*(torch.from_numpy(array).to(config.device) for array in arrays))
            figures.append(train_step(run, network_input(batch.images, config.device), labels))
            run.seconds += time.perf_counter() - clock
            clock = time.perf_counter()
            if run.step % 50 == 0:
                write({name: round(float(np.mean([row[name] for row in figures])), 6) for name in figures[0]})
                figures = []
            if run.seconds - saved > config.checkpoint_minutes * 60:
                run.save(checkpoint)
                saved = run.seconds
            if run.seconds - evaluated > config.eval_minutes * 60:
                check()
                evaluated = run.seconds
                clock = time.perf_counter()
        run.save(checkpoint)
        check()


def finder(model: PicoDet, size: tuple[int, int], score_threshold: float = LOWEST_SCORE) -> Find:
    """The network as a detector, before there is a bundle of it: for evaluation while it trains."""
    letterbox = Letterbox(size, stretched=True)
    device = next(model.parameters()).device

    def find(image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scale, offset = letterbox.fit(image)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            maps = model(network_input(letterbox.canvas, device))
        outputs = [values.cpu().contiguous().numpy() for values in (maps.scores(), maps.sides)]
        boxes, scores = decode_person(outputs, size, score_threshold)
        return to_image(boxes, scale, offset, image.shape[:2]), scores

    return find
