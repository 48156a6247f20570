"""Training of the shipped detector: data, targets, the step, resume, evaluation and export."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")
from safetensors.torch import load_file, save_file  # noqa: E402

pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: pip install transpose-sdk[train]")

from transpose_sdk.detectors import open_detector  # noqa: E402
from transpose_sdk.detectors.cells import cell_count, decode_cells  # noqa: E402
from transpose_sdk.errors import CheckpointError, DataError, InputError, TrainingError  # noqa: E402
from transpose_sdk.models.checkpoint import half_kernels  # noqa: E402
from transpose_sdk.models.picodet import DetectorMaps, PicoDet  # noqa: E402
from transpose_sdk.trainers.detector import loop  # noqa: E402
from transpose_sdk.trainers.detector.__main__ import main as command  # noqa: E402
from transpose_sdk.trainers.detector.augmentation import Sample, augment, compose  # noqa: E402
from transpose_sdk.trainers.detector.config import DetectorConfig  # noqa: E402
from transpose_sdk.trainers.detector.data import TrainingSet, prefetch, read_labels  # noqa: E402
from transpose_sdk.trainers.detector.evaluation import evaluate, read_images  # noqa: E402
from transpose_sdk.trainers.detector.export import export  # noqa: E402
from transpose_sdk.trainers.detector.loop import (  # noqa: E402
    DetectorRun,
    build_model,
    learning_rate,
    network_input,
    train,
    train_step,
)
from transpose_sdk.trainers.detector.published import read_picodet  # noqa: E402
from transpose_sdk.trainers.detector.targets import Labels, assign, box_giou, cell_boxes, cell_grid  # noqa: E402

SIZE = (64, 96)
RED = (0, 0, 255)


@pytest.fixture
def data(tmp_path: Path) -> DetectorConfig:
    """Six images with one red "person" each, in COCO format, and a configuration to train on them."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(6):
        x, y, w, h = (int(value) for value in rng.integers((5, 5, 20, 30), (60, 30, 40, 60)))
        picture = np.full((96, 128, 3), 60, np.uint8)
        cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), RED, -1)
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture)
        images.append(
            {
                "id": index + 1,
                "file_name": f"{index}.png",
                "width": 128,
                "height": 96,
                "source": "coco",
                "person_boxes": [[x, y, w, h, 1.0], [0, 0, 8, 8, 0.45]],
            }
        )
        annotations.append(
            {
                "id": index + 1,
                "image_id": index + 1,
                "category_id": 1,
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": 0,
            }
        )
    table = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "labels.json").write_text(json.dumps(table))
    return DetectorConfig(
        annotations=str(tmp_path / "labels.json"),
        images=str(tmp_path),
        output=str(tmp_path / "run"),
        steps=4,
        batch_size=2,
        input_size=SIZE,
        canvases=((1.0, *SIZE),),
    )


def _labels(boxes: list[list[float]], ignored: list[list[float]] | None = None) -> Labels:
    return Labels(
        torch.tensor([boxes], dtype=torch.float32).reshape(1, -1, 4),
        torch.ones(1, len(boxes)),
        torch.tensor([ignored or []], dtype=torch.float32).reshape(1, -1, 4),
    )


def test_network() -> None:
    network = PicoDet().eval()
    maps = network(torch.zeros(2, 3, *SIZE))
    cells = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2
    assert cell_count(*SIZE) == cells
    assert (maps.scores().shape, maps.distances().shape) == ((2, cells), (2, cells, 4))
    assert (maps.distances() >= 0).all()
    assert (maps.distances() <= 7).all()
    assert sum(parameter.numel() for parameter in network.parameters()) < 1_500_000
    with pytest.raises(ValueError, match="multiples of 32"):
        network(torch.zeros(1, 3, 60, 96))


@pytest.mark.parametrize("side", [192, 320])
def test_the_published_network_says_what_its_graph_says(side: int, shared: Path) -> None:
    path = shared / "weights" / "detectors" / f"picodet_s_{side}_person.xml"
    model = build_model(DetectorConfig("", "", init=str(path))).eval()
    photo = cv2.imread(str(next((shared / "data" / "pose" / "val").rglob("*.jpg"))))
    image = network_input(cv2.resize(photo, (side, side))[None])
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    boxes, scores = ov.Core().compile_model(path, "CPU", exact)(image.numpy()).values()
    with torch.inference_mode():
        maps = model(image)
        found = cell_boxes(maps.distances(), *cell_grid((side, side)))
    assert scores.max() > 0.3
    # The graph's hard sigmoid has .1666 where ours has a sixth; the coarsest cells are 64 px wide.
    np.testing.assert_allclose(maps.scores()[0].numpy(), scores[0, 0], atol=5e-4)
    np.testing.assert_allclose(found[0].numpy(), boxes[0], atol=0.2)


def test_another_network_is_not_taken_for_the_published_one(shared: Path) -> None:
    teacher = shared / "weights" / "teacher" / "tinypose_256x192_fp16.xml"
    with pytest.raises(CheckpointError, match=r"tinypose.* is no PicoDet-S of one class"):
        read_picodet(teacher)


def test_frozen_stages_stay_as_they_were(data: DetectorConfig) -> None:
    run = DetectorRun(replace(data, frozen_stages=2))
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    batch = TrainingSet(data).batch(0, SIZE, 0.0)
    labels = Labels(*(torch.from_numpy(array) for array in (batch.boxes, batch.weights, batch.ignored)))
    train_step(run, network_input(batch.images), labels)
    after = run.model.state_dict()
    changed = {".".join(name.split(".")[:2]) for name, value in before.items() if not torch.equal(value, after[name])}
    frozen = {"backbone.stride8", "backbone.stride16"}
    assert changed == {".".join(name.split(".")[:2]) for name in before} - frozen


@pytest.mark.parametrize("items", [1, 4])
def test_boxes_follow_the_picture(items: int) -> None:
    """Every pixel of the person lies in a box or an ignored region, and boxes fit tightly."""
    picture = np.full((90, 120, 3), 30, np.uint8)
    cv2.rectangle(picture, (40, 20), (69, 79), RED, -1)
    item = (picture, np.float32([[40, 20, 30, 60]]), np.ones(1, np.float32), np.zeros((0, 4), np.float32))
    boxes_seen = 0
    for seed in range(30):
        sample = compose([item] * items, (128, 160), np.random.default_rng(seed), DetectorConfig.zoom)
        red = (sample.image[:, :, 2] > 200) & (sample.image[:, :, 1] < 60)
        for x1, y1, x2, y2 in sample.boxes:
            inside = red[round(y1) : round(y2), round(x1) : round(x2)]
            assert inside.mean() > 0.8
            boxes_seen += 1
        for x1, y1, x2, y2 in np.concatenate([sample.boxes, sample.ignored]):
            red[max(int(y1) - 1, 0) : int(y2) + 2, max(int(x1) - 1, 0) : int(x2) + 2] = False
        assert not red.any()
    assert boxes_seen > 15


def test_the_zoom_is_that_of_the_run() -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    item = (picture, np.float32([[20, 10, 30, 40]]), np.ones(1, np.float32), np.zeros((0, 4), np.float32))
    samples = [compose([item], (60, 80), np.random.default_rng(seed), (0.8, 0.9)) for seed in range(20)]
    heights = np.array([box[3] - box[1] for sample in samples for box in sample.boxes])
    assert len(heights) == 20
    assert heights.min() > 31.9
    assert heights.max() < 36.1
    assert np.ptp(heights) > 1


def test_strength_is_that_of_colour_and_light() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    nobody = Sample(picture, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 4), np.float32))

    def changes(strength: float) -> float:
        """Of most pictures: some are blurred, grey, noisy or JPEGs whatever the strength."""
        made = [augment(nobody, np.random.default_rng(seed), strength).image for seed in range(40)]
        return float(np.median([cv2.absdiff(image, picture).mean() for image in made]))

    assert changes(0.0) < 1  # rounding on the way to hue and saturation and back
    assert 5 < changes(0.5) < changes(1.0)


def test_unsure_boxes_and_unboxed_persons_are_ignored(data: DetectorConfig, tmp_path: Path) -> None:
    table = json.loads((tmp_path / "labels.json").read_text())
    table["annotations"].append({"image_id": 1, "bbox": [100, 60, 20, 30]})
    (tmp_path / "labels.json").write_text(json.dumps(table))
    first = read_labels(tmp_path / "labels.json", tmp_path, 0.6)["coco"][0]
    assert len(first.boxes) == 1
    assert first.ignored.tolist() == [[0, 0, 8, 8], [100, 60, 20, 30]]
    with pytest.raises(DataError, match=r"cannot read .*none\.json"):
        read_labels(tmp_path / "none.json", tmp_path, 0.6)


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_depend_on_the_step_alone(data: DetectorConfig, workers: int) -> None:
    requests = [(step, SIZE, 0.5) for step in (0, 1, 2, 3, 4, 1)]
    batches = list(prefetch(TrainingSet(replace(data, workers=workers)), iter(requests)))
    assert len(batches) == len(requests)
    np.testing.assert_array_equal(batches[1].images, batches[5].images)
    np.testing.assert_array_equal(batches[1].boxes, batches[5].boxes)
    assert (batches[0].images != batches[1].images).any()


@pytest.mark.parametrize(
    ("boxes", "positives"),
    [
        ([], [0]),  # nobody
        ([[20.0, 10.0, 50.0, 60.0]], [13]),  # one person gets its thirteen cells
        ([[20.0, 10.0, 50.0, 60.0], [52.0, 4.0, 94.0, 62.0]], [13, 13]),  # two apart
        ([[33.0, 33.0, 36.0, 38.0]], [1, 2, 3, 4]),  # smaller than a cell, still not lost
    ],
)
def test_every_person_gets_cells(boxes: list[list[float]], positives: list[int]) -> None:
    centers, strides = cell_grid(SIZE)
    predicted = cell_boxes(torch.full((1, len(centers), 4), 2.0), centers, strides)
    target = assign(torch.full((1, len(centers)), 0.5), predicted, centers, _labels(boxes or [[0.0, 0.0, 0.0, 0.0]]))
    counts = [int(((target.boxes[0] == torch.tensor(box)).all(-1) & (target.person[0] > 0)).sum()) for box in boxes]
    if len(boxes) == 2:
        assert counts == positives
    else:
        assert sum(counts) in positives
    if boxes:
        iou = box_giou(predicted[target.person > 0], target.boxes[target.person > 0]).clamp(min=0)
        assert target.person.max() <= max(iou.max().item(), 0) + 0.5
        assert (target.weight == 1).all()


def test_ignored_regions_weigh_nothing() -> None:
    centers, strides = cell_grid(SIZE)
    predicted = cell_boxes(torch.full((1, len(centers), 4), 2.0), centers, strides)
    labels = _labels([[20.0, 10.0, 50.0, 60.0]], [[0.0, 0.0, 48.0, 64.0]])
    target = assign(torch.full((1, len(centers)), 0.5), predicted, centers, labels)
    left = (centers[:, 0] < 48) & (target.person[0] == 0)
    assert (target.weight[0, left] == 0).all()
    assert (target.weight[0, target.person[0] > 0] == 1).all()
    assert (target.weight[0, centers[:, 0] > 48] == 1).all()


def test_training_and_runtime_decode_alike() -> None:
    centers, strides = cell_grid(SIZE)
    sides = 3 * torch.randn(1, len(centers), 4, 8)
    nobody = torch.zeros(1, len(centers))
    expected = cell_boxes(DetectorMaps(nobody, nobody, sides).distances(), centers, strides)
    boxes, _ = decode_cells(np.ones(len(centers), np.float32), sides[0].numpy(), *SIZE, 0.5)
    np.testing.assert_allclose(boxes, expected[0].numpy(), atol=1e-3)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_it_learns_one_batch(data: DetectorConfig, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    run = DetectorRun(replace(data, device=device, learning_rate=2e-3, frozen_stages=0))
    run.model.train()
    batch = TrainingSet(data).batch(0, SIZE, 0.0)
    labels = Labels(*(torch.from_numpy(array).to(device) for array in (batch.boxes, batch.weights, batch.ignored)))
    losses = []
    for _ in range(30):
        run.step = 1  # the same learning rate all the time
        losses.append(train_step(run, network_input(batch.images, device), labels)["loss"])
    assert np.mean(losses[-3:]) < 0.7 * losses[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU")
def test_a_gpu_that_is_not_there(data: DetectorConfig) -> None:
    with pytest.raises(TrainingError, match="no NVIDIA GPU; use --device cpu"):
        train(replace(data, device="cuda"))


def test_a_resumed_run_is_the_same_run(data: DetectorConfig, tmp_path: Path) -> None:
    batches = TrainingSet(data)

    def advance(run: DetectorRun, steps: int) -> None:
        run.model.train()
        for _ in range(steps):
            batch = batches.batch(run.step, SIZE, data.mosaic)
            labels = Labels(*(torch.from_numpy(array) for array in (batch.boxes, batch.weights, batch.ignored)))
            train_step(run, network_input(batch.images), labels)

    whole, killed, resumed = DetectorRun(data), DetectorRun(data), DetectorRun(data)
    advance(whole, 4)
    advance(killed, 2)
    killed.save(tmp_path / "last.pt")
    resumed.resume(tmp_path / "last.pt")
    advance(resumed, 2)
    assert resumed.step == 4
    for kept in ("model", "average"):
        for name, value in getattr(whole, kept).state_dict().items():
            assert torch.equal(value, getattr(resumed, kept).state_dict()[name]), name


def test_learning_rate_rises_and_falls(data: DetectorConfig) -> None:
    rates = [learning_rate(progress, data) / data.learning_rate for progress in (0.0, 0.03, 0.5, 1.0)]
    assert rates == pytest.approx([0.01, 1.0, 0.53, 0.02], abs=0.03)


def test_train_export_and_open(data: DetectorConfig, tmp_path: Path) -> None:
    """The whole road on six images: a checkpoint, a log, a bundle that opens and runs both ways round."""
    train(data)
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert records == []  # four steps are less than a log line and there is nothing to evaluate on
    checkpoint = tmp_path / "run" / "last.pt"
    assert DetectorConfig.load(checkpoint.with_name("config.json")) == data
    bundle = export(checkpoint, tmp_path / "person.tpose", Path(data.annotations), tmp_path)
    assert bundle["training"]["steps"] == 4
    detector = open_detector(tmp_path / "person.tpose", device="CPU", score_threshold=0.0)
    for shape in ((96, 128), (128, 96)):
        boxes, scores = detector(np.zeros((*shape, 3), np.uint8))
        assert len(boxes) == len(scores) > 0
        assert (boxes[:, 2] <= shape[1]).all() and (boxes[:, 3] <= shape[0]).all()
    weights = tmp_path / "person.tpose" / "checkpoint.safetensors"
    next_model = build_model(replace(data, init=str(weights)))
    trained = half_kernels(torch.load(checkpoint, weights_only=True)["average"])  # for the bundle's size
    assert all(torch.equal(value, trained[name].to(value.dtype)) for name, value in next_model.state_dict().items())
    replace(data, init=str(weights), seed=7).dump(checkpoint.with_name("config.json"))
    again = export(checkpoint, tmp_path / "person.tpose", Path(data.annotations), tmp_path)["training"]
    assert again["seed"] == 7
    assert again["before"]["seed"] == data.seed
    (tmp_path / "other.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"other\.pt"):
        build_model(replace(data, init=str(tmp_path / "other.pt")))
    with pytest.raises(CheckpointError, match=r"other\.pt"):
        export(tmp_path / "other.pt", tmp_path / "x.tpose", Path(data.annotations), tmp_path)


def test_other_options_are_refused_unless_the_user_says_so(data: DetectorConfig, tmp_path: Path) -> None:
    train(data)
    written = (tmp_path / "run" / "config.json").read_text()
    other = replace(data, learning_rate=0.9, threads=data.threads + 1)
    with pytest.raises(CheckpointError, match=r"settings: learning_rate was .* and is 0\.9\. .*--changed"):
        train(other)
    assert (tmp_path / "run" / "config.json").read_text() == written
    train(other, changed=True)
    assert DetectorConfig.load(tmp_path / "run" / "config.json") == other


def test_a_share_of_the_earlier_weights_is_kept(data: DetectorConfig, tmp_path: Path) -> None:
    before = PicoDet().state_dict()
    save_file(before, tmp_path / "before.safetensors")
    config = replace(data, init=str(tmp_path / "before.safetensors"))
    train(config)
    checkpoint, validation = tmp_path / "run" / "last.pt", (Path(data.annotations), tmp_path)
    bundle = export(checkpoint, tmp_path / "mean.tpose", *validation, keep=0.25)
    assert bundle["training"]["kept_of_before"] == 0.25
    average = torch.load(checkpoint, weights_only=True)["average"]
    mean = load_file(tmp_path / "mean.tpose" / "checkpoint.safetensors")
    for name in ("heads.0.features.0.0.0.bias", "heads.0.person.weight"):
        assert not torch.equal(average[name], before[name])
        torch.testing.assert_close(mean[name].float(), average[name].lerp(before[name], 0.25), rtol=1e-3, atol=1e-6)
    with pytest.raises(InputError, match="keep=1"):
        export(checkpoint, tmp_path / "x.tpose", *validation, keep=1)
    replace(config, init="").dump(checkpoint.with_name("config.json"))
    with pytest.raises(CheckpointError, match="no other weights"):
        export(checkpoint, tmp_path / "x.tpose", *validation, keep=0.5)


def test_an_unknown_option(data: DetectorConfig, tmp_path: Path) -> None:
    data.dump(tmp_path / "config.json")
    options = json.loads((tmp_path / "config.json").read_text()) | {"momentum": 0.9}
    (tmp_path / "config.json").write_text(json.dumps(options))
    with pytest.raises(DataError, match="momentum"):
        DetectorConfig.load(tmp_path / "config.json")


def test_options_on_the_command_line(
    data: DetectorConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["train", "--annotations", data.annotations, "--images", data.images, "--set"]
    run: list[DetectorConfig] = []

    def train_nothing(config: DetectorConfig, *, changed: bool) -> None:
        assert not changed
        run.append(config)

    monkeypatch.setattr(loop, "train", train_nothing)
    for value, status in (("zoom=[0.8,1.3]", 0), ("canvases=[[1.0,64,96]]", 0), ("zoom=wide", 1), ("speed=9", 1)):
        monkeypatch.setattr("sys.argv", ["detector", *arguments, value])
        assert command() == status
    assert [run[0].zoom, run[1].canvases] == [(0.8, 1.3), ((1.0, 64, 96),)]
    assert "--set zoom=wide: give KEY=VALUE" in caplog.text
    assert "unknown options ['speed']" in caplog.text


@pytest.mark.parametrize(
    ("shift", "score", "ap50", "recall50"),
    [
        (0, 0.9, 1.0, 1.0),  # the annotated boxes themselves
        (500, 0.9, 0.0, 0.0),  # boxes of nobody
        (None, 0.9, 0.0, 0.0),  # no boxes at all
    ],
)
def test_evaluation(
    shift: int | None, score: float, ap50: float, recall50: float, data: DetectorConfig, tmp_path: Path
) -> None:
    truth, images = read_images(Path(data.annotations), tmp_path)
    answers = iter([entry["bbox"] for entry in truth.dataset["annotations"]])

    def find(_: object) -> tuple[np.ndarray, np.ndarray]:
        box = np.float32([next(answers)])
        if shift is None:
            return box[:0], box[:0, 0]
        return box + np.float32([shift, 0, 0, 0]), np.float32([score])

    scores = evaluate(find, truth, images)
    assert (scores.ap50, scores.recall50) == pytest.approx((ap50, recall50))
