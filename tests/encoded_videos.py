"""Small videos as tests need them, encoded here: a picture's grey says which frame it is."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (96, 64)  # width and height in px


def grey(index: int) -> np.ndarray:
    """Frame `index`: grey levels far enough apart to survive compression, up to 20 of them."""
    return np.full((SIZE[1], SIZE[0], 3), 20 + 11 * index, np.uint8)


def number(image: np.ndarray) -> int:
    """Which of the grey frames a picture is."""
    return round((float(image.mean()) - 20) / 11)


def corners() -> np.ndarray:
    """A picture whose corners, from the upper left in reading order, are red, green, blue and white (BGR), on grey."""
    image = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
    image[:24, :24], image[:24, -24:] = (0, 0, 255), (0, 255, 0)
    image[-24:, :24], image[-24:, -24:] = (255, 0, 0), (255, 255, 255)
    return image


def corner_names(image: np.ndarray) -> str:
    """The colours in the corners of a picture in reading order, such as "rgbw"."""
    height, width = image.shape[:2]
    names = ""
    for y in (8, height - 8):
        for x in (8, width - 8):
            blue, green, red = (int(value) > 127 for value in image[y, x])
            names += {(0, 0, 1): "r", (0, 1, 0): "g", (1, 0, 0): "b", (1, 1, 1): "w"}.get((blue, green, red), "?")
    return names


def encode(
    path: Path,
    images: Iterable[np.ndarray],
    codec: str = "libx264",
    rate: int = 10,
    times: Sequence[Fraction] | None = None,
    tick: int = 600,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Write a video.

    Args:
        path: Where to; its suffix is the container.
        images: (H, W, 3) uint8 BGR.
        codec: FFmpeg's name of the encoder.
        rate: Frames a second.
        times: When each frame is shown, in s, where that is not regular.
        tick: Their unit is this part of a second.
        aspect: Width of a pixel divided by its height.
        options: For the encoder.
        container: Options for the muxer.
    """
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {"preset": "ultrafast", "x264-params": "log-level=none"} if codec == "libx264" else {}
        stream.options |= options or {}
        stream.bit_rate = 2_000_000
        if times is not None:
            stream.codec_context.time_base = Fraction(1, tick)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for index, image in enumerate(images):
            if not index:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, "bgr24")
            if times is not None:
                frame.time_base, frame.pts = Fraction(1, tick), int(times[index] * tick)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Change the matrix of an MP4's first track: a player takes (x, y) to (a x + c y, b x + d y)."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # version, flags, times, track, duration, layer, group, volume (ISO 14496-12)
    assert struct.unpack(">9i", data[place : place + 36])[8] == 1 << 30
    data[place : place + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def available(codec: str) -> bool:
    """Whether FFmpeg here can encode it."""
    try:
        av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True
