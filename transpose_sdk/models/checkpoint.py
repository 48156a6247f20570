"""Weights on disk: the published .pth files, training checkpoints, and ours (safetensors that describe their network).

Nothing is unpickled except tensors and plain numbers.
"""

from __future__ import annotations

import contextlib
import json
import math
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from transpose_sdk.checks.typed import MismatchError, typed
from transpose_sdk.disk.whole_file import whole_file
from transpose_sdk.errors import CheckpointError, InputError, first_line
from transpose_sdk.models.create import build_model
from transpose_sdk.models.encoder import resize_table, sine_table
from transpose_sdk.models.guessed import guess_grid, guess_variant, is_sine
from transpose_sdk.models.transpose import TransPose
from transpose_sdk.models.variant import Variant
from transpose_sdk.skeletons import SKELETONS, Skeleton

_FORMAT = "transpose-sdk/checkpoint/1"
_SHOWN_NAMES = 5


def save_checkpoint(
    model: TransPose, path: str | Path, metadata: Mapping[str, Any] | None = None, *, half: bool = False
) -> None:
    """Write a network's weights and its description; a crash leaves the old file.

    Args:
        model: Network to write.
        path: File to write, by custom `.safetensors`.
        metadata: What JSON can hold, read back by `read_metadata`: training data, accuracy, epoch, ...
        half: Whether kernels and matrices are written in float16, for half the size. Statistics, biases and a
            learnable position table stay as they are; a sine table is left out.

    Raises:
        CheckpointError: The file cannot be written.
        InputError: The metadata are not JSON.
    """
    path = Path(path)
    try:
        header = json.dumps(
            {"format": _FORMAT, "variant": model.variant.to_dict(), "metadata": dict(metadata or {})}, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"the metadata for {path} cannot be written as JSON ({error}); give plain values") from error
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = half_kernels(tensors)
        if model.variant.position == "sine":
            tensors.pop("pos_embedding", None)  # made again when it is loaded
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished:
            save_file(tensors, unfinished, metadata={"transpose_sdk": header})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be written ({error}); choose a folder with space and rights") from error


def half_kernels(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with kernels and matrices in float16, for half the size; all else stays as it is."""
    rounded = {name for name, tensor in tensors.items() if tensor.dim() > 1 and name != "pos_embedding"}
    return {name: tensor.half() if name in rounded else tensor for name, tensor in tensors.items()}


def load_checkpoint(path: str | Path, model: TransPose | None = None) -> TransPose:
    """Load weights into a network, or build the network that they belong to.

    A position table of another input size is no mismatch: a sine table is rebuilt, a learned one interpolated.

    Args:
        path: A published .pth (plain state dict), a training checkpoint (`best_state_dict` is preferred to
            `state_dict`, a `module.` prefix is dropped), or a file of `save_checkpoint`.
        model: Network to fill. None builds one: from the description in the file, or, for a foreign file, from its
            names and shapes, which do not tell the number of heads (8 for TP-R and TP-M, 1 for TP-H, as published) nor
            the aspect of the input (4:3, else square).

    Returns:
        The network, in the mode it was in; a new one is in eval mode.

    Raises:
        CheckpointError: The file cannot be read, or its names or shapes are not those of the network.
    """
    path = Path(path)
    tensors, header = _read(path)
    variant = None
    if header is not None:
        try:
            variant = Variant.from_dict(header.variant)
        except InputError as error:
            raise CheckpointError(
                f"{path} has a damaged description of its network ({error}); fetch it again"
            ) from error
    else:
        tensors = _find_state(path, tensors)
    _check_values(path, tensors)
    if model is None:
        wanted = variant or guess_variant(path, tensors)
        with torch.device("meta"):  # names and shapes, which have to be those of the file before any memory is taken
            plan = build_model(wanted)
        _require_fit(plan, tensors, path, ("pos_embedding",))
        model = build_model(wanted).eval()
    _fit_position(tensors, model, variant)
    _require_fit(model, tensors, path)
    model.load_state_dict(tensors, strict=False)
    return model


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Read the metadata that were given to `save_checkpoint`; empty for a foreign file.

    Raises:
        CheckpointError: The file cannot be read.
    """
    _, header = _read(Path(path))
    return {} if header is None else dict(header.metadata)


def checkpoint_skeleton(path: str | Path | None, keypoints: int) -> Skeleton:
    """What the keypoints of a checkpoint are.

    Args:
        path: The file; None where there is none to ask.
        keypoints: How many the network gives.

    Returns:
        What the file says, or else COCO's for 17, MPII's for 16 and LSP's for 14.

    Raises:
        InputError: The file says nothing, and no skeleton of so many keypoints is known.
    """
    stored = None if path is None else read_metadata(path).get("skeleton")
    if stored is not None:
        return Skeleton.from_dict(stored)
    for skeleton in SKELETONS.values():
        if len(skeleton) == keypoints:
            return skeleton
    raise InputError(
        f"no skeleton of {keypoints} keypoints is known: train with one named in the recipe, so that the checkpoint "
        "tells it, or give skeleton= to export_bundle"
    )


def load_stem(model: nn.Module, path: str | Path) -> tuple[str, ...]:
    """Fill the stem of a network with weights from ImageNet and leave the rest as it is.

    Args:
        model: Any module with the file's names: `features.*` for MobileNetV2, `conv1.*` to `layer2.*` for ResNet-50.
        path: safetensors or .pth. Names that the module does not have (a classifier, later stages) are left out.

    Returns:
        The names that were filled.

    Raises:
        CheckpointError: The file cannot be read, fits nowhere, or has another shape under a name.
    """
    path = Path(path)
    tensors, header = _read(path)
    if header is None:
        tensors = _find_state(path, tensors)
    _check_values(path, tensors)
    state = model.state_dict()
    common = {name: tensor for name, tensor in tensors.items() if name in state}
    if misshapen := _misshapen(common, state):
        raise CheckpointError(f"{path} holds another stem: {_shorten('misshapen', misshapen)}; choose the model's own")
    if not common:
        raise CheckpointError(
            f"{path} holds no weight of this network ({_shorten('it has', sorted(tensors))}); give the stem's own file"
        )
    model.load_state_dict(common, strict=False)
    return tuple(sorted(common))


@dataclass(frozen=True)
class _Header:
    """What a file of ours says about itself."""

    format: str
    variant: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


def _read(path: Path) -> tuple[dict[str, Any], _Header | None]:
    """Read a file: its top-level dictionary and our header, None for foreign files."""
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; give a checkpoint (.pth or .safetensors)")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                header = _header(path, (file.metadata() or {}).get("transpose_sdk"))
                return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
        _require_stored(path)
        with _numpy_scalars_allowed():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # whatever safetensors, zipfile, pickle and torch meet in a damaged file
        reason = first_line(error)
        raise CheckpointError(f"{path} is no checkpoint that can be read safely ({reason}); fetch it again") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; give a dictionary of tensors")
    return dict(content), None


def _header(path: Path, text: str | None) -> _Header | None:
    """Our header from its JSON text; None where there is none."""
    if text is None:
        return None
    try:
        header = typed(json.loads(text), _Header)
    except (MismatchError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has a damaged description of its network ({error}); fetch it again") from None
    if header.format != _FORMAT:
        raise CheckpointError(f"{path} has the format {header.format!r}; this version reads {_FORMAT}")
    return header


def _require_stored(path: Path) -> None:
    """Raise CheckpointError where a file of torch's would grow when it is unpacked: torch itself compresses nothing."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > path.stat().st_size:
        raise CheckpointError(
            f"{path} would unpack to {unpacked >> 20} MiB, more than it has; give a file as torch.save writes it"
        )


def _check_values(path: Path, tensors: Mapping[str, Any]) -> None:
    """Raise CheckpointError where tensors claim more than the file holds, or hold what no network can use."""
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.device.type != "cpu":
            raise CheckpointError(f"{path}: {name} is no plain tensor of numbers; save a plain state dict")
        held, claimed = tensor.untyped_storage().nbytes(), tensor.numel() * tensor.element_size()
        if claimed > held:
            raise CheckpointError(
                f"{path}: {name} claims {claimed} bytes by repeating {held} (shape {list(tensor.shape)}); do not use it"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: {name} has values that are not finite; take an earlier checkpoint")


@contextlib.contextmanager
def _numpy_scalars_allowed() -> Iterator[None]:
    """Let `weights_only` pass NumPy's plain numbers: published training checkpoints keep their AP as one."""
    scalar = np.float64(0).__reduce__()[0]
    double = type(np.dtype(np.float64))
    # Checkpoints of NumPy 1 name the module without the underscore.
    allowed = [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, double]
    with torch.serialization.safe_globals(allowed):
        yield


def _find_state(path: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Find the state dict in a foreign file and drop the prefix of DataParallel."""
    state: Any = content
    for key in ("best_state_dict", "state_dict"):
        if isinstance(content.get(key), Mapping):
            state = content[key]
            break
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor) and isinstance(name, str)}
    if not tensors or len(tensors) < len(state):
        raise CheckpointError(
            f"{path} has no state dict ({_shorten('it has', sorted(map(str, content)))}); "
            "give a plain one, or one under `state_dict`"
        )
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def _fit_position(tensors: dict[str, Tensor], model: TransPose, variant: Variant | None) -> None:
    """Bring the position table of another input size to the model's, or make the sine table that was left out.

    `variant` is the file's, where it tells.
    """
    wanted: Tensor | None = model.pos_embedding
    given = tensors.get("pos_embedding")
    if given is None and variant is not None and variant.position == model.variant.position == "sine":
        tensors["pos_embedding"] = sine_table(*model.grid, model.variant.d_model)
    if wanted is None or given is None or given.dim() != 3 or given.shape[1:] != wanted.shape[1:]:
        return  # the comparison of names and shapes tells
    cells, (height, width) = given.shape[0], model.grid
    scale = math.sqrt(cells / (height * width))
    same_aspect = (round(height * scale), round(width * scale))
    grids = [variant.grid if variant else None, same_aspect, guess_grid(cells), same_aspect[::-1]]
    possible = [grid for grid in grids if grid is not None and grid[0] * grid[1] == cells]
    if model.variant.position == "sine" and any(is_sine(given, grid) for grid in possible):
        tensors["pos_embedding"] = sine_table(height, width, model.variant.d_model)
    elif model.variant.position == "learnable" and possible and possible[0] != model.grid:
        tensors["pos_embedding"] = resize_table(given.float(), possible[0], model.grid)


def _require_fit(model: TransPose, tensors: Mapping[str, Tensor], path: Path, left_out: Collection[str] = ()) -> None:
    """Raise CheckpointError where names or shapes are not the network's, but for what is left out."""
    tensors = {name: tensor for name, tensor in tensors.items() if name not in left_out}
    state = model.state_dict()
    counters = {name for name in state if name.endswith("num_batches_tracked")}  # absent in files of old versions
    problems = [
        _shorten("missing", [name for name in state if name not in {*tensors, *counters, *left_out}]),
        _shorten("unexpected", [name for name in tensors if name not in state]),
        _shorten("misshapen", _misshapen(tensors, state)),
    ]
    if any(problems):
        raise CheckpointError(
            f"{path} does not fit {model.variant.name}: {'; '.join(filter(None, problems))}; "
            "create the network that it was made for"
        )


def _misshapen(tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{name} {list(tensor.shape)} instead of {list(state[name].shape)}"
        for name, tensor in tensors.items()
        if name in state and tensor.shape != state[name].shape
    ]


def _shorten(label: str, names: Iterable[str]) -> str:
    """Give "label: 7 names, first five" or nothing when there are none."""
    names = list(names)
    if not names:
        return ""
    rest = f", and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"{len(names)} {label} ({', '.join(names[:_SHOWN_NAMES])}{rest})"
