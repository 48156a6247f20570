"""What a run writes down: JSON lines always, TensorBoard's files where asked for, pictures."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.errors import MissingDependencyError

logger = logging.getLogger(__name__)


class Log:
    """The records of a run: log.jsonl has a line an epoch, steps.jsonl one every so many steps.

    A run that goes on from an earlier state does some steps again; of two records of a step the later one counts.

    Args:
        folder: Of the run; None writes nothing, as in all processes but the first.
        tensorboard: Whether to write the same for TensorBoard, into `folder / "tensorboard"`.

    Raises:
        MissingDependencyError: TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path | None, tensorboard: bool = False) -> None:
        self._folder, self._board = folder, None
        if folder and tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise MissingDependencyError(
                    "the logs for TensorBoard need tensorboard: pip install 'transpose-sdk[tensorboard]'"
                ) from error
            self._board = SummaryWriter(str(folder / "tensorboard"))

    def epoch(self, record: dict[str, Any]) -> None:
        """Write the numbers of an epoch, of which `epoch` counts from 1."""
        self._write("log.jsonl", record)
        self._scalars("epoch", record, record["epoch"])

    def step(self, record: dict[str, Any], done: int) -> None:
        """Write the numbers of some steps, `done` of the whole run."""
        self._write("steps.jsonl", record)
        self._scalars("step", record, done)

    def picture(self, name: str, image: NDArray[np.uint8], epoch: int) -> None:
        """Write pictures/epoch_NNN_NAME.png.

        Args:
            name: What is to be seen.
            image: (H, W, 3) BGR.
            epoch: Counted from 1.
        """
        if self._folder is None:
            return
        path = self._folder / "pictures" / f"epoch_{epoch:03d}_{name}.png"
        path.parent.mkdir(exist_ok=True)
        if not cv2.imwrite(str(path), image):
            logger.warning("%s could not be written; training goes on", path)
        if self._board:
            self._board.add_image(name, image[..., ::-1].copy(), epoch, dataformats="HWC")

    def close(self) -> None:
        """Write what is still in memory."""
        if self._board:
            self._board.close()

    def _write(self, name: str, record: dict[str, Any]) -> None:
        if self._folder:
            with (self._folder / name).open("a") as file:
                file.write(json.dumps(record) + "\n")

    def _scalars(self, group: str, record: dict[str, Any], place: int) -> None:
        for key, value in record.items() if self._board else ():
            if key not in ("epoch", "step") and value is not None:
                self._board.add_scalar(f"{group}/{key}", value, place)  # type: ignore[union-attr]
