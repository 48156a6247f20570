"""Short names for arrays whose shape the docstring beside them gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Image = NDArray[np.uint8]  # (H, W, 3), BGR
