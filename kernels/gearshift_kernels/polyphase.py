"""The weights of a 3x3 convolution that enlarges its input by two while it reads it.

Enlarging a map bilinearly and then convolving it is linear in the map, so that it is one
convolution of the *small* map with other weights; since the enlargement repeats every two pixels,
there are four of them, one a phase: output pixels of even or odd rows and even or odd columns (the
polyphase form of an interpolating filter; Vaidyanathan, "Multirate Systems and Filter Banks", 1993,
chapter 4). The enlarged map, four times as large, is never made, and the arithmetic stays nine
products a pixel and channel, as if the map had been there.

Both steps act on one axis at a time, so it is enough to look at one. Let x have h pixels and e be
the enlarged axis of 2h, half-pixel centres, edges repeated:

    e[2i]     = 1/4 x[i-1] + 3/4 x[i]          x[-1] reads x[0]
    e[2i + 1] = 3/4 x[i]   + 1/4 x[i+1]        x[h] reads x[h-1]

The convolution y[j] = w0 e[j-1] + w1 e[j] + w2 e[j+1] has zeros around e. Inside the map

    y[2i]     = (3/4 w0 + 1/4 w1) x[i-1] + (1/4 w0 + 3/4 w1 + 3/4 w2) x[i] + 1/4 w2 x[i+1]
    y[2i + 1] = 1/4 w0 x[i-1] + (3/4 w0 + 3/4 w1 + 1/4 w2) x[i] + (1/4 w1 + 3/4 w2) x[i+1]

At the border both rules meet. y[0] reads no e[-1], and e[0] is x[0]: that is w1 x[0] + w2 e[1].
The formula gives this when its x[-1] is left out (masked) and 1/4 (w1 - w0) x[0] is added, its x[1]
still repeating the edge (clamped) when h = 1. The last row mirrors the first: y[2h-1] clamps
x[i-1], masks x[i+1] and adds 1/4 (w1 - w2) x[h-1]. An axis therefore has four taps:

    tap      reads    even phase                      odd phase
    0        i - 1    3/4 w0 + 1/4 w1, masked         1/4 w0, clamped
    1        i        1/4 w0 + 3/4 w1 + 3/4 w2        3/4 w0 + 3/4 w1 + 1/4 w2
    2        i + 1    1/4 w2, clamped                 1/4 w1 + 3/4 w2, masked
    3        i        1/4 (w1 - w0), if i = 0         1/4 (w1 - w2), if i = h - 1

and a map has sixteen, the products of a tap down and a tap across.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TAPS = (
    np.array(
        [
            [[3, 1, 0], [1, 3, 3], [0, 0, 1], [-1, 1, 0]],
            [[1, 0, 0], [3, 3, 1], [0, 1, 3], [0, 1, -1]],
        ]
    )
    / 4
)
"""(phase, tap, w): how much of w0, w1 and w2 each tap of a phase holds."""


def phase_weights(weight: NDArray[Any]) -> NDArray[np.float32]:
    """Weights (4,C',16C) of the four phases of a convolution (C',C,3,3) of an enlarged map.

    Phases in the order 2 * (odd row) + (odd column); taps in the order 4 * (tap down) +
    (tap across), the channels of a tap together. Computed in float64, rounded once to float32.

    Raises:
        ValueError: the weight is not of a 3x3 convolution.
    """
    _require_3x3(weight)
    wide = np.asarray(weight, dtype=np.float64)
    phases = np.einsum("pry,qsx,ocyx->pqorsc", TAPS, TAPS, wide)
    return phases.reshape(4, wide.shape[0], 16 * wide.shape[1]).astype(np.float32)


def plain_weights(weight: NDArray[Any]) -> NDArray[np.float32]:
    """Weights (1,C',9C) of a convolution (C',C,3,3) of the map as it is: one phase, nine taps.

    Taps in the order 3 * (tap down) + (tap across), the channels of a tap together.

    Raises:
        ValueError: the weight is not of a 3x3 convolution.
    """
    _require_3x3(weight)
    outputs, inputs = weight.shape[:2]
    taps = np.asarray(weight, dtype=np.float32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(taps).reshape(1, outputs, 9 * inputs)


def _require_3x3(weight: NDArray[Any]) -> None:
    if weight.ndim != 4 or weight.shape[2:] != (3, 3):
        raise ValueError(f"weight has shape {weight.shape}, not (C', C, 3, 3)")
