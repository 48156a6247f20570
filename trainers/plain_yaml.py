"""YAML as people write it: plain values, and no file that grows when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from transpose_sdk.checks.small_file import read_small
from transpose_sdk.errors import DataError

LARGEST = 1 << 20  # bytes; recipes have some hundred
LARGEST_GROWTH = 100_000  # values that a file may stand for once its aliases are followed; recipes have some dozens
DEEPEST = 50  # values within values


def read_yaml(path: Path) -> Any:
    """Content of a YAML file.

    Raises:
        OSError: It cannot be read, is no regular file, or is larger than a description.
        DataError: It is not YAML, or a few bytes of it stand for a great many values.
    """
    return parse_yaml(read_small(path, LARGEST), str(path))


def parse_yaml(text: str | bytes, origin: str) -> Any:
    """Values of a YAML text.

    Args:
        text: A file's content, or a word of a command line.
        origin: Where it comes from, for the error.

    Raises:
        DataError: It is not YAML, or a few bytes of it stand for a great many values.
    """
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        if node is not None:
            _count(node, {}, 0, origin)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())  # which PyYAML spreads over several lines
        raise DataError(f"{origin} is not YAML: {reason}") from None


def _count(node: yaml.Node, known: dict[int, int], depth: int, origin: str) -> int:
    """Values that a node stands for. Raises DataError where they are too many, too deep, or a node holds itself."""
    if id(node) in known:
        if known[id(node)] < 0:
            raise DataError(f"{origin} holds itself: write its values out instead of an alias")
        return known[id(node)]
    if depth > DEEPEST:
        raise DataError(f"{origin} has values within values, more than {DEEPEST} deep: write it flat")
    known[id(node)] = -1
    total = 1
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    else:
        parts = node.value if isinstance(node, yaml.SequenceNode) else []
    for part in parts:
        total += _count(part, known, depth + 1, origin)
        if total > LARGEST_GROWTH:
            raise DataError(
                f"{origin} stands for more than {LARGEST_GROWTH} values once its aliases are followed: write fewer"
            )
    known[id(node)] = total
    return total
