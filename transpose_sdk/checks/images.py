"""What counts as an image: OpenCV's order, for the estimator, the streams, the detectors and the drawing alike."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.errors import InputError, TransposeError

WANTED = "(H, W, 3) uint8 in BGR order, as of cv2.imread"


def to_bgr(image: Any, name: str = "the image", kind: type[TransposeError] = InputError) -> NDArray[np.uint8]:
    """Check a caller's image and give it as (H, W, 3) uint8 BGR; the image itself where it is that already.

    Args:
        image: (H, W, 3) BGR, (H, W, 4) BGRA, or (H, W) or (H, W, 1) grey, uint8. RGB cannot be told from BGR: turn it
            with `image[..., ::-1]`.
        name: What the image is called in the error, such as "frame 3".
        kind: Class of the error.

    Raises:
        TransposeError: Of that kind: it is no such array; the message says how to convert it.
    """
    if not isinstance(image, np.ndarray):
        raise kind(f"{name} is {_described(image)}, not an array {WANTED}: {_conversion(image)}")
    shape = image.shape
    if image.dtype != np.uint8:
        raise kind(f"{name} has shape {shape} and type {image.dtype}, not {WANTED}: convert it with {_cast(image)}")
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)) or 0 in shape:
        raise kind(f"{name} has shape {shape}, not {WANTED} (grey and BGRA are converted): {_reshaping(shape)}")
    if len(shape) == 2 or shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    if shape[2] == 4:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8)
    if image.strides[1:] != (3, 1) or image.strides[0] < 0:
        # OpenCV would copy the whole of a mirrored or turned view for every crop.
        return np.ascontiguousarray(image)
    return image


def _described(image: Any) -> str:
    kind = type(image)
    home = kind.__module__.partition(".")[0]
    return "None" if image is None else f"a {kind.__name__}" if home == "builtins" else f"a {home} {kind.__name__}"


def _conversion(image: Any) -> str:
    """How to make an array of what is none; known by its class's name, so that no library is imported for it."""
    home = type(image).__module__.partition(".")[0]
    if image is None:
        return "cv2.imread gives None where it cannot read a file, so check the path"
    if home == "PIL":
        return "give np.asarray(image.convert('RGB'))[..., ::-1], which turns PIL's RGB into BGR"
    if home == "torch":
        scaled = "image" if str(image.dtype) == "torch.uint8" else "(image * 255).clamp(0, 255).byte()"
        last = ".permute(1, 2, 0)" if image.dim() == 3 and image.shape[0] in (1, 3) else ""
        return (
            f"give {scaled}{last}.cpu().numpy()[..., ::-1], if it is an RGB image"
            f"{' of values from 0 to 1' if scaled != 'image' else ''} (torch's habit), not normalised"
        )
    if isinstance(image, bytes | bytearray | memoryview):
        return "decode a file's content with cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)"
    if isinstance(image, str) or hasattr(image, "__fspath__"):
        return "read the file with cv2.imread, or open it with transpose_sdk.open_source"
    return "convert it with np.asarray"


def _cast(image: NDArray[Any]) -> str:
    if np.issubdtype(image.dtype, np.floating):
        return "(image * 255).astype(np.uint8) if its range is 0..1, image.astype(np.uint8) if 0..255"
    if image.dtype == np.uint16:
        return "(image >> 8).astype(np.uint8) if its range is 0..65535"
    return (
        "(image * 255).astype(np.uint8)" if image.dtype == np.bool_ else "image.astype(np.uint8) if its range is 0..255"
    )


def _reshaping(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return "image.transpose(1, 2, 0) puts the channels last"
    if len(shape) == 4:
        return "give one image, or several to PoseEstimator.batch"
    return "check its axes"
