"""Device functions that several kernels share."""

from __future__ import annotations

import triton
import triton.language as tl

from gearshift_kernels.triton.launch import is_interpreted

INTERPRETED = tl.constexpr(is_interpreted())

GROUP = tl.constexpr(8)
"""Blocks of rows that share a block of columns while it is in the L2 cache."""


@triton.jit
def grouped(program, down, across):
    """Row and column of a program in a grid of `down` x `across` blocks.

    GROUP blocks of rows go down a column before the next column begins, so that what they read
    stays in the L2 cache.
    """
    group = program // (GROUP * across)
    first = group * GROUP
    height = tl.minimum(down - first, GROUP)
    inside = program % (GROUP * across)
    return first + inside % height, inside // height


@triton.jit
def operand(x):
    """An operand of a matrix product.

    The interpreter holds bfloat16 as bits and computes garbage with it, so that there operands
    are widened; the product of two bfloat16 or float16 numbers is exact in float32, as it is on a
    tensor core.
    """
    if INTERPRETED:
        x = x.to(tl.float32)
    return x


@triton.jit
def rounded(x, DTYPE: tl.constexpr):
    """x in another dtype, rounded to nearest, ties to even.

    The interpreter cuts the lower half off when it makes bfloat16 of float32, and makes garbage
    of integers, so that there the rounding is done on the bits.
    """
    if INTERPRETED and tl.bfloat16 == DTYPE:
        x = x.to(tl.float32)
        bits = x.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        x = tl.where(x == x, bits.to(tl.float32, bitcast=True), x)
    return x.to(DTYPE)


@triton.jit
def row_statistics(x, is_row, columns, epsilon, BLOCK_K: tl.constexpr):
    """Mean and 1 / sqrt(variance + epsilon) of rows; `x` points to their first elements (M, 1).

    One pass in float32, chunk by chunk: mean and sum of squared distances of two parts merge as
    in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances" (1979), which loses nothing when the mean is far from zero.
    """
    mean = tl.sum(tl.where(is_row, 0.0, 0.0), 1)
    squares = mean
    for start in range(0, columns, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)[None, :]
        is_column = k < columns
        chunk = tl.load(x + k, mask=is_row & is_column, other=0.0).to(tl.float32)
        count = tl.minimum(columns - start, BLOCK_K).to(tl.float32)
        chunk_mean = tl.sum(chunk, 1) / count
        centred = tl.where(is_column, chunk - chunk_mean[:, None], 0.0)
        step = chunk_mean - mean
        share = count / (start + count)
        mean += step * share
        squares += tl.sum(centred * centred, 1) + step * step * share * start
    return mean, 1.0 / tl.sqrt(squares / columns + epsilon)


@triton.jit
def normalised_chunk(chunk, mean, deviation, scale, bias, k, is_inner):
    """Columns k of rows, normalised: `chunk` float32 (M, K), statistics of `row_statistics`."""
    gain = tl.load(scale + k, mask=is_inner, other=0.0)[None, :]
    shift = tl.load(bias + k, mask=is_inner, other=0.0)[None, :]
    return (chunk - mean[:, None]) * deviation[:, None] * gain + shift
