"""A recipe: every number of a training run, read from YAML and dumped beside the checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from transpose_sdk.checks.ranges import ABOVE_0, COUNT, FROM_0, FROM_0_WHOLE, SHARE, check_ranges
from transpose_sdk.checks.typed import MismatchError, typed
from transpose_sdk.errors import DataError

from .datasets import DataSet, check_data_sets
from .plain_yaml import read_yaml

PACKAGED = Path(__file__).parent / "recipes"
PUBLISHED = PACKAGED / "published.yaml"


@dataclass(frozen=True)
class Recipe:
    """What to train, on what, and how. The defaults are the published ones for TP-R on COCO.

    Attributes:
        model: Name of a network for `transpose_sdk.models.create_model`.
        about: What the run is for, such as a row of the paper.
        variant: Options of `create_model` that differ from the named network's.
        input_size: (height, width) of the crop in px.
        skeleton: What the network's joints are: coco17, mpii16, lsp14, a YAML file relative to the data folder, or a
            COCO file whose category tells; see `trainers.data.skeleton_file`.
        train_annotations: COCO or MPII file, relative to the data folder; see `trainers.datasets`.
        train_images: Folder of its images, relative to the data folder.
        datasets: Several sets in the place of `train_annotations` and `train_images`; see `trainers.datasets`.
        val_annotations: The file for evaluation: COCO (average precision) or MPII (PCKh).
        val_images: The same for evaluation.
        source_weights: Share of a person of each source (the images' field `source`) when persons are drawn with
            replacement; empty means every person once an epoch.
        min_agreement: By source: persons whose human labels agree less than this with the teacher's are left out.
        held_out: By source: share of the images that are never trained on, to fit scores on; see `trainers.data.split`.
        teacher_weight: Target weight of a teacher's keypoint where no human labelled the joint, times its score.
        teacher_min_score: Teacher's keypoints below it are masked.
        teacher: A checkpoint, a bundle's name or folder, or an OpenVINO graph (.xml), whose network teaches during
            training; see `trainers.teacher`.
        teacher_heatmaps: Share of the loss that is the distance to the teacher's heatmaps; the labels have the rest.
        teacher_flip: Whether the teacher looks at the mirrored crop too and its answers are averaged.
        teacher_joints: As `teacher_weight`, for what the teacher's network finds in the very crop.
        samples_per_epoch: Persons an epoch when drawn with `source_weights`.
        epochs: Length of the run and of its cosine schedule.
        batch_size: Persons a step.
        local_steps: Steps that each of several processes takes with its own rows before they average their weights; 0
            averages the gradients of every step. See `trainers.step.agree`.
        optimizer: "adam" or "adamw".
        lr: First learning rate.
        lr_end: Last learning rate.
        lr_final: First learning rate of the final layer, which then falls by the same factor; 0 for `lr`.
        slower: Factors on the learning rate of modules, by prefixes of their names.
        new_final: Whether the final layer of the checkpoint to start from is replaced by a uniformly initialised one.
        warmup_steps: Steps over which the learning rate rises from zero.
        schedule: "epoch" (published: constant within an epoch) or "step".
        weight_decay: Of AdamW.
        clip_norm: Largest norm of the gradient; 0 for no clipping.
        ema: Decay of the averaged weights that are evaluated and shipped; 0 for none.
        frozen: Modules (prefixes of their names) kept as initialised, batch statistics too.
        precision: "fp32" (published), "bf16" or "fp16": the network under autocast; loss and weights stay in float32.
        compile: Whether torch.compile makes kernels for the network; the first step then takes minutes.
        device_augmentation: Whether crops are warped on the network's device, and not by the loader's processes.
        sigma: Of the target Gaussian, in heatmap px.
        half_body: Probability of a half-body crop.
        scale: Deviation, and largest change, of the scale.
        rotation: Deviation in degrees; twice of it is the largest.
        rotation_probability: Probability of a rotation.
        flip: Probability of a mirrored crop.
        color: Largest relative change of brightness and of each channel; 0 as published.
        seed: Of everything random.
    """

    model: str
    about: str = ""
    input_size: tuple[int, int] = (256, 192)
    variant: dict[str, Any] = field(default_factory=dict)
    skeleton: str = "coco17"
    train_annotations: str = "annotations/person_keypoints_train2017.json"
    train_images: str = "train2017"
    datasets: tuple[DataSet, ...] = ()
    val_annotations: str = "annotations/person_keypoints_val2017.json"
    val_images: str = "val2017"
    source_weights: dict[str, float] = field(default_factory=dict)
    min_agreement: dict[str, float] = field(default_factory=dict)
    held_out: dict[str, float] = field(default_factory=dict)
    teacher_weight: float = 0.0
    teacher_min_score: float = 0.3
    teacher: str = ""
    teacher_heatmaps: float = 0.0
    teacher_joints: float = 0.0
    teacher_flip: bool = False
    samples_per_epoch: int = 0
    epochs: int = 230
    batch_size: int = 24
    local_steps: int = 0
    optimizer: str = "adam"
    lr: float = 1e-4
    lr_end: float = 1e-5
    lr_final: float = 0.0
    slower: dict[str, float] = field(default_factory=dict)
    new_final: bool = False
    warmup_steps: int = 0
    schedule: str = "epoch"
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    ema: float = 0.0
    frozen: tuple[str, ...] = ()
    precision: str = "fp32"
    compile: bool = False
    device_augmentation: bool = False
    sigma: float = 2.0
    half_body: float = 0.3
    scale: float = 0.35
    rotation: float = 45.0
    rotation_probability: float = 0.6
    flip: float = 0.5
    color: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(
            self, DataError, epochs=COUNT, batch_size=COUNT, local_steps=FROM_0_WHOLE, lr=ABOVE_0, lr_end=FROM_0
        )
        check_ranges(self, DataError, lr_final=FROM_0, warmup_steps=FROM_0_WHOLE, weight_decay=FROM_0, clip_norm=FROM_0)
        check_ranges(self, DataError, ema=SHARE, sigma=ABOVE_0, half_body=SHARE, scale=SHARE, rotation=FROM_0)
        check_ranges(self, DataError, rotation_probability=SHARE, flip=SHARE, color=SHARE, seed=FROM_0_WHOLE)
        check_ranges(self, DataError, teacher_weight=FROM_0, teacher_min_score=FROM_0, teacher_heatmaps=SHARE)
        check_ranges(self, DataError, teacher_joints=FROM_0, samples_per_epoch=FROM_0_WHOLE)
        if self.optimizer not in ("adam", "adamw"):
            raise DataError(f"optimizer {self.optimizer!r} is unknown: use adam or adamw")
        if self.schedule not in ("epoch", "step"):
            raise DataError(f"schedule {self.schedule!r} is unknown: use epoch or step")
        if self.precision not in ("fp32", "bf16", "fp16"):
            raise DataError(f"precision {self.precision!r} is unknown: use fp32, bf16 or fp16")
        if bool(self.teacher) != (self.teacher_heatmaps > 0 or self.teacher_joints > 0):
            raise DataError(
                f"teacher {self.teacher!r} with teacher_heatmaps {self.teacher_heatmaps} and teacher_joints "
                f"{self.teacher_joints}: name a teacher and say with a number how much it counts, or neither"
            )
        if self.teacher_flip and not self.teacher:
            raise DataError("teacher_flip is on and there is no teacher: name one, or leave it out")
        if wrong := [source for source, share in self.held_out.items() if share not in SHARE]:
            raise DataError(f"held_out gives {wrong[0]!r} the share {self.held_out[wrong[0]]}: give one from 0 to 1")
        if slow := [prefix for prefix, factor in self.slower.items() if not factor > 0]:
            raise DataError(f"slower gives {slow[0]} the factor {self.slower[slow[0]]}: give one above 0, or freeze it")
        if self.source_weights and self.samples_per_epoch <= 0:
            raise DataError("source_weights draw persons with replacement: say how many an epoch in samples_per_epoch")
        if len({item.weight for item in self.datasets}) > 1 and self.samples_per_epoch <= 0:
            raise DataError("weights of datasets draw persons with replacement: say how many in samples_per_epoch")

    @staticmethod
    def from_dict(values: dict[str, Any], origin: str = "recipe") -> Recipe:
        """Make a recipe of plain values.

        Raises:
            DataError: A key is unknown or missing, or a value does not fit.
        """
        known = get_type_hints(Recipe)
        if unknown := sorted(map(str, set(values) - set(known))):
            raise DataError(f"{origin}: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        if "model" not in values:
            raise DataError(f"{origin}: no model; name one, such as model: tp_r_a4")
        check_data_sets(values.get("datasets", ()))
        if isinstance(values.get("frozen"), str):
            values = {**values, "frozen": [values["frozen"]]}  # one of them, and not its letters
        return Recipe(**{name: _typed(name, known[name], value, origin) for name, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Fields as plain values that YAML and JSON can hold."""
        return asdict(self) | {"input_size": list(self.input_size), "frozen": list(self.frozen)}


def _typed(name: str, kind: Any, value: Any, origin: str) -> Any:
    """A plain value as the type of its field; YAML reads 1e-4, which has no point, as text."""
    try:
        return typed(value, kind, strict=kind is bool)
    except MismatchError as error:
        form = getattr(kind, "__name__", "") if kind in (str, int, bool, float) else str(kind)
        raise DataError(f"{origin}: {name} is {value!r}; give a value of type {form} ({error})") from None


def load_recipe(path: str | Path, overrides: dict[str, Any] | None = None) -> Recipe:
    """Read a recipe from a YAML file, or by name from the recipes that come with the package.

    A recipe may name another one as its `base`, packaged or a file beside it, of which it replaces whole keys.

    Args:
        path: A file, or the name of a packaged recipe such as "tp_r_a4_coco".
        overrides: Values that replace those of the file.

    Raises:
        DataError: There is no such file, or it is no recipe.
    """
    return Recipe.from_dict(_read_values(str(path), Path()) | (overrides or {}), str(path))


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted({file.stem for file in PACKAGED.glob("tp_*.yaml")} | set(_read_yaml(PUBLISHED))))


def _read_values(name: str, folder: Path, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Keys and values of a recipe over those of its base; files are relative to `folder`."""
    if name in above:
        raise DataError(f"recipe {name} is its own base ({' -> '.join((*above, name))}): give it another one")
    file, values = folder / name, None
    if not file.is_file():
        file, values = PACKAGED / f"{name}.yaml", _read_yaml(PUBLISHED).get(name)
    if values is None:
        if not file.is_file():
            raise DataError(f"no recipe {name!r}: give a YAML file or one of {', '.join(recipe_names())}")
        values = _read_yaml(file)
    if "base" not in values:
        return values
    base = _read_values(str(values["base"]), file.parent, (*above, name)) | {"about": ""}
    return base | {key: value for key, value in values.items() if key != "base"}


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        values = read_yaml(file)
    except OSError as error:
        raise DataError(f"cannot read {file} ({error}): give a YAML file") from None
    if not isinstance(values, dict):
        raise DataError(f"{file} is not a recipe: expected keys and values, got {type(values).__name__}")
    return values
