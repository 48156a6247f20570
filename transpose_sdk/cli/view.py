"""`transpose view`: the desktop viewer."""

from __future__ import annotations

import argparse

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
PROBE = "from PyQt6.QtWidgets import QApplication; QApplication([])"
SYSTEM_PACKAGES = "libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1 libxcb-cursor0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `transpose view`."""
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="video, image, folder, camera index, or URL")
    parser.add_argument("--model", help="shipped network's name or a bundle's path (default: the last one used)")
    parser.add_argument("--device", help="AUTO, CPU, GPU, NPU, ... (default: the last one used)")
    parser.add_argument("--precision", help="fp32, fp16 or int8 (default: the fastest of the right)")
    parser.add_argument("--detector", help="person, frame, or a detector's path (default: the last one used)")


def run(args: argparse.Namespace) -> int:
    """Open the window.

    Raises:
        MissingDependencyError: PyQt6, or a library of the system that Qt needs, is not installed.
        InputError: There is no screen to open a window on.
    """
    import os
    import sys

    from transpose_sdk.cli.optional import import_extra
    from transpose_sdk.errors import InputError, MissingDependencyError

    # Without a screen Qt ends the process instead of raising.
    if sys.platform == "linux" and not any(os.environ.get(name) for name in SCREENS):
        raise InputError(
            f"there is no screen ({', '.join(SCREENS)} are not set): use transpose run --save FILE instead"
        )
    if sys.platform == "linux":
        _require_window()
    try:
        app = import_extra("transpose_sdk.apps.viewer.app", "viewer")
    except MissingDependencyError:
        raise
    except ImportError as error:
        raise MissingDependencyError(
            f"Qt cannot be loaded ({error}): on Debian and Ubuntu, apt install {SYSTEM_PACKAGES}"
        ) from error
    given = {name: getattr(args, name) for name in ("model", "device", "precision", "detector")}
    return int(app.show(args.source, {name: value for name, value in given.items() if value is not None}))


def _require_window() -> None:
    """Raise InputError where Qt cannot reach the screen, upon which it ends the process: so another one tries."""
    import importlib.util
    import os
    import subprocess
    import sys

    from transpose_sdk.errors import InputError

    if importlib.util.find_spec("PyQt6") is None:
        return  # which is told with what installs it
    try:
        tried = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return
    if tried.returncode < 0:  # an error of Python's, a library that is missing, comes again in this process
        screens = ", ".join(f"{name}={os.environ[name]}" for name in SCREENS if os.environ.get(name))
        reason = next((line.strip() for line in tried.stderr.splitlines() if line.strip()), "Qt gave up")
        raise InputError(
            f"no window can be opened on {screens} ({reason}): check the display and who may use it, or use transpose "
            f"run --save FILE instead; Qt needs, on Debian and Ubuntu, {SYSTEM_PACKAGES}"
        )
