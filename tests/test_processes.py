"""Networks in forked children, and programs that end while a daemon thread poses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAD = """
import os, signal, sys, threading, time
import cv2, numpy as np
import transpose_sdk as tp
from transpose_sdk.bundles.bundle import ASSETS, DEFAULT_MODEL
crop = np.load(ASSETS / f"{DEFAULT_MODEL}.tpose" / "probe.npz")["crops"][0]
image, boxes = cv2.resize(crop, (240, 320)), [[0, 0, 240, 320]] * 6
"""
FORK = """
def child(use):
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        try:
            use()
        except tp.errors.TransposeError as error:
            print(type(error).__name__, error, flush=True)
            estimator.close()
            os._exit(7)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    print("signal", os.WTERMSIG(status)) if os.WIFSIGNALED(status) else print("exit", os.WEXITSTATUS(status))
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HEAD + script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_told_what_to_do() -> None:
    script = """
import transpose_sdk.errors
with tp.PoseEstimator(device="CPU") as estimator, tp.PoseStream([image] * 50, estimator) as stream:
    estimator(image, boxes)
    child(lambda: estimator(image, boxes))
    child(lambda: estimator(image))
    child(lambda: list(stream))
    child(lambda: list(tp.PoseStream([image], estimator)))
    def anew():
        with tp.PoseEstimator(device="CPU") as own:
            print("found", len(own(image, boxes)), flush=True)
    child(anew)
    print("parent", len(estimator(image, boxes)))
"""
    result = run(FORK + script)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[1::2] == ["exit 7"] * 4 + ["exit 0"]
    assert lines[8:] == ["found 6", "exit 0", "parent 6"]
    for line in lines[:8:2]:
        assert "open it in the child" in line
    assert [line.split()[0] for line in lines[:8:2]] == [
        "BackendError",
        "DetectorError",
        "BackendError",
        "DetectorError",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("device", ["TORCH:CPU", "ONNXRUNTIME:CPU"])
def test_other_runtimes_in_a_forked_child(device: str, tiny_bundle: Path) -> None:
    pytest.importorskip("torch" if device.startswith("TORCH") else "onnxruntime", reason="the runtime is not installed")
    script = """
import transpose_sdk.errors
with tp.PoseEstimator(sys.argv[1], device=sys.argv[2], detector="frame", verify=False) as estimator:
    estimator(image)
    child(lambda: estimator(image))
    print("parent", estimator(image) is not None)
"""
    result = run(FORK + script, str(tiny_bundle), device)
    assert result.returncode == 0, result.stderr
    assert "open it in the child" in result.stdout
    assert result.stdout.splitlines()[1:] == ["exit 7", "parent True"]


def test_a_program_ends_while_daemon_threads_pose() -> None:
    script = """
estimator = tp.PoseEstimator(device="CPU")
def boxes_given():
    while True:
        estimator(image, boxes)
def detected():
    while True:
        estimator(image)
for work in (boxes_given, detected, boxes_given):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.7)
print("end")
"""
    for _ in range(2):
        result = run(script)
        assert (result.returncode, result.stdout, result.stderr) == (0, "end\n", "")
