"""A small COCO keypoint set of drawn figures, for the tests of the trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.skeletons import COCO17

# A standing person seen from the front, in parts of the box: its left is on the image's right.
FIGURE = np.array(
    [
        (0.50, 0.08), (0.55, 0.05), (0.45, 0.05), (0.62, 0.08), (0.38, 0.08), (0.70, 0.24), (0.30, 0.24),
        (0.82, 0.38), (0.16, 0.40), (0.92, 0.52), (0.06, 0.55), (0.62, 0.54), (0.38, 0.54), (0.64, 0.75),
        (0.34, 0.75), (0.66, 0.96), (0.32, 0.96),
    ]
)  # fmt: skip


# A recipe's values that train a small network on what `write_people` writes as "train" and "val".
DRAWN: dict[str, Any] = {
    "model": "tp_m",
    "variant": {"layers": 1, "d_model": 32, "ffn": 32, "heads": 4},
    "input_size": (64, 48),
    "train_annotations": "train.json",
    "train_images": "train",
    "val_annotations": "val.json",
    "val_images": "val",
    "epochs": 1,
    "batch_size": 4,
}


def draw_person(image: NDArray[np.uint8], joints: NDArray[np.floating], thickness: int = 3) -> None:
    """Draw limbs in one colour each and joints as discs, in place."""
    points = joints.round().astype(int)
    for number, (start, end) in enumerate(COCO17.edges):
        colour = (40 + 11 * number, 250 - 11 * number, 60 + 17 * (number % 11))
        cv2.line(image, points[start].tolist(), points[end].tolist(), colour, thickness)
    for number, point in enumerate(points):
        cv2.circle(image, point.tolist(), thickness, (15 * number, 255 - 15 * number, 128), -1)


def coco_person(number: int, image_id: int, joints: NDArray[np.floating]) -> dict[str, Any]:
    """A COCO annotation of joints (17, 2) that are all visible."""
    low, high = joints.min(0) - 4, joints.max(0) + 5
    width, height = (float(length) for length in high - low)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [float(low[0]), float(low[1]), width, height],
        "area": 0.6 * width * height,
        "num_keypoints": 17,
        "keypoints": [value for x, y in joints.tolist() for value in (x, y, 2)],
    }


def coco_file(images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """Content of a COCO keypoint file."""
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}


def write_people(folder: Path, name: str, count: int, seed: int) -> dict[str, Any]:
    """Write `count` images of one person each to `folder/name` and their annotations to `folder/name.json`."""
    rng = np.random.default_rng(seed)
    (folder / name).mkdir(parents=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        height, width = 150, 120
        image = rng.integers(0, 60, (height, width, 3), np.uint8)
        joints = (15, 15) + FIGURE * rng.uniform((60, 90), (85, 115)) + rng.normal(0, 2, FIGURE.shape)
        draw_person(image, joints)
        file_name = f"{number:03d}.png"
        cv2.imwrite(str(folder / name / file_name), image)
        images.append({"id": number, "file_name": file_name, "width": width, "height": height})
        annotations.append(coco_person(number, number, joints))
    content = coco_file(images, annotations)
    (folder / f"{name}.json").write_text(json.dumps(content))
    return content


def write_turned(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a .jpg with a camera's note that it is to be turned by 90 degrees."""
    _, encoded = cv2.imencode(".jpg", image)
    # EXIF with one entry: orientation (0x0112) is 6
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    exif, data = b"Exif\x00\x00" + tiff, encoded.tobytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
