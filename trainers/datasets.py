"""The data sets of a recipe: which files, how often their persons are drawn, and whose joint is whose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from transpose_sdk.checks.ranges import ABOVE_0
from transpose_sdk.errors import DataError


@dataclass(frozen=True)
class DataSet:
    """One annotated set of images.

    Attributes:
        annotations: A COCO keypoint file, or MPII's list: the .json of the published code or the released .mat. Paths
            are relative to the data folder.
        images: Folder of its images.
        weight: Share of one of its persons among all that are drawn; a set counts by its weight times its size.
        skeleton: What its joints are: a name (coco17, mpii16, lsp14), a YAML file, or a COCO file whose category tells.
            By default what the annotations tell themselves, and otherwise the network's.
        joints: The network's joint to the set's, each by name or by index. By default those of equal names; what has
            no counterpart is masked.
        keypoints: Field of an annotation that holds the joints.
        exclude: Another annotation file, the images of which are left out: the validation split of a released whole.
    """

    annotations: str
    images: str
    weight: float = 1.0
    skeleton: str = ""
    joints: Mapping[str | int, str | int] = field(default_factory=dict)
    keypoints: str = "keypoints"
    exclude: str = ""

    def __post_init__(self) -> None:
        if self.weight not in ABOVE_0:
            raise DataError(f"data set {self.annotations}: weight {self.weight} must be above 0; or leave the set out")


def check_data_sets(items: Any) -> None:
    """Check the keys of the data sets that a recipe lists; their values are checked with the recipe's.

    Raises:
        DataError: A key is unknown or missing.
    """
    known = {item.name for item in fields(DataSet)}
    if not isinstance(items, list | tuple):
        raise DataError(f"datasets is {items!r}; give a list of data sets")
    for number, values in enumerate(items):
        if not isinstance(values, Mapping):
            raise DataError(f"datasets[{number}] is {values!r}; give a data set's keys and values")
        unknown, missing = sorted(map(str, set(values) - known)), sorted({"annotations", "images"} - set(values))
        if unknown or missing:
            problem = f"unknown keys {', '.join(unknown)}" if unknown else f"no {' and no '.join(missing)}"
            raise DataError(f"datasets[{number}]: {problem}; a data set has {', '.join(sorted(known))}")
