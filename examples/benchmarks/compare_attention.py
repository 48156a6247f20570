"""Compare the attention of a bundle's graph with that of another, joint by joint, on real people.

    python examples/benchmarks/compare_attention.py --bundle NAME --precision int8 --reference fp32 --coco val.json \
        --images val

Of every joint the dependency area at the reference's location is taken from both graphs, so that a joint that another
precision puts elsewhere does not count as other attention. The report on stdout is the mean correlation a joint.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from transpose_sdk.bundles.bundle import DEFAULT_MODEL
from transpose_sdk.dependency import attention_areas
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.media.image_file import read_annotated


def main() -> None:
    """Correlate and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_MODEL)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--reference", default="fp32")
    parser.add_argument("--device", default="CPU")
    parser.add_argument("--coco", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=100)
    args = parser.parse_args()
    content = json.loads(args.coco.read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    persons = [item for item in content["annotations"] if item.get("num_keypoints") and not item.get("iscrowd")]
    correlations = []
    with (
        PoseEstimator(args.bundle, args.device, args.precision, "frame", attention=True) as estimator,
        PoseEstimator(args.bundle, args.device, args.reference, "frame", attention=True) as reference,
    ):
        joints = reference.skeleton.names
        for item in persons[: args.crops]:
            image = read_annotated(args.images / names[item["image_id"]])
            box = np.array([item["bbox"]], np.float32)
            wanted = reference(image, boxes=box)
            given = replace(estimator(image, boxes=box), keypoints=wanted.keypoints)
            pairs = zip(*(attention_areas(poses, 0, joints) for poses in (given, wanted)), strict=True)
            correlations.append([np.corrcoef(a.grid.ravel(), b.grid.ravel())[0, 1] for a, b in pairs])
    means = np.mean(correlations, axis=0)
    report = {
        "crops": len(correlations),
        "mean": round(float(means.mean()), 4),
        "joints": dict(zip(joints, means.round(4).tolist(), strict=True)),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
