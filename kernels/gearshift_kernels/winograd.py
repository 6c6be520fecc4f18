"""The weights of a 3x3 convolution as Winograd's F(4x4, 3x3), and that algorithm in float64.

Four outputs of a filter with three taps, y[k] = sum over j of g[j] d[k + j], take six products
instead of twelve (Winograd, "Arithmetic Complexity of Computations", 1980): y = A [(G g) * (B d)]
with the matrices A, B and G of this module. In two dimensions a tile of 4x4 outputs takes 36
products instead of 144: Y = A [(G g G') * (B d B')] A', the prime a transpose (Lavin and Gray,
"Fast Algorithms for Convolutional Neural Networks", 2016, where A and B are called A^T and B^T).
Over all tiles and channels, each of the 36 places is a matrix product of its own.

The matrices come from evaluating polynomials at five points and at infinity and interpolating
between them (Toom and Cook). The points decide how rounding errors grow, and the usual ones, 0,
+-1, +-2, are not the best (Barabasz, Anderson, Soodhalter and Gregg, "Error Analysis and Improving
the Accuracy of Winograd Convolution for Deep Neural Networks", 2018). Here they are 0, +-3/4,
+-3/2: A and B are exact in float32, and the error in bfloat16 is half of that of the usual points.

An enlargement of the map is folded into B, tile by tile: see `tile_matrices`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

OUTPUTS, TAPS = 4, 3
"""Outputs of a tile along an axis, and taps of the filter."""

POINTS_SIDE = OUTPUTS + TAPS - 1
"""Points of a tile along an axis; also the pixels that it reads of the enlarged map."""

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
"""Where polynomials are evaluated, besides infinity."""


def _transforms() -> tuple[Float64, Float64, Float64]:
    """A (4,6), B (6,6) and G (6,3); a row a point, infinity last.

    Rows of B are divided by a power of two that brings their norm near one, and those of G
    multiplied by it, so that neither has a much larger range than the maps and the filter.
    """
    output = np.zeros((OUTPUTS, POINTS_SIDE))
    data = np.zeros((POINTS_SIDE, POINTS_SIDE))
    weight = np.zeros((POINTS_SIDE, TAPS))
    for i, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        output[:, i] = point ** np.arange(OUTPUTS)
        weight[i] = point ** np.arange(TAPS) / math.prod(point - other for other in others)
        data[i, :-1] = np.poly(others)[::-1]
    output[-1, -1] = weight[-1, -1] = 1
    data[-1] = np.poly(POINTS)[::-1]
    scale = 2.0 ** np.round(np.log2(np.linalg.norm(data, axis=1, keepdims=True)))
    return output, data / scale, weight * scale


OUTPUT_TRANSFORM, INPUT_TRANSFORM, WEIGHT_TRANSFORM = _transforms()
"""A (4,6), B (6,6) and G (6,3)."""


def winograd_weights(weight: NDArray[Any]) -> NDArray[np.float32]:
    """Weights (36,C',C) of the 36 products of a convolution (C',C,3,3).

    Products in the order 6 * (point down) + (point across). Computed in float64, rounded once to
    float32.

    Raises:
        ValueError: the weight is not of a 3x3 convolution.
    """
    return transform_weight(weight).astype(np.float32)


def transform_weight(weight: NDArray[Any]) -> Float64:
    """`winograd_weights` before they are rounded."""
    if weight.ndim != 4 or weight.shape[2:] != (TAPS, TAPS):
        raise ValueError(f"weight has shape {weight.shape}, not (C', C, 3, 3)")
    g = WEIGHT_TRANSFORM
    wide = np.asarray(weight, dtype=np.float64)
    points = np.einsum("py,qx,ocyx->pqoc", g, g, wide, optimize=True)
    return points.reshape(POINTS_SIDE**2, *wide.shape[:2])


def tile_matrices(size: int, scale: int) -> Float64:
    """From an axis of `size` pixels to its tiles at the six points: (tiles, 6, size).

    Tile i makes the outputs 4i to 4i + 3 and for them reads 4i - 1 to 4i + 4 of the axis enlarged
    `scale` (1 or 2) times: bilinear, half-pixel centres, edges repeated. Around the enlarged axis
    there are zeros. All of this is linear, and so one matrix takes the place of B. Of an enlarged
    axis it has four columns that are not zero, the pixels 2i - 1 to 2i + 2, instead of six.
    """
    large = size * scale
    tiles = -(-large // OUTPUTS)
    enlarge = np.zeros((tiles * OUTPUTS + TAPS - 1, size))  # row j: pixel j - 1, or zeros
    for j in range(large):
        for place, share in _interpolation(j, scale):
            enlarge[1 + j, min(max(place, 0), size - 1)] += share
    starts = range(0, tiles * OUTPUTS, OUTPUTS)
    return np.stack([INPUT_TRANSFORM @ enlarge[i : i + POINTS_SIDE] for i in starts])


def _interpolation(j: int, scale: int) -> tuple[tuple[int, float], ...]:
    """The pixels that pixel j of an enlarged axis lies between, and their shares."""
    if scale == 1:
        return ((j, 1.0),)
    nearest = j // 2
    return ((nearest, 0.75), (nearest + (1 if j % 2 else -1), 0.25))


def transform_input(x: NDArray[Any], scale: int) -> Float64:
    """The left sides of the 36 products: of x (N,C,h,w) all tiles, (36,N,tiles,tiles,C)."""
    down, across = tile_matrices(x.shape[2], scale), tile_matrices(x.shape[3], scale)
    wide = np.asarray(x, dtype=np.float64)
    points = np.einsum("ipy,jqx,ncyx->pqnijc", down, across, wide, optimize=True)
    return points.reshape(POINTS_SIDE**2, *points.shape[2:])


def transform_sums(
    sums: Float64, height: int, width: int, matrix: Float64 = OUTPUT_TRANSFORM
) -> Float64:
    """The outputs (N,C',height,width) of all tiles' products (36,N,tiles,tiles,C')."""
    square = sums.reshape(POINTS_SIDE, POINTS_SIDE, *sums.shape[1:])
    y = np.einsum("yp,xq,pqnijo->noiyjx", matrix, matrix, square, optimize=True)
    images, channels, down, _, across, _ = y.shape
    return y.reshape(images, channels, OUTPUTS * down, OUTPUTS * across)[:, :, :height, :width]


def winograd_convolution(x: NDArray[Any], weight: NDArray[Any], *, scale: int) -> Float64:
    """x (N,C,h,w) enlarged `scale` times and convolved, in float64: (N,C',scale h,scale w).

    The weight is (C',C,3,3). No bias, no ReLU.
    """
    points = transform_input(x, scale)
    sums = np.einsum("pnijc,poc->pnijo", points, transform_weight(weight), optimize=True)
    return transform_sums(sums, x.shape[2] * scale, x.shape[3] * scale)
