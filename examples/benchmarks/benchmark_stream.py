"""How much of the pose network's own speed is left at the end of the stream, and what a plain loop makes of it.

    python examples/benchmarks/benchmark_stream.py clip.mp4 [more.mp4 ...] [--plain]

Each round goes through the same clip in every way, so that whatever else the machine does hits all of them:

network   the pose graph alone, on the crops that the stream gave it, with as many requests in flight
detector  the detector alone, on the frames that the stream showed it, one after another
stream    end to end: file decoding, detector, crops, network, pose decoding, tracking, smoothing
plain     a straightforward loop: detector on every frame, one person after another, the network in eager FP32 PyTorch,
          the published decoder in NumPy, no threads and no tracks (with --plain; needs torch)

How the detector is counted is told in `transpose_sdk.diagnostics.bench`, which does the measuring; `transpose bench`
does the same for one clip, and its parts alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from benchmark_decoding import plain_decode_dark
from numpy.typing import NDArray

from transpose_sdk.bundles.bundle import DEFAULT_MODEL
from transpose_sdk.crops import boxes_to_centers_scales, crop_affines, heatmap_to_image, warp_crops
from transpose_sdk.diagnostics.bench import Figure, Stopwatch, Work, record_work, stream_round, table
from transpose_sdk.errors import TransposeError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.frames import Source
from transpose_sdk.media.sources import open_source

EagerNetwork = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def eager_network(estimator: PoseEstimator) -> EagerNetwork:
    """The bundle's network as the published code runs it: one crop (1, H, W, 3) to heatmaps, FP32, eager."""
    import torch

    from transpose_sdk.models import load_checkpoint
    from transpose_sdk.models.preprocessing import Preprocessing

    model, preprocessing = load_checkpoint(estimator.bundle.graph("torch").path).eval(), Preprocessing()

    def run(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(model(preprocessing(torch.from_numpy(crop))).numpy(), np.float32)

    return run


def plain_loop(open_clip: Callable[[], Source], estimator: PoseEstimator, network: EagerNetwork) -> tuple[float, int]:
    """Frames a second of the straightforward loop, and the people that it posed."""
    size, frames, people = estimator.backend.input_size, 0, 0
    with Stopwatch() as watch, open_clip() as source:
        for frame in source:
            boxes, _ = estimator.detector(frame.image)
            for box in boxes:
                centers, scales = boxes_to_centers_scales(box[None], size)
                heatmaps = network(warp_crops(frame.image, crop_affines(centers, scales, size), size))
                coords, _ = plain_decode_dark(heatmaps)
                heatmap_to_image(coords, centers, scales, (heatmaps.shape[2], heatmaps.shape[3]))
            frames += 1
            people += len(boxes)
    return frames / watch.seconds, people


def measure(
    open_clip: Callable[[], Source], work: Work, estimator: PoseEstimator, rounds: int, network: EagerNetwork | None
) -> list[Figure]:
    """The figures of one clip."""
    figures: dict[tuple[str, str], Figure] = {}
    for _ in range(rounds):
        values = stream_round(open_clip, work, estimator)
        if network is not None:
            rate, people = plain_loop(open_clip, estimator, network)
            values["plain loop", "frames/s"] = rate
            values["people that the plain loop posed, of the stream's", "%"] = 100 * people / work.people
            values["stream / plain loop", "times"] = values["stream, end to end", "frames/s"] / rate
        for key, value in values.items():
            figures.setdefault(key, Figure(*key)).values.append(value)
    return list(figures.values())


def main() -> None:
    """Print the figures of each clip: the median round, and the range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--precision")
    parser.add_argument("--detector", default="person")
    parser.add_argument("--device", default="AUTO")
    parser.add_argument("--requests", type=int, help="in flight, for all ways alike; the device's choice if not given")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plain", action="store_true", help="also the plain loop")
    args = parser.parse_args()
    try:
        with PoseEstimator(args.model, args.device, args.precision, args.detector, requests=args.requests) as estimator:
            network = eager_network(estimator) if args.plain else None
            for clip in args.clips:
                open_clip = partial(open_source, clip, stop=args.frames)
                work = record_work(open_clip, estimator)
                figures = measure(open_clip, work, estimator, args.rounds, network)
                requests = estimator.backend.requests
                sys.stdout.write(
                    f"\n{clip}, {len(work.crops)} frames, {work.people} crops, {estimator.describe()}, "
                    f"{requests} requests in flight\n{table(figures)}"
                )
                sys.stdout.flush()
    except TransposeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
