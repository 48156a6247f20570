"""What defines a training run of the detector; dumped beside its checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from transpose_sdk.checks.typed import MismatchError, typed
from transpose_sdk.errors import DataError
from transpose_sdk.whole_file import whole_file


@dataclass(frozen=True)
class DetectorConfig:
    """Options of a run; a dumped file gives them back.

    Attributes:
        annotations: COCO-format file whose images carry `person_boxes` [x, y, w, h, score].
        images: Folder that the images' file names are relative to.
        negatives: Folder of photos without people, or "".
        val_annotations: COCO-format file to evaluate on, or "" for no evaluation.
        val_images: Its folder.
        stem: File with ImageNet weights of features.0..10, or "" to start from noise.
        init: Safetensors file with a whole detector's weights to go on from, such as a bundle's; or "".
        output: Folder of checkpoints and logs.
        source_weights: How often an image of a source is drawn, as a share of all draws; "negatives" is one of them.
        steps: Optimizer steps of the whole run; ignored when `minutes` is given.
        minutes: Training time of the whole run (resumed parts add up), or None to count steps.
        batch_size: Images a step.
        canvases: (until this share of the run, canvas height, canvas width), small first: early steps learn as much
            from a canvas at half the cost.
        learning_rate: Peak rate of the new layers, warmed up and then cosine to 2 % of it.
        stem_rate: Rate of the pretrained stem as a share of that.
        weight_decay: Of AdamW, on convolutions only.
        frozen_blocks: This many first stem blocks stay as ImageNet left them; they are half of the cost of a step.
        ema_decay: Of the averaged weights that are evaluated and exported.
        zoom: Smallest and largest size of an image that is alone on its canvas, 1 being the one that just fits.
        color: Strength of the changes of colour and light, 0..1; blur, noise and JPEG come as often.
        mosaic: Share of training images made of four; the last tenth of the run has none.
        min_label_score: A box that a detector wrote with less than this score is ignored: neither person nor not.
        seed: Of everything random.
        checkpoint_minutes: Between checkpoints.
        eval_minutes: Between evaluations.
        threads: Torch threads.
        workers: Batches that are made at a time, in a thread each; a GPU wants one a core.
        device: "cpu", or "cuda" for an NVIDIA GPU.
    """

    annotations: str
    images: str
    negatives: str = ""
    val_annotations: str = ""
    val_images: str = ""
    stem: str = ""
    init: str = ""
    output: str = "work/detector"
    source_weights: tuple[tuple[str, float], ...] = (
        ("coco", 0.03),
        ("coco_crop", 0.03),
        ("coco_more", 0.68),
        ("lsp", 0.02),
        ("lspet", 0.08),
        ("pelota", 0.01),
        ("street", 0.07),
        ("negatives", 0.08),
    )
    steps: int = 6000
    minutes: float | None = None
    batch_size: int = 8
    canvases: tuple[tuple[float, int, int], ...] = ((0.4, 192, 256), (0.75, 256, 320), (1.0, 320, 416))
    learning_rate: float = 1.2e-3
    stem_rate: float = 0.5
    weight_decay: float = 0.05
    frozen_blocks: int = 4
    ema_decay: float = 0.998
    zoom: tuple[float, float] = (0.5, 2.2)
    color: float = 1.0
    mosaic: float = 0.4
    min_label_score: float = 0.6
    seed: int = 0
    checkpoint_minutes: float = 3.0
    eval_minutes: float = 8.0
    threads: int = 1
    workers: int = 1
    device: str = "cpu"

    def dump(self, path: Path) -> None:
        """Write the options as JSON."""
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> DetectorConfig:
        """Read options that `dump` wrote.

        Raises:
            DataError: The file holds an option that does not exist.
        """
        return cls.from_dict(json.loads(path.read_text()), str(path))

    @classmethod
    def from_dict(cls, options: dict[str, Any], origin: str) -> DetectorConfig:
        """Options as JSON has them.

        Args:
            options: Values by name.
            origin: Where they come from, for the error.

        Raises:
            DataError: There is no such option, one that is needed is missing, or a value does not fit.
        """
        unknown = sorted(set(options) - {field.name for field in fields(cls)})
        if unknown:
            raise DataError(f"{origin} has unknown options {unknown}; remove them or use the version that wrote them.")
        try:
            return typed(options, cls)
        except MismatchError as error:
            raise DataError(f"{origin}: {error}; give a value of that form.") from None
