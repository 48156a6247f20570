"""Which cells answer for which person, and the loss: task-aligned assignment (Feng et al., TOOD, 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from transpose_sdk.models.picodet import BINS, STRIDES, DetectorMaps

# All as PicoDet was trained.
_CELLS_PER_PERSON = 13
_IOU_POWER = 6.0
_MIN_REACH = 6.0  # px: half the side that a box is grown to, so that at least one stride-8 cell lies in a tiny one
_NOBODY, _NOBODY_POWER = 0.75, 2.0
_BOX_GAIN, _SIDES_GAIN = 2.5, 0.5


@dataclass(frozen=True)
class Labels:
    """People in a batch, padded to the fullest image.

    Attributes:
        boxes: (B, G, 4) x1, y1, x2, y2 in input pixels.
        weights: (B, G) of the boxes in the loss, 0 for padding.
        ignored: (B, I, 4) regions that may hold people or not, zeros for padding.
    """

    boxes: Tensor
    weights: Tensor
    ignored: Tensor


@dataclass(frozen=True)
class Assignment:
    """Targets of every cell.

    Attributes:
        person: (B, A) wanted score: the quality of the cell among those of its person, 0 where nobody is.
        weight: (B, A) weight of the cell in the loss: the label's weight on a person, 0 in ignored regions, else 1.
        boxes: (B, A, 4) wanted box, x1, y1, x2, y2 in pixels (anything where person is 0).
    """

    person: Tensor
    weight: Tensor
    boxes: Tensor


def cell_grid(size: tuple[int, int], device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Centres (A, 2) x, y in pixels and strides (A,) of the cells of a (height, width) input, in its order."""
    centers, strides = [], []
    for stride in STRIDES:
        rows, columns = -(-size[0] // stride), -(-size[1] // stride)
        y, x = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
        centers.append((torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((rows * columns,), float(stride), device=device))
    return torch.cat(centers), torch.cat(strides)


def cell_boxes(distances: Tensor, centers: Tensor, strides: Tensor) -> Tensor:
    """Boxes (B, A, 4) x1, y1, x2, y2 in pixels from distances (B, A, 4) in strides."""
    reach = distances * strides[:, None]
    return torch.cat([centers - reach[..., :2], centers + reach[..., 2:]], -1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes (..., 4) that broadcast against each other, x1, y1, x2, y2."""
    shared = (torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0) * (
        torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    ).clamp(min=0)
    return shared / (_area(a) + _area(b) - shared).clamp(min=1e-6)


def box_giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al., 2019) of paired boxes (n, 4), which has a gradient for boxes apart."""
    hull = (torch.maximum(a[..., 2], b[..., 2]) - torch.minimum(a[..., 0], b[..., 0])) * (
        torch.maximum(a[..., 3], b[..., 3]) - torch.minimum(a[..., 1], b[..., 1])
    )
    iou = box_iou(a, b)
    union = (_area(a) + _area(b)) / (1 + iou)
    return iou - (hull - union) / hull.clamp(min=1e-6)


def _contains(boxes: Tensor, centers: Tensor, reach: float = 0.0) -> Tensor:
    """(B, G, A) whether a centre lies in a box (B, G, 4) that reaches at least `reach` from its own middle."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = ((boxes[..., 2:] - boxes[..., :2]) / 2).clamp(min=reach)
    return ((centers - middle[..., None, :]).abs() < half[..., None, :]).all(-1)


@torch.no_grad()
def assign(scores: Tensor, predicted: Tensor, centers: Tensor, labels: Labels) -> Assignment:
    """Give every person the cells that already find it best, at whatever level.

    A cell's claim is score * IoU^6; a person takes its 13 best cells, a cell wanted twice goes to the person that it
    overlaps more. Wanted scores are the claims, scaled so that the best cell of a person wants its IoU.

    Args:
        scores: (B, A).
        predicted: (B, A, 4) x1, y1, x2, y2.
        centers: (A, 2).
        labels: What is in the images.
    """
    boxes, weights = labels.boxes, labels.weights
    iou = box_iou(boxes[:, :, None], predicted[:, None])  # (B, G, A)
    possible = _contains(boxes, centers, _MIN_REACH) & (weights > 0)[..., None]
    claim = scores[:, None] * iou**_IOU_POWER * possible
    best, cells = claim.topk(min(_CELLS_PER_PERSON, claim.shape[-1]), -1)
    taken = torch.zeros_like(possible).scatter_(-1, cells, best > 0)
    overlap, owner = torch.where(taken, iou, -1.0).max(1)  # (B, A)
    positive = overlap >= 0
    claim = claim * taken * functional.one_hot(owner, boxes.shape[1]).transpose(1, 2)
    owned_iou = (iou * (claim > 0)).amax(-1, keepdim=True)
    person = (claim / claim.amax(-1, keepdim=True).clamp(min=1e-12) * owned_iou).amax(1)

    index = owner[..., None].expand(-1, -1, 4)
    label_weight = weights.gather(1, owner)
    unsure = _contains(labels.ignored, centers).any(1)
    weight = torch.where(positive, label_weight, (~unsure).float())
    return Assignment(torch.where(positive, person, 0.0), weight, boxes.gather(1, index))


def detection_loss(maps: DetectorMaps, size: tuple[int, int], labels: Labels) -> tuple[Tensor, dict[str, float]]:
    """Varifocal loss on the scores (Zhang et al., 2021), generalised IoU on the boxes, distribution focal loss on their
    sides (Li et al., 2020).

    Args:
        maps: The network's output.
        size: (height, width) of its input.
        labels: What is in the images.

    Returns:
        The loss, and its parts for the log.
    """
    centers, strides = cell_grid(size, maps.person.device)
    scores, predicted = maps.scores(), cell_boxes(maps.distances(), centers, strides)
    target = assign(scores.detach(), predicted.detach(), centers, labels)
    positive = target.person > 0
    share = (target.person * target.weight)[positive]
    people = share.sum().clamp(min=1.0)

    # From the logits, so that a score near 0 keeps its gradient.
    present = (functional.logsigmoid(maps.person) + functional.logsigmoid(maps.aligned)) / 2
    absent = torch.log1p(-scores.clamp(max=1 - 1e-6))
    entropy = -(target.person * present + (1 - target.person) * absent)
    focus = torch.where(positive, target.person, _NOBODY * scores.detach() ** _NOBODY_POWER)
    person_loss = (focus * entropy * target.weight).sum() / people

    box_loss = ((1 - box_giou(predicted[positive], target.boxes[positive])) * share).sum() / people
    wanted = _side_lengths(target.boxes, centers, strides)[positive]
    sides_loss = (_distribution_loss(maps.sides[positive], wanted) * share).sum() / people
    parts = {"person": person_loss.item(), "box": box_loss.item(), "sides": sides_loss.item()}
    return person_loss + _BOX_GAIN * box_loss + _SIDES_GAIN * sides_loss, parts | {"cells": float(positive.sum())}


def _side_lengths(boxes: Tensor, centers: Tensor, strides: Tensor) -> Tensor:
    """(B, A, 4) left, top, right, bottom distances of boxes (B, A, 4) from the cells' centres, in strides."""
    return torch.cat([centers - boxes[..., :2], boxes[..., 2:] - centers], -1) / strides[:, None]


def _distribution_loss(sides: Tensor, lengths: Tensor) -> Tensor:
    """(n,) cross entropy of the sides' logits (n, 4, BINS) with the two bins around each wanted length (n, 4)."""
    lengths = lengths.clamp(0, BINS - 1 - 0.01)
    low = lengths.long()
    far = lengths - low
    logs = sides.log_softmax(-1)
    near_loss, far_loss = (-logs.gather(-1, bins[..., None])[..., 0] for bins in (low, low + 1))
    return ((1 - far) * near_loss + far * far_loss).mean(-1)
