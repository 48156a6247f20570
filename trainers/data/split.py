"""Which images a network is not to learn from, so that its scores can be fitted on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any


def is_held_out(file_name: str, share: float) -> bool:
    """Whether an image belongs to the `share` of all that is held out; a larger share holds all of a smaller one.

    It follows from the name alone, without folder and ending: a photo is on the same side in every run and every file,
    and so are its copies of another size.
    """
    digest = hashlib.sha256(PurePosixPath(file_name).stem.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def held_out_ids(images: Iterable[Mapping[str, Any]], shares: Mapping[str, float]) -> set[Any]:
    """Ids of the images that are held out.

    Args:
        images: As in a COCO file; `source` tells where an image is from, "" where it is missing.
        shares: By source; none of the others.
    """
    return {item["id"] for item in images if is_held_out(item["file_name"], shares.get(item.get("source", ""), 0.0))}
