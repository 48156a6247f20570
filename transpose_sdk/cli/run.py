"""`transpose run`: poses of a video, image, folder, camera or stream, to files or, as JSON lines, to stdout."""

from __future__ import annotations

import argparse
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from transpose_sdk.bundles.bundle import DEFAULT_MODEL
from transpose_sdk.cli.outputs import STDOUT

if TYPE_CHECKING:
    from transpose_sdk.cli.outputs import Output
    from transpose_sdk.drawing.annotator import PoseAnnotator
    from transpose_sdk.drawing.overlay import AttentionOverlay
    from transpose_sdk.estimator import PoseEstimator
    from transpose_sdk.media.files import FileSink
    from transpose_sdk.media.frames import Source

FILE_OPTIONS = ("save", "json", "jsonl", "csv", "coco", "openpose", "mot")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `transpose run`."""
    parser.add_argument(
        "source", metavar="SOURCE", help="video, image, folder, quoted glob, camera index, URL, FIFO, or - for stdin"
    )
    model = parser.add_argument_group("network")
    model.add_argument("--model", default=DEFAULT_MODEL, help="shipped network or a path (default: %(default)s)")
    model.add_argument("--device", default="AUTO", help="AUTO, CPU, GPU, NPU, ... (default: AUTO)")
    model.add_argument("--precision", help="fp32, fp16 or int8 (default: the fastest of the right)")
    model.add_argument("--detector", default="person", help="person, frame, or a detector's path (default: person)")
    model.add_argument("--detector-score", type=float, metavar="S", help="lowest score of a person (default: its own)")
    model.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="look at the mirrored person too: better, in twice the network's time (default: as the bundle does)",
    )
    frames = parser.add_argument_group("frames")
    frames.add_argument("--start", type=_at_least(0), default=0, metavar="N", help="first frame, counted from 0")
    frames.add_argument("--stop", type=_at_least(1), metavar="N", help="frame to stop before")
    frames.add_argument("--stride", type=_at_least(1), default=1, metavar="N", help="take every N-th frame")
    frames.add_argument("--max-frames", type=_at_least(1), metavar="N", help="stop after N frames")
    frames.add_argument(
        "--live", action="store_true", default=None, help="a URL that is a camera's, though it looks like a file's"
    )
    outputs = parser.add_argument_group("outputs (JSON lines on stdout if none is given)")
    outputs.add_argument(
        "--save",
        metavar="FILE",
        help="annotated video, image (.png, .jpg), folder of images; - is Matroska on stdout",
    )
    outputs.add_argument(
        "--json", metavar="FILE", help="all frames as one JSON document; - is stdout, for the texts below too"
    )
    outputs.add_argument("--jsonl", metavar="FILE", help="JSON lines, one a frame")
    outputs.add_argument("--csv", metavar="FILE", help="table with one row a joint")
    outputs.add_argument("--coco", metavar="FILE", help="COCO keypoint results")
    outputs.add_argument("--openpose", metavar="DIR", help="folder of OpenPose JSON files")
    outputs.add_argument("--mot", metavar="FILE", help="boxes and ids as MOT text")
    drawing = parser.add_argument_group("drawing")
    drawing.add_argument(
        "--min-score", type=float, default=0.5, help="draw joints from this probability on (default: 0.5)"
    )
    drawing.add_argument("--attention", metavar="JOINT", help="draw what this joint of each person was inferred from")
    drawing.add_argument("--attention-threshold", default="3x", metavar="T", help="0.01, or 3x uniform (default: 3x)")
    drawing.add_argument("--no-boxes", action="store_true", help="draw no boxes and labels")
    parser.add_argument("--quiet", action="store_true", help="no progress and no summary")


def run(args: argparse.Namespace) -> int:
    """Pose the people of a source and write what was asked for.

    Raises:
        TransposeError: The source, the network, the device or an output cannot be used.
    """
    from transpose_sdk.cli.interrupts import undisturbed, undisturbed_exit
    from transpose_sdk.cli.outputs import check_outputs
    from transpose_sdk.cli.progress import Progress
    from transpose_sdk.errors import SourceError
    from transpose_sdk.estimator import PoseEstimator
    from transpose_sdk.media.sources import ImageSource, open_source
    from transpose_sdk.stream import PoseStream

    logging.basicConfig(format="transpose: %(message)s", level=logging.ERROR if args.quiet else logging.WARNING)
    with undisturbed_exit() as stack:
        source = open_source(args.source, start=args.start, stop=args.stop, stride=args.stride, live=args.live)
        stack.enter_context(source)
        paths = source.paths if isinstance(source, ImageSource) else [args.source]
        outputs, began = list(_outputs(args, source)), time.time()
        check_outputs(outputs, [*paths, args.model, args.detector])
        estimator = PoseEstimator(
            args.model,
            args.device,
            args.precision,
            args.detector,
            attention=args.attention is not None,
            flip_test=args.flip,
            detector_score=args.detector_score,
        )
        stack.enter_context(estimator)
        sinks = [stack.enter_context(open_sink()) for open_sink in _sinks(args, source, estimator)]
        total = min((n for n in (source.frame_count, args.max_frames) if n is not None), default=None)
        stream = stack.enter_context(PoseStream(source, estimator))
        # On one terminal the progress would run into the JSON lines.
        quiet = args.quiet or (_to_stdout(args) and sys.stdout.isatty())
        with Progress(total, quiet=quiet) as progress:
            for frame in stream:
                with undisturbed():
                    for sink in sinks:
                        sink.write(frame)
                    progress.update(len(frame.poses), frame.dropped)
                if progress.frames == args.max_frames:
                    break
        if not progress.frames:
            raise SourceError(
                f"{source.name} gave no frame from frame {args.start} on: give a smaller --start, or check that it is "
                "complete"
            )
    for output in outputs:
        _tell_stale(output, began)
    if not args.quiet:
        written = [getattr(args, option) for option in FILE_OPTIONS if getattr(args, option) not in (None, "-")]
        sys.stderr.write(_summary(progress.frames, progress.people, progress.dropped, progress.seconds, written))
    return 0


def _to_stdout(args: argparse.Namespace) -> bool:
    """Whether JSON lines go to stdout: asked for by -, or because no output is given."""
    given = [getattr(args, option) for option in FILE_OPTIONS]
    return "-" in given or not any(given)


def _sinks(args: argparse.Namespace, source: Source, estimator: PoseEstimator) -> Iterator[Callable[[], FileSink]]:
    """The sinks asked for, each as a function that opens it."""
    from transpose_sdk.drawing.annotator import PoseAnnotator
    from transpose_sdk.media import sinks
    from transpose_sdk.media.frames import source_record

    boxes = not args.no_boxes
    annotator = PoseAnnotator(boxes, boxes, args.min_score, attention=_overlay(args, estimator))
    if args.save:
        yield lambda: _picture_sink(Path(args.save), source, annotator)
    if args.json:
        yield lambda: sinks.JsonSink(
            _target(args.json), source=source_record(source), model=estimator.describe(), skeleton=estimator.skeleton
        )
    if args.jsonl or not any(getattr(args, option) for option in FILE_OPTIONS):
        yield lambda: sinks.JsonLinesSink(_target(args.jsonl or "-"))
    if args.csv:
        yield lambda: sinks.CsvSink(_target(args.csv))
    if args.coco:
        yield lambda: sinks.CocoSink(_target(args.coco))
    if args.openpose:
        yield lambda: sinks.OpenPoseSink(args.openpose, _openpose_stem(args))
    if args.mot:
        yield lambda: sinks.MotSink(_target(args.mot))


def _target(path: str) -> str | IO[bytes]:
    """What a sink writes to."""
    return sys.stdout.buffer if path == "-" else path


def _openpose_stem(args: argparse.Namespace) -> str:
    path = Path(args.source)
    return path.stem if path.is_file() else "frame"


def _overlay(args: argparse.Namespace, estimator: PoseEstimator) -> AttentionOverlay | None:
    """The overlay asked for. Raises InputError where the joint is unknown or the bundle gives no attention."""
    from transpose_sdk.dependency import Threshold
    from transpose_sdk.drawing.overlay import AttentionOverlay, warm_up
    from transpose_sdk.errors import InputError

    if args.attention is None:
        return None
    if not args.save:
        raise InputError(f"--attention {args.attention} is drawn on pictures: add --save FILE")
    joint = estimator.skeleton.index(args.attention)
    threshold = Threshold.parse(args.attention_threshold)
    warm_up()
    estimator.require_attention()
    return AttentionOverlay(joint, threshold=threshold)


def _picture_sink(path: Path, source: Source, annotator: PoseAnnotator) -> FileSink:
    """An image or folder for a name with an image's suffix or none, and a video otherwise."""
    from transpose_sdk.media.image_file import IMAGE_SUFFIXES
    from transpose_sdk.media.sinks import ImageSink, VideoSink

    if str(path) == STDOUT:
        return VideoSink(sys.stdout.buffer, source.fps, annotator)
    if _is_folder(path) or path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSink(path, _image_names(source), annotator)
    return VideoSink(path, source.fps, annotator)


def _is_folder(path: Path) -> bool:
    """Whether pictures go into a folder of this name."""
    return str(path) != STDOUT and (not path.suffix or path.is_dir())


def _image_names(source: Source) -> list[str] | None:
    """Names for the images of a folder: those of the source's own files, if no two are the same."""
    from transpose_sdk.media.sources import ImageSource

    if not isinstance(source, ImageSource):
        return None
    names = [path.name for path in source.paths]
    return names if len(set(names)) == len(names) else None


def _outputs(args: argparse.Namespace, source: Source) -> Iterator[Output]:
    """What will be written."""
    from transpose_sdk.cli.outputs import Output, names_pattern

    for option in FILE_OPTIONS:
        value = getattr(args, option)
        names = None
        if option == "save" and value and _is_folder(Path(value)):
            names = names_pattern(_image_names(source))
        elif option == "openpose":
            names = re.compile(rf"{re.escape(_openpose_stem(args))}_\d{{12}}_keypoints\.json")
        if value is not None:
            yield Output(f"--{option}", value, names)


def _tell_stale(output: Output, began: float) -> None:
    """Warn of files of an earlier run among the new ones of a folder; they may be the user's own."""
    folder = Path(output.path)
    if output.names is None or not folder.is_dir():
        return
    named = [path for path in folder.iterdir() if output.names.fullmatch(path.name)]
    stale = sorted(path.name for path in named if path.stat().st_mtime < began - 1)  # disks count seconds at worst
    if stale:
        logging.getLogger(__name__).warning(
            "%s holds %d older files among the new ones, the first is %s", output, len(stale), stale[0]
        )


def _summary(frames: int, people: int, dropped: int, seconds: float, written: list[str]) -> str:
    lost = f", {dropped} dropped" if dropped else ""
    where = f"; wrote {', '.join(written)}" if written else ""
    return f"{frames} frames in {seconds:.1f} s ({frames / max(seconds, 1e-6):.1f} fps), {people} poses{lost}{where}\n"


def _at_least(lowest: int) -> Callable[[str], int]:
    """A converter for argparse to whole numbers from `lowest` on."""

    def convert(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if number < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest} on")
        return number

    return convert
