"""GELU: exact, and as ReLU minus a table."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from gearshift_kernels.approximations import GELU_RANGE, GELU_STEP
from gearshift_kernels.triton.launch import (
    Device,
    Launch,
    Tiles,
    cdiv,
    power_of_two,
    require,
    require_rows,
)
from gearshift_kernels.triton.numerics import INTERPRETED, rounded

SQRT_HALF = tl.constexpr(0.7071067811865476)
NEGLIGIBLE = tl.constexpr(-10.0)
"""erf is -1 in float32 here, so that GELU is 0."""

RANGE = tl.constexpr(GELU_RANGE)
STEPS = tl.constexpr(1 / GELU_STEP)
LAST = tl.constexpr(round(GELU_RANGE / GELU_STEP) - 1)
"""The last interval of the table."""


@triton.jit
def gelu_exact(x):
    """x/2 (1 + erf(x / sqrt 2)) of float32 x (Hendrycks and Gimpel, 2016).

    With an erf that is right to 4 units in the last place (CUDA promises 2): the relative error is
    below 2^-20 for x >= -1; below -1, where 1 + erf cancels, the absolute error is below 2^-20.
    Infinity stays, minus infinity becomes -0, NaN stays NaN.
    """
    # Without the bound, minus infinity would be multiplied by 0.
    half = 0.5 * tl.where(x < NEGLIGIBLE, NEGLIGIBLE, x)
    return half * (1.0 + tl.math.erf(x * SQRT_HALF))


@triton.jit
def gelu_table(x, deltas):
    """ReLU minus what the table says, as `approximations.gelu_table`, of a block of float32 x.

    `deltas` points to `approximations.gelu_deltas`. The absolute error is that of the table,
    GELU_ERROR, and 2^-23 |x| of rounding. Its last entry is 0, so that beyond it ReLU is left.
    """
    if INTERPRETED:
        return _from_table(x, deltas.to(tl.int64))
    else:
        # One element after the other: if all were looked up first, what is read would not fit in
        # the registers beside the accumulators of a product.
        return tl.map_elementwise(_from_table, x, deltas.to(tl.int64))


@triton.jit
def _from_table(x, address):
    deltas = address.to(tl.pointer_type(tl.float32))
    # A NaN becomes RANGE here, and comes back with the last line.
    place = tl.minimum(tl.abs(x), RANGE) * STEPS
    interval = tl.minimum(place.to(tl.int32), LAST)
    before = tl.load(deltas + interval)
    after = tl.load(deltas + interval + 1)
    delta = before + (place - interval) * (after - before)
    return tl.where(x < 0, 0.0, x) - delta


@triton.jit
def gelu_kernel(
    x,
    gelu_deltas,
    out,
    rows,
    columns,
    x_stride,
    out_stride,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    across = tl.cdiv(columns, BLOCK_N)
    m = (tl.program_id(0) // across * BLOCK_M + tl.arange(0, BLOCK_M))[:, None]
    n = (tl.program_id(0) % across * BLOCK_N + tl.arange(0, BLOCK_N))[None, :]
    is_inside = (m < rows) & (n < columns)
    place = x + m.to(tl.int64) * x_stride + n
    value = tl.load(place, mask=is_inside, other=0.0).to(tl.float32)
    value = gelu_exact(value) if gelu_deltas is None else gelu_table(value, gelu_deltas)
    place = out + m.to(tl.int64) * out_stride + n
    tl.store(place, rounded(value, out.dtype.element_ty), mask=is_inside)


def gelu(device: Device, x: Tensor, out: Tensor, *, deltas: Tensor | None = None) -> Launch:
    """out = gelu(x), in float32; where a matrix product cannot take it in.

    Args:
        x: (M, N) float; its rows may be any distance apart, as those of `out`.
        out: (M, N) float; may be `x`.
        deltas: float32 table, see `gearshift_kernels.approximations.gelu_deltas`; the exact erf
            form unless it is given.

    Raises:
        ValueError: shapes or strides do not fit.
    """
    require_rows("x", x, None, None)
    rows, columns = x.shape
    require_rows("out", out, rows, columns)
    entries = (LAST.value + 2,)
    require(deltas is None or deltas.shape == entries, f"deltas are not {entries}")
    form = "exact" if deltas is None else "table"
    key = f"gelu {rows}x{columns} {x.dtype} {out.dtype} {form}"
    return Launch(
        key=key,
        kernel=gelu_kernel,
        grid=lambda b: (cdiv(rows, b["BLOCK_M"]) * cdiv(columns, b["BLOCK_N"]),),
        arguments={
            "x": x,
            "gelu_deltas": deltas,
            "out": out,
            "rows": rows,
            "columns": columns,
            "x_stride": x.stride(0),
            "out_stride": out.stride(0),
        },
        constants={},
        tiles=device.tuned.get(key) or _tiles(device, rows, columns),
    )


def _tiles(device: Device, rows: int, columns: int) -> Tiles:
    """A program takes about 2,048 elements, 16 a thread, from as few rows as may be."""
    most = 2**16 if device.interpreted else 2**11
    across = min(power_of_two(columns), most)
    return Tiles({"BLOCK_M": min(power_of_two(rows, least=1), most // across), "BLOCK_N": across})
