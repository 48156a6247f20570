"""How far a converted graph is from the FP32 network on crops of real people, and what is still good enough."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.bundles.probe import attention_rows, decode_crops, row_correlations
from transpose_sdk.convert.people import People
from transpose_sdk.convert.runners import Infer
from transpose_sdk.crops import heatmap_to_image
from transpose_sdk.media.coco import coco_numbers
from transpose_sdk.oks import oks
from transpose_sdk.poses import Poses
from transpose_sdk.scores import SCORE_FLOOR, person_scores
from transpose_sdk.skeletons import Skeleton

ROWS = 3  # attention rows compared a person, those of the best joints
CHUNK = 8  # crops at a time: queries and keys of a hundred people would take hundreds of MB

# The gate of a quantized graph. A pixel of the heatmap is 4 px of the crop.
MEAN_DRIFT_LIMIT = 1.0  # px of the crop
P99_DRIFT_LIMIT = 12.0  # px of the crop; a joint that jumps to another peak moves by tens
OKS_LIMIT = 0.97
ATTENTION_LIMIT = 0.97
AP_LOSS_LIMIT = 0.005


@dataclass(frozen=True, eq=False)
class Answers:
    """What a graph says to N people.

    Attributes:
        keypoints: (N, K, 2) float32 in px of the crop.
        scores: (N, K) float32.
        cells: (N, R) int64, cells of the attention grid.
        rows: (N, R, L) float32, attention of these cells.
    """

    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    cells: NDArray[np.int64]
    rows: NDArray[np.float32]


@dataclass(frozen=True)
class Parity:
    """A graph compared with the FP32 network; drifts are in px of the crop.

    Attributes:
        people: People compared.
        joints: Joints of them that the FP32 network scores above `SCORE_FLOOR`: those that count.
        mean_drift: Mean distance.
        p99_drift: 99th percentile of the distance.
        oks: Mean OKS of the two poses.
        attention: Mean correlation of attention rows of the last layer.
        ap: Average precision with annotated boxes; None without annotations.
        ap_fp32: That of the FP32 network.
    """

    people: int
    joints: int
    mean_drift: float
    p99_drift: float
    oks: float
    attention: float
    ap: float | None = None
    ap_fp32: float | None = None

    @property
    def burden(self) -> float:
        """The largest share of what the gate allows; above 1 the gate is closed.

        Not a number counts as infinite, and so does nothing to compare: where the FP32 network sees no joint, the
        people or the network are wrong, and no figure says anything about the graph.
        """
        if not self.joints:
            return float("inf")
        shares = [
            self.mean_drift / MEAN_DRIFT_LIMIT,
            self.p99_drift / P99_DRIFT_LIMIT,
            (1 - self.oks) / (1 - OKS_LIMIT),
            (1 - self.attention) / (1 - ATTENTION_LIMIT),
        ]
        if self.ap is not None and self.ap_fp32 is not None:
            shares.append((self.ap_fp32 - self.ap) / AP_LOSS_LIMIT)
        return float(max(np.nan_to_num(shares, nan=np.inf)))

    @property
    def passed(self) -> bool:
        """Whether the graph may be offered."""
        return self.burden <= 1

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values, without those that were not measured."""
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
            if value is not None
        }

    def __str__(self) -> str:
        """One line for people."""
        if not self.joints:
            return (
                f"no joint of {self.people} people scores above {SCORE_FLOOR:g} in FP32, so there is nothing to "
                "compare: is the network trained, and are these people?"
            )
        words = (
            f"mean drift {self.mean_drift:.2f} px (limit {MEAN_DRIFT_LIMIT:g}), "
            f"99th percentile {self.p99_drift:.2f} px (limit {P99_DRIFT_LIMIT:g}), "
            f"OKS {self.oks:.4f} (at least {OKS_LIMIT:g}), "
            f"attention correlation {self.attention:.4f} (at least {ATTENTION_LIMIT:g})"
        )
        if self.ap is not None and self.ap_fp32 is not None:
            words += f", AP {self.ap:.3f} for {self.ap_fp32:.3f} in FP32 (loss limit {AP_LOSS_LIMIT:g})"
        return f"{words}; {self.joints} joints of {self.people} people"


GATE = {
    "mean_drift": MEAN_DRIFT_LIMIT,
    "p99_drift": P99_DRIFT_LIMIT,
    "oks": OKS_LIMIT,
    "attention": ATTENTION_LIMIT,
    "ap_loss": AP_LOSS_LIMIT,
    "score_floor": SCORE_FLOOR,
}


def answer(infer: Infer, crops: NDArray[np.uint8], grid: tuple[int, int], reference: Answers | None = None) -> Answers:
    """What a graph says to some crops.

    Args:
        infer: The graph.
        crops: (N, H, W, 3) uint8 BGR.
        grid: (h, w) of the attention grid.
        reference: Gives the cells whose attention is wanted; None takes those of the best joints.
    """
    parts = []
    for start in range(0, len(crops), CHUNK):
        some = crops[start : start + CHUNK]
        outputs = infer(some)
        assert outputs.queries is not None and outputs.keys is not None
        heatmaps = outputs.heatmaps
        keypoints, scores = decode_crops(heatmaps, some.shape[1:3])
        if reference is None:
            cells = best_cells(heatmaps, scores, grid)
        else:
            cells = reference.cells[start : start + CHUNK]
        parts.append((keypoints, scores, cells, attention_rows(outputs.queries, outputs.keys, cells)))
    return Answers(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def best_cells(heatmaps: NDArray[np.float32], scores: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.int64]:
    """Cells (N, ROWS) of the attention grid (h, w) that hold the joints with the best scores (N, K)."""
    best = np.argsort(-scores, axis=1)[:, :ROWS]
    peaks = np.take_along_axis(heatmaps.reshape(*heatmaps.shape[:2], -1).argmax(2), best, axis=1)
    ratio = heatmaps.shape[3] // grid[1]
    width = heatmaps.shape[3]
    return np.asarray(peaks // width // ratio * grid[1] + peaks % width // ratio, np.int64)


def compare_answers(reference: Answers, answers: Answers, people: People, skeleton: Skeleton) -> Parity:
    """Compare a graph's answers with the FP32 network's.

    Args:
        reference: Of the FP32 network.
        answers: Of the graph.
        people: Whom both were asked about.
        skeleton: Tells the sigmas.
    """
    counted = reference.scores > SCORE_FLOOR
    drifts = np.linalg.norm(answers.keypoints - reference.keypoints, axis=-1)[counted]
    similarity = [
        oks(one[None], other[None], [area], skeleton, visible[None])[0, 0]
        for one, other, area, visible in zip(
            reference.keypoints, answers.keypoints, people.box_areas, counted, strict=True
        )
        if visible.any()
    ]
    return Parity(
        people=len(people),
        joints=len(drifts),
        mean_drift=float(drifts.mean()) if len(drifts) else 0.0,
        p99_drift=float(np.percentile(drifts, 99)) if len(drifts) else 0.0,
        oks=float(np.mean(similarity)) if similarity else 1.0,
        attention=float(row_correlations(answers.rows, reference.rows).mean()),
        ap=average_precision(answers, people, skeleton),
        ap_fp32=average_precision(reference, people, skeleton),
    )


def average_precision(answers: Answers, people: People, skeleton: Skeleton) -> float | None:
    """COCO's AP with annotated boxes; None where the people are not annotated."""
    if people.truth is None:
        return None
    poses = Poses(
        keypoints=heatmap_to_image(answers.keypoints, people.centers, people.scales, people.crops.shape[1:3]),
        scores=answers.scores,
        boxes=people.boxes,
        person_scores=person_scores(answers.scores),
        skeleton=skeleton,
    )
    results = [row for index, image in enumerate(people.images) for row in poses[index].to_coco(int(image))]
    return coco_numbers(dict(people.truth), results, skeleton)["AP"]
