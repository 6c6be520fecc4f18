"""Softmax of the rows of a matrix, in one pass over them and the pass that writes."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from gearshift_kernels.triton.exponential import LOG2_E, exp2
from gearshift_kernels.triton.launch import (
    Device,
    Launch,
    Tiles,
    cdiv,
    power_of_two,
    require,
    require_rows,
)
from gearshift_kernels.triton.numerics import rounded


@triton.jit
def softmax_kernel(
    x,
    out,
    rows,
    columns,
    x_stride,
    out_stride,
    APPROXIMATE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    m = (tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M))[:, None]
    is_row = m < rows
    x_row = x + m.to(tl.int64) * x_stride
    out_row = out + m.to(tl.int64) * out_stride
    if columns <= BLOCK_N:
        n = tl.arange(0, BLOCK_N)[None, :]
        is_inside = is_row & (n < columns)
        chunk = _load(x_row + n, is_row, n < columns)
        weight = _weights(chunk, tl.max(chunk, 1), APPROXIMATE)
        share = weight / tl.sum(weight, 1)[:, None]
        tl.store(out_row + n, rounded(share, out.dtype.element_ty), mask=is_inside)
    else:
        maximum = tl.full([BLOCK_M], float("-inf"), tl.float32)
        total = tl.zeros([BLOCK_M], tl.float32)
        for start in range(0, columns, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)[None, :]
            chunk = _load(x_row + n, is_row, n < columns)
            larger = tl.maximum(maximum, tl.max(chunk, 1))
            total *= exp2((maximum - _finite(larger)) * LOG2_E, False)
            total += tl.sum(_weights(chunk, larger, APPROXIMATE), 1)
            maximum = larger
        for start in range(0, columns, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)[None, :]
            is_inside = is_row & (n < columns)
            chunk = _load(x_row + n, is_row, n < columns)
            share = _weights(chunk, maximum, APPROXIMATE) / total[:, None]
            tl.store(out_row + n, rounded(share, out.dtype.element_ty), mask=is_inside)


@triton.jit
def _load(place, is_row, is_column):
    """A part of rows in float32: minus infinity beyond their end, so that it has no weight there.

    Rows that are not there are 0, lest they have no weight at all."""
    chunk = tl.load(place, mask=is_row & is_column, other=0.0).to(tl.float32)
    return tl.where(is_column, chunk, float("-inf"))


@triton.jit
def _weights(chunk, maximum, APPROXIMATE: tl.constexpr):
    """e^(x - maximum) of a part of rows."""
    return exp2((chunk - _finite(maximum)[:, None]) * LOG2_E, APPROXIMATE)


@triton.jit
def _finite(maximum):
    """0 in place of minus infinity, from which minus infinity must not be subtracted."""
    return tl.where(maximum == float("-inf"), 0.0, maximum)


def softmax(device: Device, x: Tensor, out: Tensor, *, approximate: bool = False) -> Launch:
    """out[m] = softmax(x[m]), in float32.

    Rows that fit in one block are read once. Longer ones are read chunk by chunk while a running
    maximum and the sum of the weights relative to it are kept (Milakov and Gimelshein, "Online
    normalizer calculation for softmax", 2018), and once more to be written.

    With `approximate` each weight is off by at most EXP2_ERROR of
    `gearshift_kernels.approximations`, so that a result is off by 2.01 EXP2_ERROR of itself at
    most: 7.7e-6.

    Args:
        x: (M, N) float; its rows may be any distance apart, as those of `out`. Entries may be minus
            infinity; a row of nothing else becomes NaN, as does a row with NaN or infinity.
        out: (M, N) float; may be `x`.
        approximate: take powers from a polynomial.

    Raises:
        ValueError: shapes or strides do not fit.
    """
    require_rows("x", x, None, None)
    rows, columns = x.shape
    require_rows("out", out, rows, columns)
    require(columns < 2**31 - 2**16, f"rows of {columns} are longer than 32 bits can count")
    form = "approximate" if approximate else "exact"
    key = f"softmax {rows}x{columns} {x.dtype} {out.dtype} {form}"
    return Launch(
        key=key,
        kernel=softmax_kernel,
        grid=lambda b: (cdiv(rows, b["BLOCK_M"]) if columns else 0,),
        arguments={
            "x": x,
            "out": out,
            "rows": rows,
            "columns": columns,
            "x_stride": x.stride(0),
            "out_stride": out.stride(0),
        },
        constants={"APPROXIMATE": approximate},
        tiles=device.tuned.get(key) or _tiles(device, rows, columns),
    )


def _tiles(device: Device, rows: int, columns: int) -> Tiles:
    """About 2,048 elements a program, 16 a thread: a long row alone, or several short ones."""
    most = 2**16 if device.interpreted else 2**11
    across = min(power_of_two(columns, least=1), most)
    return Tiles({"BLOCK_M": min(power_of_two(rows, least=1), most // across), "BLOCK_N": across})
