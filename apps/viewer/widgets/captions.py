"""The line over the picture: what glows there, and why nothing does."""

from __future__ import annotations

from ..engine.events import FrameView
from .canvas import joint_name

MEANINGS = {
    "heatmap": "where the network sees it",
    "dependency": "what it was inferred from",
    "affected": "what it had an effect on",
}


def caption(view: FrameView, keypoint: int | None, mode: str) -> str:
    """The line; empty where there is nothing to say.

    Args:
        view: What is shown.
        keypoint: The joint chosen.
        mode: One of settings.MODES.
    """
    if keypoint is None or view.following is None:
        return ""
    name = joint_name(view.poses.skeleton.names[keypoint])
    whose = "" if view.following.track_id is None else f" of #{view.following.track_id}"
    if view.problem is not None:
        return view.problem
    if view.person is None:
        return f"{name}{whose} is out of sight" if len(view.poses) else "nobody is found on this frame"
    return f"{name}{whose}" + (f": {MEANINGS[mode]}" if mode in MEANINGS else "")
