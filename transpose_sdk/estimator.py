"""One frame in, the poses of the people in it out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transpose_sdk import decoding
from transpose_sdk.backends.choose import open_backend
from transpose_sdk.bundles.bundle import DEFAULT_MODEL, Bundle, open_bundle
from transpose_sdk.closeable import Closeable
from transpose_sdk.crops import check_boxes, check_image
from transpose_sdk.dependency import DependencyArea, Mode, attention_areas, check_person
from transpose_sdk.detectors import Detector, open_detector
from transpose_sdk.errors import InputError
from transpose_sdk.poses import Poses
from transpose_sdk.topdown import PosesInFlight, TopDown, without_duplicates


class PoseEstimator(Closeable):
    """Finds people and their keypoints in single frames.

    Args:
        model: A shipped or imported pose bundle's name, or a bundle's folder.
        device: "AUTO", "CPU", "GPU", "NPU", "CUDA", "TENSORRT", ...; all words are in `transpose_sdk.backends.choose`.
        precision: "fp32", "fp16" or "int8"; None for the bundle's default.
        detector: "person" (shipped), "frame" (the whole frame is one person), a detector's file, or a `Detector`.
        attention: Whether every call carries the queries and keys of the last attention layer in its poses, so that
            `attention` needs no second inference.
        flip_test: Whether the mirrored crop is inferred too and averaged; slower and a little better.
        detector_score: Lowest score, 0..1, of a person that the detector finds; None for the detector's own choice.
        requests: Crops in flight; None for the device's own choice.
        verify: Whether to run the bundle's probe on the device and compare with the network's FP32 answers. Where
            device or precision is left open, the next one is taken if the answers are wrong, with a warning.

    Raises:
        BundleError: The bundle is missing or damaged.
        BackendError: The device is not there, cannot run it, or, with `verify`, gives wrong answers.
        MissingDependencyError: The device's runtime is not installed.
        DetectorError: The detector cannot be opened.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: str = "AUTO",
        precision: str | None = None,
        detector: str | Path | Detector = "person",
        *,
        attention: bool = False,
        flip_test: bool = False,
        detector_score: float | None = None,
        requests: int | None = None,
        verify: bool = False,
    ) -> None:
        self.bundle: Bundle = open_bundle(model, "pose")
        self.skeleton = self.bundle.skeleton
        self.backend = open_backend(self.bundle, device, precision, requests, verify=verify)
        # Detectors run on OpenVINO; on a machine of NVIDIA's that is the CPU.
        detector_device = self.backend.device if self.backend.name == "openvino" else "AUTO"
        self.detector: Detector = open_detector(detector, detector_device, detector_score)
        self._carries_attention = attention
        self._top_down = TopDown(self.backend, self.skeleton, self.bundle.attention_grid, flip_test)
        decoding.warm_up()

    def __call__(self, image: NDArray[np.uint8], boxes: ArrayLike | None = None) -> Poses:
        """Find the people and their keypoints.

        Args:
            image: (H, W, 3) uint8 BGR.
            boxes: (N, 4) x, y, width, height in px: one pose a box in the same order, no detector, no suppression.

        Returns:
            Poses in image px, best first unless `boxes` are given; an empty `Poses` where nobody is found.

        Raises:
            InputError: The image or the boxes have another form, or a box lies outside the image.
        """
        check_image(image)
        if boxes is not None:
            given = check_boxes(boxes, image.shape[:2])
            return self.pose(image, given, np.ones(len(given), np.float32))
        return without_duplicates(self.pose(image, *self.detector(image)), self.bundle.input_size)

    def pose(
        self,
        image: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        box_scores: NDArray[np.float32],
        attention: bool | None = None,
    ) -> Poses:
        """One pose a box, in the order of the boxes.

        Args:
            image: (H, W, 3) uint8 BGR.
            boxes: (N, 4) x, y, width, height in px, each with an area.
            box_scores: (N,).
            attention: Overrides the estimator's own setting.
        """
        return self.submit(image, boxes, box_scores, attention).result()

    def submit(
        self,
        image: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        box_scores: NDArray[np.float32],
        attention: bool | None = None,
        whole_pixels: bool = False,
    ) -> PosesInFlight:
        """As `pose`, but without waiting for the network: the poses are in the answer's `result()`.

        `whole_pixels` moves the crops by up to half a pixel, so that they are cut faster. Tracked boxes are no surer.
        """
        carried = self._carries_attention if attention is None else attention
        return self._top_down.submit(image, boxes, box_scores, carried, whole_pixels)

    def attention(
        self,
        image: NDArray[np.uint8],
        poses: Poses,
        person: int = 0,
        keypoint: str | int = 0,
        mode: Mode = "dependency",
    ) -> DependencyArea:
        """What a keypoint was inferred from: the last layer's attention as a grid over the image.

        Args:
            image: The frame the poses were found in.
            poses: Poses of this estimator. Where they carry no queries and keys, the person is inferred once more.
            person: Index into `poses`.
            keypoint: Name or index of the keypoint.
            mode: "dependency" (what the keypoint looked at) or "affected" (what looked at the keypoint).

        Raises:
            InputError: No such person, keypoint or mode, or the bundle's graph gives no attention.
        """
        self.require_attention()
        check_person(poses, person)
        one = poses[person]
        if one.attention is None:
            again = self.pose(check_image(image), one.boxes, one.person_scores, attention=True)
            one = replace(one, attention=again.attention)
        return attention_areas(one, 0, [keypoint], mode)[0]

    def require_attention(self) -> None:
        """Raise InputError where the bundle's graph gives no attention."""
        if not self.backend.has_attention or self.bundle.attention_grid is None:
            raise InputError(f"the bundle {self.bundle.name} gives no attention: export it with attention outputs")

    def describe(self) -> dict[str, Any]:
        """Name, device and precision, as `transpose run` writes them."""
        return {
            "name": self.bundle.name,
            "device": self.backend.device,
            "precision": self.backend.precision,
            "detector": self.detector.name,
        }

    def close(self) -> None:
        """Let go of the device."""
        self.backend.close()
        self.detector.close()
