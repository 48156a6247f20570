"""Which videos can be entered in the middle without miscounting: those whose index promises a constant rate.

A seek goes to a time, a frame is asked for by its number, and the two are the same question only where every frame
lasts equally long. MP4, QuickTime and AVI say so in an index of all their frames. Matroska and transport streams do
not, so they are counted through.
"""

from __future__ import annotations

from itertools import islice

from av import VideoStream


def time_of_frame(stream: VideoStream, number: int) -> int | None:
    """When a frame is shown, in units of the stream's time base from its start; None where only counting tells."""
    entries = stream.index_entries
    if not len(entries) == stream.frames > number > 0:
        return None
    step = entries[1].timestamp - entries[0].timestamp
    for place, entry in enumerate(islice(entries, number + 1)):
        # An empty frame of an AVI stands for a dropped one, a discarded one of an MP4 is not shown.
        if entry.timestamp - entries[0].timestamp != place * step or not entry.size or entry.is_discard:
            return None
    return number * step
