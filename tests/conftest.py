"""Fixtures that several test files share."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before torch is imported: on a busy machine two threads that wait for each other are far slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts background jobs with Ctrl-C ignored, and Python leaves it so: the tests of Ctrl-C would wait forever.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it for all that it starts


@pytest.fixture(scope="session", autouse=True)
def _users_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests leave the user's own folder alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSPOSE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def _loggers_as_at_first() -> None:
    """What a test, a command or another library did to loggers is none of the next test's business."""
    logging.disable(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.split(".")[0] == "transpose_sdk" and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True
            logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development data beside the checkout; tests that need it skip where it is missing."""
    folder = Path(os.environ.get("TRANSPOSE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "REFERENCE.md").exists():
        pytest.skip(f"no development data at {folder} (set TRANSPOSE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a small untrained network with a graph for every backend; tests copy it before they change it."""
    torch = pytest.importorskip("torch", reason="exporting needs torch: pip install transpose-sdk[convert]")
    pytest.importorskip("onnxscript", reason="exporting needs onnxscript: pip install transpose-sdk[convert]")
    from transpose_sdk.convert import export_bundle
    from transpose_sdk.models import create_model

    torch.manual_seed(0)
    model = create_model("tp_m", input_size=(64, 48), layers=1, d_model=32, ffn=48, heads=4).eval()
    # Fresh heads give heatmaps of 1e-5, which FP16 loses; from 0.4 on a probe would take an untrained net's word.
    torch.nn.init.normal_(model.deconv_layers[0].weight, std=0.1)
    torch.nn.init.normal_(model.final_layer.weight, std=0.01)
    folder = tmp_path_factory.mktemp("bundles") / "tiny.tpose"
    return export_bundle(model, folder, targets=("openvino", "onnx", "torch"))


@pytest.fixture(scope="session")
def trained_network(shared: Path) -> dict[str, str]:
    """Options of the shipped network; TRANSPOSE_TEST_BUNDLE names another trained one."""
    from transpose_sdk.bundles.bundle import DEFAULT_MODEL, bundle_names

    model = os.environ.get("TRANSPOSE_TEST_BUNDLE", DEFAULT_MODEL)
    if model == DEFAULT_MODEL and model not in bundle_names("pose"):
        pytest.skip("no trained network in transpose_sdk/assets (set TRANSPOSE_TEST_BUNDLE)")
    detector = shared / "weights" / "detectors" / "rtmdet_nano.onnx"
    return {"model": model, "device": "CPU", "detector": str(detector)}


@pytest.fixture(scope="session")
def people_clip(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames of two people, 544x960 px, slowed down to 20 fps."""
    import cv2

    from transpose_sdk.media.sources import open_source

    path = tmp_path_factory.mktemp("clips") / "people.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (544, 960))
    with open_source(str(shared / "media" / "two_people.mp4")) as source:
        for frame in source:
            writer.write(cv2.resize(frame.image, (544, 960)))
    writer.release()
    return path
