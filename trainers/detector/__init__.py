"""Training, evaluation and export of the person detector: `python -m transpose_sdk.trainers.detector --help`."""
