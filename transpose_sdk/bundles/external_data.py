"""Which other files an ONNX graph reads, found without a library for ONNX: digests have to cover them too.

A tensor may lie in a file of its own (onnx.proto: TensorProto.external_data). Fields are read as protocol buffers have
them; what is not on the way to a tensor is skipped.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

# Field numbers of onnx.proto on the way from the model to its tensors: {message: {field: message}}.
_WAY = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_DEEPEST = 60  # messages within messages; an if within an if takes four


def external_files(path: Path) -> set[str]:
    """Locations of the tensors that lie outside an ONNX file, as it names them.

    Raises:
        ValueError: It is no ONNX file.
        OSError: It cannot be read.
    """
    if not path.stat().st_size:
        raise ValueError("it is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return set(_locations(memoryview(content), "model", 0))


def _locations(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("its messages lie too deep within each other")
    with message:
        for number, value in _fields(message):
            inner = _WAY[kind].get(number)
            if inner == "entry":
                entry = dict(_fields(value))
                if bytes(entry.get(1, b"")) == b"location":
                    yield bytes(entry.get(2, b"")).decode("utf-8", "backslashreplace")
                for part in entry.values():
                    part.release()
                value.release()
            elif inner is not None:
                yield from _locations(value, inner, depth + 1)
            else:
                value.release()


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers and contents of the fields of a message that have a length; the others are skipped."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        wire = key & 7
        if wire == 0:
            _, place = _varint(message, place)
        elif wire in (1, 5):
            place += 8 if wire == 1 else 4
        elif wire == 2:
            length, place = _varint(message, place)
            if length > len(message) - place:
                raise ValueError("a part of it ends behind its end")
            yield key >> 3, message[place : place + length]
            place += length
        else:
            raise ValueError("it is no protocol buffer")
    if place > len(message):
        raise ValueError("it ends in the middle of a number")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message) and shift < 64:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError("it ends in the middle of a number")
