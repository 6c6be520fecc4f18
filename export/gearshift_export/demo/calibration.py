"""Pictures to calibrate a quantised model on: rooms from the seeds that the demo was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gearshift_export.demo.dataset import SIZE, SPLIT_FIRST_SEED
from gearshift_export.demo.scenes import render_scene

COUNT = 32


def pictures(height: int = SIZE, width: int = SIZE, count: int = COUNT) -> NDArray[np.uint8]:
    """Rendered rooms, uint8 (count, height, width, 3); none of them is a test room."""
    first = SPLIT_FIRST_SEED["train"]
    return np.stack([render_scene(first + room, height, width).image for room in range(count)])
