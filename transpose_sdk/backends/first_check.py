"""Whether a backend gives the network's answers: asked the first time it is opened on a machine, then remembered.

A wrong answer is never remembered.
"""

from __future__ import annotations

import logging

from transpose_sdk.backend import Backend
from transpose_sdk.backends.remembered import dependencies, recall, remember
from transpose_sdk.bundles.bundle import Bundle
from transpose_sdk.bundles.probe import Probe, check
from transpose_sdk.disk.user_folder import verified_folder
from transpose_sdk.errors import BackendError

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
    facts = dependencies(bundle, backend.device, backend.runtime) | {"precision": backend.precision}
    if not anew and recall(verified_folder(), facts) == "right":
        return
    report = check(backend, Probe.load(bundle))
    if not report.passed:
        raise BackendError(
            f"{backend.device} in {backend.precision} gives other answers than the network in FP32, "
            f"{', '.join(report.failures)}: leave device and precision open, name others that `transpose doctor` finds "
            "right, or update the driver"
        )
    remember(verified_folder(), facts, "right")
