"""The one OpenVINO core of a process.

Each core that compiles for the CPU gives its thread a stack of its own for signals and takes it away when it ends.
Cores that end in another order than the reverse of their start, or in another thread, leave a stack behind that is
there no more: the next signal, a Ctrl-C, would end the process with a segmentation fault (seen with OpenVINO 2026.4).
"""

from __future__ import annotations

import openvino as ov

CORE = ov.Core()  # never ends before the process, and costs a millisecond
