"""The size of an image by its header, looked at before memory for its pixels is taken.

A file of some kilobytes can claim gigabytes of pixels, all of one colour.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

_PNM = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d{1,10})(?:\s|#[^\n]*\n)+(\d{1,10})\s")
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers with the size; the others are tables


def image_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) in px that an image file claims; None where it is of no known kind.

    Args:
        data: Of PNG, JPEG, WebP, TIFF, BMP, GIF, JPEG 2000, PBM to PPM, AVIF or HEIF.
    """
    for signature, read in _KINDS:
        if re.match(signature, data, re.DOTALL):
            try:
                width, height = read(data)
            except (struct.error, IndexError, ValueError, TypeError):
                return None
            return abs(height), abs(width)
    return None


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<hh" if header == 12 else "<ii", data, 18)
    return width, height


def _jpeg(data: bytes) -> tuple[int, int]:
    place, largest = 2, (0, 0)
    while place + 9 <= len(data):
        if data[place] != 0xFF:  # the pixels; nothing that counts comes behind them
            break
        marker = data[place + 1]
        if marker in (0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            place += 1 if marker == 0xFF else 2
            continue
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            largest = max(largest, (width, height), key=lambda size: size[0] * size[1])
        if marker == 0xDA:
            break
        place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    if not largest[0]:
        raise ValueError
    return largest


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff(data: bytes) -> tuple[int, int]:
    order = "<" if data[:2] == b"II" else ">"
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    big = version == 43
    (place,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)
    (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, place)
    sizes: dict[int, int] = {}
    start, length = place + (8 if big else 2), 20 if big else 12
    for number in range(min(count, 4096)):
        tag, kind = struct.unpack_from(f"{order}HH", data, start + number * length)
        if tag in (256, 257):
            value = {1: "B", 3: "H", 4: "I", 16: "Q"}[kind] if kind in (1, 3, 4, 16) else ""
            (sizes[tag],) = struct.unpack_from(f"{order}{value}", data, start + number * length + (12 if big else 8))
    if set(sizes) != {256, 257}:
        raise ValueError
    return sizes[256], sizes[257]


def _pnm(data: bytes) -> tuple[int, int]:
    found = _PNM.match(data)
    if found is None:
        raise ValueError
    return int(found[1]), int(found[2])


def _box(name: bytes, behind: int) -> Callable[[bytes], tuple[int, int]]:
    """The largest of the sizes in boxes of a name, which stand so many bytes behind it, the width first."""

    def read(data: bytes) -> tuple[int, int]:
        places = [found.end() + behind for found in re.finditer(name, data[: 1 << 20])]
        sizes = [struct.unpack_from(">II", data, place) for place in places if place + 8 <= len(data)]
        width, height = max(sizes, key=lambda size: size[0] * size[1])
        return width, height

    return read


def _jp2(data: bytes) -> tuple[int, int]:
    height, width = _box(b"ihdr", 0)(data)
    return width, height


def _codestream(data: bytes) -> tuple[int, int]:
    """JPEG 2000 without boxes: the size of the reference grid less its offset."""
    width, height, left, top = struct.unpack_from(">IIII", data, 8)
    return width - left, height - top


_KINDS: tuple[tuple[bytes, Callable[[bytes], tuple[int, int]]], ...] = (
    (rb"\x89PNG\r\n\x1a\n", _png),
    (rb"\xff\xd8\xff", _jpeg),
    (rb"RIFF....WEBP", _webp),
    (rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]", _tiff),
    (rb"BM", _bmp),
    (rb"GIF8", _gif),
    (rb"P[1-6]", _pnm),
    (rb"\0\0\0\x0cjP  ", _jp2),
    (rb"\xff\x4f\xff\x51", _codestream),
    (rb"....ftyp", _box(b"ispe", 4)),
)
