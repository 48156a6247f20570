"""Training, evaluation and export of the person detector that ships; `python -m trainers.detector --help`."""
