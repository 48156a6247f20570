"""Whether a backend gives the network's answers: asked the first time it is opened on a machine, then remembered.

A right answer is a file in the user's folder that says on what it depends: machine, processor, runtime and driver,
device, precision, and the bundle's content. Where one of them differs, or the file is damaged or could not be written,
the probe is run again. A wrong answer is never remembered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
from pathlib import Path

from transpose_sdk.backend import Backend
from transpose_sdk.backends.openvino_core import CORE
from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.bundles.probe import Probe, check
from transpose_sdk.errors import BackendError
from transpose_sdk.user_folder import verified_folder
from transpose_sdk.whole_file import whole_file

# Caps the instructions that OpenVINO uses, so that the same processor gives other answers.
CAPS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")

log = logging.getLogger(__name__)


def verify(backend: Backend, bundle: Bundle, anew: bool) -> None:
    """Check that a backend gives the network's answers to the bundle's probe.

    Args:
        backend: An opened backend; stays open whatever happens.
        bundle: What it was opened from.
        anew: Whether to ask although an earlier good answer is remembered, and to insist on a probe. Without, a bundle
            that has none is taken with a warning.

    Raises:
        BackendError: The answers are wrong, or the device failed.
        BundleError: The probe is damaged, or with `anew` not there.
    """
    if not anew and bundle.probe is None:
        log.warning("%s has no probe to check %s with: export or download it again", bundle.name, backend.device)
        return
    facts = _facts(backend, bundle)
    file = verified_folder() / f"{hashlib.sha256(facts).hexdigest()[:32]}.json"
    if not anew and _is(file, facts):
        return
    report = check(backend, Probe.load(bundle))
    if not report.passed:
        raise BackendError(
            f"{backend.device} in {backend.precision} gives other answers than the network in FP32, "
            f"{', '.join(report.failures)}: leave device and precision open, name others that `transpose doctor` finds "
            "right, or update the driver"
        )
    with contextlib.suppress(OSError):  # then it is checked again the next time
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as unfinished:
            unfinished.write_bytes(facts)


def _facts(backend: Backend, bundle: Bundle) -> bytes:
    """What the answers depend on."""
    processor = [CORE.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    description = json.dumps(bundle.description, sort_keys=True)  # which has the digests of all files
    facts = {
        "machine": [platform.node(), platform.platform()],
        "processor": [*processor, *(os.environ.get(cap) for cap in CAPS)],
        "runtime": backend.runtime,
        "device": backend.device,
        "precision": backend.precision,
        "bundle": [bundle.name, hashlib.sha256(description.encode()).hexdigest()],
    }
    return (json.dumps(facts, indent=2) + "\n").encode()


def _is(file: Path, content: bytes) -> bool:
    """Whether a file is there and holds exactly this."""
    try:
        return file.read_bytes() == content
    except OSError:
        return False
