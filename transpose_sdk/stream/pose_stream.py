"""`PoseStream`: a source in, frames with the poses of the people in them out."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Literal, get_args

from transpose_sdk.errors import InputError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.lifetime.closeable import Closeable
from transpose_sdk.media.sources import SourceSpec, open_source
from transpose_sdk.stream.channel import Closed
from transpose_sdk.stream.detection import BoxFinder, DetectionOptions
from transpose_sdk.stream.frame import Frame
from transpose_sdk.stream.pipeline import Pipeline
from transpose_sdk.tracking.smoothing import PoseSmoother, SmoothingOptions
from transpose_sdk.tracking.tracker import Tracker, TrackingOptions

Policy = Literal["latest", "every"]


class PoseStream(Closeable):
    """Poses of all people on all frames of a source, tracked and smoothed, in the order of the frames.

        >>> import transpose_sdk as tp
        >>> with tp.PoseStream("clip.mp4") as stream:
        ...     for frame in stream:
        ...         print(frame.index, frame.time, frame.poses.track_ids)
        0 0.0 [1 2]
        1 0.1 [1 2]
        2 0.2 [1 2]

    Your own estimator, and what is found drawn and saved:

        >>> with tp.PoseEstimator("tp_m16_192x144") as estimator, tp.PoseStream("clip.mp4", estimator) as stream:
        ...     with tp.VideoSink("out.mp4") as video, tp.CsvSink("out.csv") as table:
        ...         for frame in stream:
        ...             video.write(frame)
        ...             table.write(frame)

    Work begins on entering the with block, or with the first frame asked for. Leaving the block, or `close`, ends it
    within a second; frames that were finished by then can still be taken. What fails in a stage is raised here, once,
    after the frames before it. A frame that was worked on is always handed out: only waiting frames are dropped.

    Args:
        source: What `open_source` takes. A Source that you opened yourself is lent and stays open; a camera or network
            stream that you lend ends within its own next frame.
        estimator: The detector and the network, lent: it stays open, and several streams may share it. None opens
            `PoseEstimator()`, which is closed with the stream.
        policy: "latest" drops frames that have grown old, "every" keeps all of them and lets the source wait; None
            takes "latest" for a live source and "every" for others. A file under "latest" is played in real time, at
            the pace of its own time stamps, as if it came from a camera: for the work on all of its frames, as fast as
            the machine can, leave it at "every".
        track: Whether people get ids, and boxes are carried from frame to frame so that the detector need not see each.
            None: everywhere but on image files, which may have nothing to do with each other.
        smooth: Whether keypoints are smoothed; needs tracks.
        tracking: The tracker's options.
        smoothing: The filter's options.
        detection: When the detector runs.

    Attributes:
        source: The open source.
        estimator: What poses, yours or the stream's own.
        policy: The policy in use.

    Raises:
        SourceError: The source cannot be opened.
        InputError: An option cannot be used.
        BundleError, BackendError: The estimator that was not given cannot be opened.
    """

    def __init__(
        self,
        source: SourceSpec,
        estimator: PoseEstimator | None = None,
        *,
        policy: Policy | None = None,
        track: bool | None = None,
        smooth: bool = True,
        tracking: TrackingOptions | None = None,
        smoothing: SmoothingOptions | None = None,
        detection: DetectionOptions | None = None,
    ) -> None:
        if policy is not None and policy not in get_args(Policy):
            raise InputError(f"policy={policy!r}: use 'latest' (drop old frames), 'every' (keep all), or None")
        if estimator is not None and not isinstance(estimator, PoseEstimator):
            raise InputError(
                f"estimator is a {type(estimator).__name__}: give a PoseEstimator, or None for the default one"
            )
        self.source = open_source(source)
        self._lent_source = self.source is source
        self._lent_estimator = estimator is not None
        self.policy: Policy = policy or ("latest" if self.source.live else "every")
        try:
            self.estimator = estimator or PoseEstimator()
        except BaseException:
            if not self._lent_source:
                self.source.close()
            raise
        self._tracks = self.source.kind != "images" if track is None else track
        self._smooths = smooth and self._tracks
        self._tracking = tracking or TrackingOptions()
        self._smoothing = smoothing or SmoothingOptions()
        self._detection = detection or DetectionOptions()
        self._pipeline: Pipeline | None = None
        self._closed = False

    def __enter__(self) -> PoseStream:
        self._running()
        return self

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        pipeline = self._running()
        if pipeline is None:
            raise StopIteration
        try:
            return pipeline.take()
        except Closed:
            raise StopIteration from None

    def close(self) -> None:
        """Stop all stages, and close the source and the estimator unless they are lent. Harmless when called again."""
        self._closed = True
        if self._pipeline is not None:
            self._pipeline.stop()
        elif not self._lent_source:
            self.source.close()
        if not self._lent_estimator:
            self.estimator.close()

    def _running(self) -> Pipeline | None:
        """The pipeline, started if it may still be; None if the stream was closed before."""
        if self._pipeline is None and not self._closed:
            self._pipeline = Pipeline(
                self.source,
                self.estimator,
                self.policy == "latest",
                BoxFinder(self.estimator.detector, self._detection, self._tracking),
                Tracker(self.estimator.skeleton, self._tracking) if self._tracks else None,
                PoseSmoother(self._smoothing) if self._smooths else None,
                self._lent_source,
            )
            # For a stream that is used without a with block and forgotten.
            weakref.finalize(self, self._pipeline.stop)
        return self._pipeline
