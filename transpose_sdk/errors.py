"""The errors of transpose_sdk: each says what was given, what was expected, and what to do next."""

from __future__ import annotations

from transpose_sdk.without_secrets import without_secrets


class TransposeError(Exception):
    """Base of every error that transpose_sdk raises on purpose; tells no secret of an address that it names."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(without_secrets(arg) if isinstance(arg, str) else arg for arg in args))


class InputError(TransposeError, ValueError):
    """An argument of a call (an image, boxes, a keypoint's name, an option) cannot be used."""


class BundleError(TransposeError):
    """A model bundle is missing, damaged, foreign, or made for a newer version."""


class BackendError(TransposeError):
    """An inference backend, a device or a precision is not there or does not work."""


class DetectorError(TransposeError):
    """A person detector cannot be opened or does not have the form it claims."""


class SourceError(TransposeError):
    """A video, image, folder or camera cannot be opened or read."""


class SinkError(TransposeError):
    """An output file cannot be written."""


class CheckpointError(TransposeError):
    """A checkpoint does not fit the network it is loaded into."""


class DataError(TransposeError):
    """Training or evaluation data is missing or malformed."""


class TrainingError(TransposeError):
    """A training run cannot go on: its loss is not finite, or the memory does not suffice."""


class MissingDependencyError(TransposeError, ImportError):
    """An optional package is not installed."""


def first_line(error: BaseException) -> str:
    """The first line of another library's error, which often goes on for a page; its type where it says nothing."""
    return _lines(error)[0]


def last_line(error: BaseException) -> str:
    """As `first_line`, for libraries that tell the reason last, below where it happened: OpenVINO."""
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
