"""x W^T + b, with what stands before and after it in a block fused into the same launch.

Before: the LayerNorm of x. After: bias, GELU, and the residual that the result is added to.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from gearshift_kernels.triton.gelu import gelu_exact, gelu_table
from gearshift_kernels.triton.launch import (
    TRITON_DTYPE,
    Device,
    Launch,
    cdiv,
    require,
    require_rows,
)
from gearshift_kernels.triton.norm import Norm
from gearshift_kernels.triton.numerics import (
    grouped,
    normalised_chunk,
    operand,
    rounded,
    row_statistics,
)
from gearshift_kernels.triton.quantise import Weight, product_dtype, scale_of, values_of
from gearshift_kernels.triton.tiles import product_tiles


@triton.jit
def linear_kernel(
    x,
    weight,
    weight_scale,
    bias,
    norm_scale,
    norm_bias,
    residual,
    gelu_deltas,
    out,
    rows,
    columns,
    inner,
    x_stride,
    weight_stride,
    residual_stride,
    out_stride,
    epsilon,
    GELU: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    down, across = tl.cdiv(rows, BLOCK_M), tl.cdiv(columns, BLOCK_N)
    block_m, block_n = grouped(tl.program_id(0), down, across)
    m = (block_m * BLOCK_M + tl.arange(0, BLOCK_M))[:, None]
    n = (block_n * BLOCK_N + tl.arange(0, BLOCK_N))[None, :]
    is_row, is_column = m < rows, n < columns
    x_row = x + m.to(tl.int64) * x_stride
    weight_row = weight + n.to(tl.int64) * weight_stride
    if norm_scale is not None:
        mean, deviation = row_statistics(x_row, is_row, inner, epsilon, BLOCK_K)
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for start in range(0, inner, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        is_inner = k < inner
        a = tl.load(x_row + k[None, :], mask=is_row & is_inner[None, :], other=0.0)
        if norm_scale is not None:
            a = a.to(tl.float32)
            a = normalised_chunk(a, mean, deviation, norm_scale, norm_bias, k, is_inner)
        b = tl.load(weight_row + k[:, None], mask=is_column & is_inner[:, None], other=0.0)
        a, b = operand(rounded(a, DTYPE)), operand(rounded(b, DTYPE))
        total = tl.dot(a, b, total, input_precision=PRECISION)
    if weight_scale is not None:
        total *= tl.load(weight_scale + n, mask=is_column, other=0.0)
    if bias is not None:
        total += tl.load(bias + n, mask=is_column, other=0.0)
    if GELU:
        total = gelu_exact(total) if gelu_deltas is None else gelu_table(total, gelu_deltas)
    is_inside = is_row & is_column
    if residual is not None:
        place = residual + m.to(tl.int64) * residual_stride + n
        total += tl.load(place, mask=is_inside, other=0.0).to(tl.float32)
    place = out + m.to(tl.int64) * out_stride + n
    tl.store(place, rounded(total, out.dtype.element_ty), mask=is_inside)


def linear(
    device: Device,
    x: Tensor,
    weight: Weight,
    out: Tensor,
    *,
    bias: Tensor | None = None,
    norm: Norm | None = None,
    gelu: bool = False,
    gelu_deltas: Tensor | None = None,
    residual: Tensor | None = None,
) -> Launch:
    """out = residual + gelu(norm(x) weight^T + bias); every part but the product may be absent.

    Args:
        x: (M, K) float; its rows may be any distance apart, as those of `residual` and `out`.
        weight: (N, K); its dtype is that of the products, whose sums are float32.
        out: (M, N) float; may be `residual`.
        bias: float32 (N).
        norm: the LayerNorm of x before the product, in float32, width K.
        gelu: apply GELU; the exact erf form unless `gelu_deltas` is given.
        gelu_deltas: float32 table, see `gearshift_kernels.approximations.gelu_deltas`.
        residual: (M, N) float.

    Raises:
        ValueError: shapes or strides do not fit.
    """
    values = values_of(weight)
    (rows, inner), columns = x.shape, values.shape[0]
    require_rows("x", x, None, None)
    require_rows("weight", values, columns, inner)
    require_rows("out", out, rows, columns)
    if residual is not None:
        require_rows("residual", residual, rows, columns)
    require(bias is None or bias.shape == (columns,), f"bias is not ({columns},)")
    require(norm is None or norm.scale.shape == (inner,), f"norm is not of width {inner}")
    dtype = product_dtype(weight)
    key = f"linear {rows}x{columns}x{inner} {values.dtype} {'norm' if norm else 'plain'}"
    return Launch(
        key=key,
        kernel=linear_kernel,
        grid=lambda b: (cdiv(rows, b["BLOCK_M"]) * cdiv(columns, b["BLOCK_N"]),),
        arguments={
            "x": x,
            "weight": values,
            "weight_scale": scale_of(weight),
            "bias": bias,
            "norm_scale": norm.scale if norm else None,
            "norm_bias": norm.bias if norm else None,
            "residual": residual,
            "gelu_deltas": gelu_deltas if gelu else None,
            "out": out,
            "rows": rows,
            "columns": columns,
            "inner": inner,
            "x_stride": x.stride(0),
            "weight_stride": values.stride(0),
            "residual_stride": residual.stride(0) if residual is not None else 0,
            "out_stride": out.stride(0),
            "epsilon": norm.epsilon if norm else 0.0,
        },
        constants={
            "GELU": gelu,
            "DTYPE": TRITON_DTYPE[dtype],
            "PRECISION": device.product_precision,
        },
        tiles=device.tuned.get(key) or product_tiles(device, rows, columns, inner, dtype),
    )
