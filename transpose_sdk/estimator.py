"""One frame in, the poses of the people in it out."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transpose_sdk import decoding
from transpose_sdk.backend import Device, Precision
from transpose_sdk.backends.choose import open_backend
from transpose_sdk.bundles.bundle import DEFAULT_MODEL, Bundle, open_bundle
from transpose_sdk.checks.images import to_bgr
from transpose_sdk.checks.numbers import as_numbers
from transpose_sdk.crops import check_boxes
from transpose_sdk.dependency import AttentionMode, DependencyArea, attention_areas, check_person
from transpose_sdk.detectors import Detector, open_detector
from transpose_sdk.errors import BackendError, InputError
from transpose_sdk.lifetime.closeable import Closeable
from transpose_sdk.poses import Poses
from transpose_sdk.scores import DEFAULT_MAPS
from transpose_sdk.topdown import PosesInFlight, TopDown, without_duplicates

IN_FLIGHT = 64  # crops of a batch whose answers wait for their turn; the heatmaps of each take 0.3 MB


class PoseEstimator(Closeable):
    """Finds people and their keypoints in single frames.

        >>> import cv2, transpose_sdk as tp
        >>> with tp.PoseEstimator() as estimator:
        ...     poses = estimator(cv2.imread("park.jpg"))
        >>> poses.keypoints.shape, poses.scores.shape, poses.boxes.shape
        ((2, 17, 2), (2, 17), (2, 4))

    Args:
        model: A shipped or imported pose bundle's name, or a bundle's folder; a bare word is a name first.
        device: "AUTO", "CPU", "GPU", "NPU", "CUDA", "TENSORRT", ...; all words are in `transpose_sdk.backends.choose`.
        precision: "fp32", "fp16" or "int8"; None takes the fastest that gives the right answers: FP16, or INT8 where
            the bundle has it and it is clearly faster here. That is timed the first time on this machine, in 0.3 s, and
            remembered; `describe` and `transpose doctor` say which it is.
        detector: "person" (shipped), "frame" (the whole frame is one person), a detector's file, or a `Detector`,
            which is lent: `close` leaves it open.
        attention: Whether every call carries the queries and keys of the last attention layer in its poses, so that
            `attention` needs no second inference.
        flip_test: Whether the mirrored crop is inferred too and averaged, in twice the time: two points of AP more with
            TP-L. None for the bundle's default.
        detector_score: Lowest score, 0..1, of a person that the detector finds; None for the detector's own choice.
        requests: Crops that the device works on at a time; None for its own choice. That of a CPU is one for each
            core, and all cores on a person who is alone, for which it keeps the network twice: 20 to 60 MB more.
        verify: Whether to run the bundle's probe on the device and compare with the network's FP32 answers: None does
            so the first time on this machine, and again when the driver, the runtime or the bundle is another one;
            True always, and times the precisions again; False does neither, and takes FP16 where none is named. Where
            device or precision is left open, the next one is taken if the answers are wrong, with a warning.

    Raises:
        BundleError: The bundle is missing or damaged.
        BackendError: The device is not there, cannot run it, or gives wrong answers.
        MissingDependencyError: The device's runtime is not installed.
        DetectorError: The detector cannot be opened.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: Device = "AUTO",
        precision: Precision | None = None,
        detector: str | Path | Detector = "person",
        *,
        attention: bool = False,
        flip_test: bool | None = None,
        detector_score: float | None = None,
        requests: int | None = None,
        verify: bool | None = None,
    ) -> None:
        self.bundle: Bundle = open_bundle(model, "pose")
        self.skeleton = self.bundle.skeleton
        self.backend = open_backend(self.bundle, device, precision, requests, verify=verify)
        try:
            # Detectors run on OpenVINO; on a machine of NVIDIA's that is the CPU.
            detector_device = self.backend.device if self.backend.name == "openvino" else "AUTO"
            self.detector: Detector = open_detector(detector, detector_device, detector_score)
        except BaseException:
            self.backend.close()
            raise
        self._own_detector = None if self.detector is detector else self.detector
        self._closed = False
        # For those who know their boxes to be right and cannot wait for the poses: a stream.
        self.flip_test = self.bundle.flip_test if flip_test is None else flip_test
        maps = self.bundle.scores or DEFAULT_MAPS
        grid = self.bundle.attention_grid
        self.top_down = TopDown(self.backend, self.skeleton, grid, self.flip_test, attention, maps)
        decoding.warm_up()

    def __call__(
        self, image: NDArray[np.uint8], boxes: ArrayLike | None = None, box_scores: ArrayLike | None = None
    ) -> Poses:
        """Find the people and their keypoints.

            >>> import cv2, transpose_sdk as tp
            >>> estimator, image = tp.PoseEstimator(), cv2.imread("park.jpg")
            >>> estimator(image).boxes.shape
            (2, 4)
            >>> estimator(image, boxes=[[300, 44, 92, 206]]).keypoints.shape
            (1, 17, 2)

        Args:
            image: (H, W, 3) uint8 BGR; grey and BGRA are converted.
            boxes: (N, 4) x, y, width, height in px: one pose a box in the same order, no detector, no suppression.
            box_scores: (N,), your detector's, which a person's raw score is a multiple of. Without them every box is
                taken to hold a person, and the score is the probability that the pose is right if one is there.

        Returns:
            Poses in image px, best first unless `boxes` are given; an empty `Poses` where nobody is found.

        Raises:
            InputError: The image or the boxes have another form, or a box lies outside the image.
            BackendError: The device failed, or the estimator is closed.
        """
        image = to_bgr(image)
        return self._finish(self._start(image, boxes, box_scores), boxes is None)

    def batch(self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[ArrayLike] | None = None) -> list[Poses]:
        """Find the people in several images, of any sizes, faster than one after another.

        The crops of all images share the device: while the network works on one image the detector looks at the next.

            >>> import cv2, transpose_sdk as tp
            >>> estimator, image = tp.PoseEstimator(), cv2.imread("park.jpg")
            >>> [len(poses) for poses in estimator.batch([image, image[:, :480], image[:, 480:]])]
            [2, 1, 1]

        Args:
            images: As of `__call__`, or one (B, H, W, 3) array.
            boxes: The boxes of each image, as of `__call__`; None asks the detector.

        Returns:
            The poses of each image, in the order of the images.

        Raises:
            InputError: As of `__call__`; said before any work is done.
            BackendError: The device failed, or the estimator is closed.
        """
        if isinstance(images, np.ndarray) and images.ndim != 4:
            raise InputError(
                f"images has shape {images.shape}: give a list of images; one goes to the estimator itself"
            )
        pictures = [to_bgr(image, f"image {index}") for index, image in enumerate(images)]
        if boxes is not None:
            if len(boxes) != len(pictures):
                raise InputError(
                    f"there are boxes of {len(boxes)} images, but {len(pictures)} images: give each its own"
                )
            boxes = [check_boxes(own, image.shape[:2]) for own, image in zip(boxes, pictures, strict=True)]
        found: list[Poses] = []
        flights: deque[PosesInFlight] = deque()
        for index, image in enumerate(pictures):
            flights.append(self._start(image, None if boxes is None else boxes[index], ahead=len(pictures) > 1))
            while len(flights) > 1 and sum(map(len, flights)) > IN_FLIGHT:
                found.append(self._finish(flights.popleft(), boxes is None))
        return found + [self._finish(flight, boxes is None) for flight in flights]

    def _start(
        self,
        image: NDArray[np.uint8],
        boxes: ArrayLike | None,
        box_scores: ArrayLike | None = None,
        ahead: bool = False,
    ) -> PosesInFlight:
        """Start the network on the people of an image, at boxes that are checked here or the detector's."""
        self._require_open()
        if boxes is None:
            if box_scores is not None:
                raise InputError("box_scores belong to boxes: give the boxes too, or neither")
            return self.top_down.submit(image, *self.detector(image), ahead=ahead)
        given = check_boxes(boxes, image.shape[:2])
        if box_scores is None:
            return self.top_down.submit(image, given, None, ahead=ahead)
        scores = as_numbers(box_scores, np.float32, "box_scores")
        if scores.shape != (len(given),) and (scores.size or len(given)):
            raise InputError(f"box_scores has shape {scores.shape}, not ({len(given)},): give one for each box")
        return self.top_down.submit(image, given, scores.reshape(len(given)), ahead=ahead)

    def _finish(self, flight: PosesInFlight, detected: bool) -> Poses:
        """Wait for the poses; of people whom the detector found, leave out those whom it found twice."""
        poses = flight.result()
        return without_duplicates(poses, self.bundle.input_size) if detected else poses

    def attention(
        self,
        image: NDArray[np.uint8],
        poses: Poses,
        person: int = 0,
        keypoint: str | int = 0,
        mode: AttentionMode = "dependency",
    ) -> DependencyArea:
        """What a keypoint was inferred from: the last layer's attention as a grid over the image.

            >>> import cv2, transpose_sdk as tp
            >>> estimator, image = tp.PoseEstimator(), cv2.imread("park.jpg")
            >>> area = estimator.attention(image, estimator(image), person=0, keypoint="left_ankle")
            >>> area.keypoint, area.grid.shape
            ('left_ankle', (16, 12))

        Args:
            image: The image the poses were found in.
            poses: Poses of this estimator. Where they carry no queries and keys, the person is inferred once more.
            person: Index into `poses`.
            keypoint: Name or index of the keypoint.
            mode: "dependency" (what the keypoint looked at) or "affected" (what looked at the keypoint).

        Raises:
            InputError: No such person, keypoint or mode, or the bundle's graph gives no attention.
            BackendError: The device failed, or the estimator is closed.
        """
        self._require_open()
        self.require_attention()
        check_person(poses, person)
        one = poses[person]
        if one.attention is None:
            again = self.top_down.submit(to_bgr(image), one.boxes, None, attention=True).result()
            one = replace(one, attention=again.attention)
        return attention_areas(one, 0, [keypoint], mode)[0]

    def require_attention(self) -> None:
        """Raise InputError where the bundle's graph gives no attention."""
        if not self.backend.has_attention or self.bundle.attention_grid is None:
            raise InputError(f"the bundle {self.bundle.name} gives no attention: export it with attention outputs")

    def describe(self) -> dict[str, Any]:
        """Name, device, precision, detector and what the scores are, as `transpose run` writes them."""
        return {
            "name": self.bundle.name,
            "device": self.backend.device,
            "precision": self.backend.precision,
            "flip_test": self.flip_test,
            "detector": self.detector.name,
            "scores": "estimated" if self.bundle.scores is None else "probabilities",
        }

    def close(self) -> None:
        """Let go of the device and of the detector, unless that was lent. Harmless when called again."""
        self._closed = True
        self.backend.close()
        self.top_down.clear()
        if self._own_detector is not None:
            self._own_detector.close()

    def _require_open(self) -> None:
        if self._closed:
            raise BackendError(f"the estimator of {self.bundle.name} is closed: open it again with PoseEstimator")
