"""What defines a training run of the detector; dumped beside its checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from transpose_sdk.checks.typed import MismatchError, typed
from transpose_sdk.disk.whole_file import whole_file
from transpose_sdk.errors import DataError

INPUT_SIZE = (224, 320)


@dataclass(frozen=True)
class DetectorConfig:
    """Options of a run; a dumped file gives them back.

    Attributes:
        annotations: COCO-format file whose images carry `person_boxes` [x, y, w, h, score].
        images: Folder that the images' file names are relative to.
        negatives: Folder of photos without people, or "".
        val_annotations: COCO-format file to evaluate on, or "" for no evaluation.
        val_images: Its folder.
        init: Weights to go on from: PicoDet-S's published OpenVINO graph (.xml), or the checkpoint.safetensors of a
            detector's bundle; "" starts from noise.
        output: Folder of checkpoints and logs.
        source_weights: How often an image of a source is drawn, as a share of all draws; "negatives" is one of them.
        steps: Optimizer steps of the whole run; ignored when `minutes` is given.
        minutes: Training time of the whole run (resumed parts add up), or None to count steps.
        batch_size: Images a step.
        input_size: (height, width) to evaluate and to ship at, multiples of 32.
        canvases: (until this share of the run, canvas height, canvas width), small first: early steps learn as much
            from a canvas at half the cost.
        learning_rate: Peak rate of pyramid and heads, warmed up and then cosine to 2 % of it.
        backbone_rate: Rate of the backbone as a share of that.
        weight_decay: Of AdamW, on convolutions only.
        frozen_stages: This many first stages of the backbone's three stay as they are; all of it is half of the cost of
            a step.
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
    init: str = ""
    output: str = "work/detector"
    source_weights: tuple[tuple[str, float], ...] = (
        ("coco", 0.03),
        ("coco_crop", 0.03),
        ("coco_more", 0.53),
        ("coco_native", 0.15),
        ("lsp", 0.02),
        ("lspet", 0.08),
        ("pelota", 0.01),
        ("street", 0.07),
        ("negatives", 0.08),
    )
    steps: int = 6000
    minutes: float | None = None
    batch_size: int = 16
    input_size: tuple[int, int] = INPUT_SIZE
    canvases: tuple[tuple[float, int, int], ...] = ((1.0, *INPUT_SIZE),)
    learning_rate: float = 2e-4
    backbone_rate: float = 0.2
    weight_decay: float = 0.05
    frozen_stages: int = 3
    ema_decay: float = 0.998
    zoom: tuple[float, float] = (0.6, 1.5)
    color: float = 0.5
    mosaic: float = 0.15
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
