"""Where pictures come from: `open_source` turns a path, glob, camera index, URL or iterable into a Source."""

from __future__ import annotations

import glob
import logging
import math
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from transpose_sdk.checks.images import to_bgr
from transpose_sdk.errors import InputError, SourceError, TransposeError
from transpose_sdk.lifetime.closeable import Closeable
from transpose_sdk.media.animated import animated_webp, is_animated
from transpose_sdk.media.camera import CameraSource
from transpose_sdk.media.frames import DEFAULT_FPS, FrameClock, FrameRange, Source, SourceFrame, iterating
from transpose_sdk.media.image_file import IMAGE_SUFFIXES, read_image
from transpose_sdk.media.listing import NAMED, pictures_among
from transpose_sdk.media.pipe import is_pipe, open_pipe, open_stdin
from transpose_sdk.media.video import VideoSource
from transpose_sdk.without_secrets import without_secrets

logger = logging.getLogger(__name__)

SourceSpec = str | os.PathLike[str] | int | Source | Iterable[object]


def open_source(
    spec: SourceSpec,
    *,
    start: int = 0,
    stop: int | None = None,
    stride: int = 1,
    fps: float | None = None,
    live: bool | None = None,
) -> Source:
    """Open anything that gives pictures.

        >>> import transpose_sdk as tp
        >>> with tp.open_source("clip.mp4", start=1) as source:
        ...     for frame in source:
        ...         print(frame.index, frame.time, frame.image.shape)
        1 0.1 (540, 960, 3)
        2 0.2 (540, 960, 3)

    What an array holds when its turn comes is copied. Afterwards the caller may write into it, hand out the same buffer
    again, and draw on the frame's image without a trace in the array. An array that waits for its turn in a list is the
    caller's: what is written into it until then is what is seen.

    A generator ends with the source: it is closed on leaving the block, by the thread that iterates, and its `finally`
    runs then. Whatever else was lent stays open, an iterator with a `close` of its own too;
    `itertools.chain(generator)` lends a generator that way.

    Args:
        spec: A video or image file, a folder of images, a glob of images, a FIFO, - for a video that is piped into
            stdin, a camera's index (also as a string), an rtsp:// or http:// URL, one (H, W, 3) uint8 BGR array (grey
            and BGRA are converted), any iterable of such arrays or of (seconds, array) pairs, or a Source, which is
            given back.
        start: Index of the first frame.
        stop: Index of the frame to stop before; None for all.
        stride: Hand out every stride-th frame.
        fps: Frames per second of images and arrays without times (30 if not given), or to overrule a video's own.
        live: Whether a URL's pictures come as they are taken: old ones are worth less than new ones, and a stream that
            breaks off is opened again. None: RTSP, RTMP, SRT, RTP, UDP and TCP, HLS without an end, and JPEGs over HTTP
            (multipart/x-mixed-replace) are live. Other HTTP is a file that ends, with or without a stated length.

    Raises:
        SourceError: There is nothing there, or nothing that can be decoded.
        InputError: An option cannot be used.
    """
    frames = FrameRange(start, stop, stride)
    if fps is not None and not (isinstance(fps, int | float) and math.isfinite(fps) and fps > 0):
        raise InputError(f"fps={fps!r}: give frames per second as a number above 0")
    if isinstance(spec, Source):
        if frames != FrameRange() or fps is not None:
            raise InputError(f"{spec.name} is already open: give start, stop, stride and fps where it is opened")
        return spec
    if isinstance(spec, int | np.integer):
        return CameraSource(int(spec), frames, fps)
    if isinstance(spec, str | os.PathLike):
        return _open_path(os.fspath(spec), frames, fps, live)
    if isinstance(spec, np.ndarray) and spec.ndim in (2, 3):
        return ArraySource([spec], frames, fps)
    if isinstance(spec, Iterable):
        return ArraySource(spec, frames, fps)
    if type(spec).__module__.startswith("PIL."):
        to_bgr(spec, "the source", SourceError)  # which says how to convert it
    raise SourceError(
        f"cannot take frames from a {type(spec).__name__}: give a path, a glob, a camera index, a URL or an iterable "
        "of (H, W, 3) uint8 arrays"
    )


def _open_path(spec: str, frames: FrameRange, fps: float | None, live: bool | None) -> Source:
    if not spec.strip():
        raise SourceError("the source is an empty text: give a path, a glob, a camera index or a URL")
    if spec.lower().startswith("file://"):
        spec = url2pathname(urlsplit(spec).path)
    elif "://" in spec:
        return VideoSource(spec, without_secrets(spec), frames, fps, live)
    try:
        return _open_file(spec, frames, fps, live)
    except (OSError, ValueError, RuntimeError) as error:  # a name that no file can have, no home, no permission
        if isinstance(error, TransposeError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"cannot open {spec[:200]} ({reason}): check the path and its permission") from error


def _open_file(spec: str, frames: FrameRange, fps: float | None, live: bool | None) -> Source:
    path = Path(spec).expanduser()
    if spec == "-" or is_pipe(path):
        pipe = open_stdin() if spec == "-" else open_pipe(path)
        return VideoSource(pipe, "stdin" if spec == "-" else spec, frames, fps, live)
    if path.is_dir():
        images, others = pictures_among(path.iterdir(), spec)
        if not images:
            raise SourceError(
                f"no images in the folder {spec}: expected files such as .jpg or .png; give a folder of images or a "
                f"video file{f' ({others})' if others else ''}"
            )
        return ImageSource(images, frames, fps, spec)
    if path.is_file():
        return _of_one_file(path, frames, fps)
    if spec.isascii() and spec.isdigit():
        return CameraSource(int(spec), frames, fps)
    if glob.has_magic(spec):
        matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - Path.glob: no absolute
        images, others = pictures_among((match for match in matches if match.is_file()), spec)
        if not images:
            raise SourceError(
                f"{spec} matches {len(matches)} files but no images: expected files such as .jpg or .png; quote the "
                f"pattern and check it{f' ({others})' if others else ''}"
            )
        return ImageSource(images, frames, fps, spec)
    raise SourceError(
        f"there is no file or folder {spec}: expected a video, an image, a folder or glob of images, a camera index or "
        "a URL; check the path"
    )


def _of_one_file(path: Path, frames: FrameRange, fps: float | None) -> Source:
    suffix, animated = path.suffix.lower(), is_animated(path)
    if suffix in (".heic", ".heif"):
        raise SourceError(f"{path} is HEIF, which is not read: convert it to JPEG, or set the phone to take JPEGs")
    if suffix == ".webp" and animated:
        return ArraySource(animated_webp(path), frames, fps, str(path))
    if suffix in IMAGE_SUFFIXES and not animated:
        return ImageSource([path], frames, fps, str(path))
    return VideoSource(f"file:{path.absolute()}", str(path), frames, fps)


class ImageSource(Closeable):
    """Image files in natural order of their names: frame_2 comes before frame_10.

    One that cannot be read among others is skipped, and the log names it once, at the end.

    Attributes:
        paths: The files; a frame's index is its place here.
        skipped: Those that could not be read so far.
    """

    def __init__(self, paths: Iterable[Path], frames: FrameRange, fps: float | None = None, name: str = "") -> None:
        """Sort the files; each is read when its turn comes."""
        self.paths = sorted(paths, key=_natural_key)
        self._frames = frames
        self._period = 1.0 / (fps or DEFAULT_FPS)
        self._closed = False
        self.skipped: list[Path] = []
        self.name = name or str(self.paths[0])
        self.kind = "images"
        self.fps = fps / frames.stride if fps else None
        self.frame_count: int | None = len(frames.of(len(self.paths)))
        self.size: tuple[int, int] | None = None
        self.live = False

    def close(self) -> None:
        """End an iteration at its next image."""
        self._closed = True

    def __iter__(self) -> Iterator[SourceFrame]:
        wanted = self._frames.of(len(self.paths))
        reason: SourceError | None = None
        try:
            for index in wanted:
                if self._closed:
                    return
                try:
                    image = read_image(self.paths[index])
                except SourceError as error:
                    self.skipped.append(self.paths[index])
                    reason = reason or error
                else:
                    yield SourceFrame(index, index * self._period, image, owned=True)
            if reason is not None and len(self.skipped) == len(wanted):
                others = f", nor can {len(wanted) - 1} more of {self.name}" if len(wanted) > 1 else ""
                raise SourceError(f"{reason}{others}")
        finally:
            if self.skipped and len(self.skipped) < len(wanted):
                logger.warning("%s", _skipped_line(self.skipped, len(wanted), self.name))


class ArraySource(Closeable):
    """Arrays, or (seconds, array) pairs, from any iterable, which may be endless.

    The frames hold copies, and a generator is closed when the iteration ends; see `open_source`.
    """

    def __init__(self, arrays: Iterable[object], frames: FrameRange, fps: float | None = None, name: str = "") -> None:
        """Nothing is taken from the iterable before the first frame is asked for; `name` is the user's for it."""
        self._arrays = arrays
        self._frames = frames
        self._raw_fps = fps or DEFAULT_FPS
        self._closed = False
        self.name = name or type(arrays).__name__
        self.kind = "array"
        self.fps = fps / frames.stride if fps else None
        self.frame_count = len(frames.of(len(arrays))) if isinstance(arrays, list | tuple | np.ndarray) else None
        self.size: tuple[int, int] | None = None
        self.live = False

    def close(self) -> None:
        """End an iteration at its next array."""
        self._closed = True

    def __iter__(self) -> Iterator[SourceFrame]:
        clock = FrameClock(1.0 / self._raw_fps)
        with iterating(self._arrays) as arrays:
            # islice never asks the iterable for a frame past the stop.
            for index, item in enumerate(islice(arrays, self._frames.stop)):
                if self._closed:
                    return
                stamp, given = _split(item, index, index / self._raw_fps)
                seconds = clock.tick(stamp)
                if index in self._frames:
                    image = to_bgr(given, f"frame {index}", SourceError)
                    yield SourceFrame(index, seconds, image, owned=image is not given).kept()


def _split(item: object, index: int, default: float) -> tuple[float, object]:
    """The time in seconds and the picture of one item of an iterable."""
    if not isinstance(item, tuple):
        return default, item
    if len(item) != 2 or not isinstance(item[0], int | float | np.integer | np.floating):
        kinds = ", ".join(type(part).__name__ for part in item)
        raise SourceError(
            f"frame {index} is a tuple of ({kinds}); expected an array or a pair (seconds, array): put the time first"
        )
    return float(item[0]), item[1]


def _skipped_line(skipped: list[Path], total: int, name: str) -> str:
    more = f" and {len(skipped) - NAMED} more" if len(skipped) > NAMED else ""
    listed = ", ".join(path.name for path in skipped[:NAMED])
    return f"skipped {len(skipped)} of {total} images of {name} that cannot be read: {listed}{more}"


def _natural_key(path: Path) -> list[tuple[str, int, str]]:
    """Text and numbers of a path in turn, numbers compared by value; the text itself settles ties."""
    return [(text, int(number or 0), number) for text, number in re.findall(r"(\D*)(\d*)", str(path))]
