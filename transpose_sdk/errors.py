"""The errors of transpose_sdk: each says what was given, what was expected, and what to do next."""

from __future__ import annotations


class TransposeError(Exception):
    """Base of every error that transpose_sdk raises on purpose."""


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
