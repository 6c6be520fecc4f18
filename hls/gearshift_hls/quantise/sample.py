"""What calibration looks at: rows of activations, and their means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gearshift_hls.quantise.products import Seen

Float64 = NDArray[np.float64]

ROWS = 1 << 12
"""Rows from which ranges are chosen, evenly spread over all of them."""


def matrix(values: Tensor) -> Tensor:
    """(..., C) -> (rows, C)."""
    return values.reshape(-1, values.shape[-1])


def take(values: Sequence[Tensor]) -> Float64:
    """At most `ROWS` or so rows of tensors (..., C): float64 (rows, C)."""
    rows = [matrix(each) for each in values]
    step = max(sum(map(len, rows)) // ROWS, 1)
    return torch.cat([each[::step] for each in rows]).double().numpy()


def seen(values: Sequence[Tensor], integers: Sequence[Tensor], columns: NDArray[np.int64]) -> Seen:
    """Means over all rows of the float32 run's (..., C) and of the integers of its `columns`."""
    places = torch.from_numpy(columns)
    return Seen(_mean(values).numpy(), _mean(integers)[places].numpy())


def _mean(values: Sequence[Tensor]) -> Tensor:
    total = torch.stack([matrix(each).sum(0, dtype=torch.float64) for each in values]).sum(0)
    return total / sum(len(matrix(each)) for each in values)
