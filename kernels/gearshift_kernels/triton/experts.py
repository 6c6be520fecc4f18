"""The experts: two products grouped by expert, and the sum of a token's answers.

The queues are ragged and only the device knows their lengths, so a launch makes as many programs as
any lengths could need. Each finds its tile from the offsets of the queues, and those that are left
over leave: the grouped product of MegaBlocks (Gale et al., MLSys 2023) without its sparse matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from gearshift_kernels.triton.gelu import gelu_exact, gelu_table
from gearshift_kernels.triton.launch import (
    TRITON_DTYPE,
    Device,
    Launch,
    Tiles,
    cdiv,
    power_of_two,
    require,
    require_rows,
)
from gearshift_kernels.triton.numerics import operand, rounded
from gearshift_kernels.triton.quantise import Weight, product_dtype, scale_of, values_of
from gearshift_kernels.triton.queues import find_tile, most_tiles, require_dense
from gearshift_kernels.triton.tiles import expert_tiles


@dataclass(frozen=True)
class ExpertBank:
    """The weights of E experts in S slots, which other banks may share.

    Slots may be any distance apart, as the rows of a weight.

    Raises:
        ValueError: shapes or strides do not fit.
    """

    fc1: Weight
    """(S, H, D)."""
    fc1_bias: Tensor
    """float32 (S, H)."""
    fc2: Weight
    """(S, D, H)."""
    fc2_bias: Tensor
    """float32 (S, D)."""
    slot: Tensor
    """int32 (E): where each expert is."""

    def __post_init__(self) -> None:
        slots, hidden, width = self.fc1.shape
        wanted = (slots, width, hidden)
        require(self.fc2.shape == wanted, f"fc2 has shape {tuple(self.fc2.shape)}, not {wanted}")
        for name, weight in (("fc1", self.fc1), ("fc2", self.fc2)):
            strides = values_of(weight).stride()
            message = f"{name} has strides {strides}: the elements of a row must be contiguous"
            require(strides[2] == 1, message)
            scale = scale_of(weight)
            if scale is not None:
                require_rows(f"the scale of {name}", scale, slots, weight.shape[1])
        require_rows("fc1_bias", self.fc1_bias, slots, hidden)
        require_rows("fc2_bias", self.fc2_bias, slots, width)
        require_dense("slot", self.slot, (self.experts,), torch.int32)

    @property
    def experts(self) -> int:
        """E."""
        return self.slot.shape[0]


# Neither the binary nor the bits may depend on which experts a launch covers.
@triton.jit(do_not_specialize=["first", "count"])
def expert_kernel(
    x,
    weight,
    weight_scale,
    bias,
    slot,
    order,
    offsets,
    score,
    gelu_deltas,
    out,
    first,
    count,
    columns,
    inner,
    x_stride,
    weight_slot_stride,
    weight_stride,
    scale_stride,
    bias_stride,
    out_stride,
    TOP_K: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    expert, begin, end, block_n = find_tile(
        offsets, first, count, columns, BLOCK_E, BLOCK_M, BLOCK_N
    )
    if expert >= first + count:
        return
    place = (begin + tl.arange(0, BLOCK_M))[:, None]
    n = (block_n * BLOCK_N + tl.arange(0, BLOCK_N))[None, :]
    is_row, is_column = place < end, n < columns
    # The first product reads tokens and leaves its results in the order of the queues; the second
    # reads them there and takes its own back to the choices.
    source, target = place, place
    if score is None:
        source = tl.load(order + place, mask=is_row, other=0) // TOP_K
    own = tl.load(slot + expert).to(tl.int64)
    x_row = x + source.to(tl.int64) * x_stride
    weight_row = weight + own * weight_slot_stride + n.to(tl.int64) * weight_stride
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for start in range(0, inner, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        is_inner = k < inner
        a = tl.load(x_row + k[None, :], mask=is_row & is_inner[None, :], other=0.0)
        b = tl.load(weight_row + k[:, None], mask=is_column & is_inner[:, None], other=0.0)
        a, b = operand(rounded(a, DTYPE)), operand(rounded(b, DTYPE))
        total = tl.dot(a, b, total, input_precision=PRECISION)
    if weight_scale is not None:
        total *= tl.load(weight_scale + own * scale_stride + n, mask=is_column, other=0.0)
    total += tl.load(bias + own * bias_stride + n, mask=is_column, other=0.0)
    if score is None:
        total = gelu_exact(total) if gelu_deltas is None else gelu_table(total, gelu_deltas)
    else:
        target = tl.load(order + place, mask=is_row, other=0)
        total *= tl.load(score + target, mask=is_row, other=0.0)
    out_row = out + target.to(tl.int64) * out_stride
    tl.store(out_row + n, rounded(total, out.dtype.element_ty), mask=is_row & is_column)


def expert_fc1(
    device: Device,
    x: Tensor,
    bank: ExpertBank,
    order: Tensor,
    offsets: Tensor,
    hidden: Tensor,
    *,
    top_k: int,
    first: int = 0,
    count: int | None = None,
    gelu_deltas: Tensor | None = None,
) -> Launch:
    """hidden[i] = gelu(x[order[i] // top_k] fc1^T + fc1_bias) at the places i of some experts.

    Products are in the dtype of the bank and their sums in float32. The bits of a row do not depend
    on which experts a launch covers.

    Args:
        x: (M, D) float; its rows may be any distance apart, as those of `hidden`.
        bank: E experts.
        order: int32 (M * K), the expert queues, see `expert_queues`.
        offsets: int32 (E + 1), where in `order` each queue begins and ends.
        hidden: (M * K, H) float; the places of the other experts are not touched.
        top_k: K.
        first: the first expert that the launch covers.
        count: how many it covers; by default all that follow.
        gelu_deltas: float32 table, see `gearshift_kernels.approximations.gelu_deltas`; without it
            GELU is the exact erf form.

    Raises:
        ValueError: shapes, strides or dtypes do not fit, or there are no such experts.
    """
    return _grouped_product(
        device, "expert_fc1", x, bank.fc1, bank.fc1_bias, bank.slot, order, offsets, hidden,
        rows=x.shape[0], top_k=top_k, first=first, count=count, gelu_deltas=gelu_deltas,
    )  # fmt: skip


def expert_fc2(
    device: Device,
    hidden: Tensor,
    bank: ExpertBank,
    order: Tensor,
    offsets: Tensor,
    score: Tensor,
    answers: Tensor,
    *,
    first: int = 0,
    count: int | None = None,
) -> Launch:
    """answers[order[i]] = score[order[i]] (hidden[i] fc2^T + fc2_bias), i as in `expert_fc1`.

    Each choice has a row of its own, so nothing is added up and the order of programs is no matter.

    Args:
        hidden: (M * K, H) float, from `expert_fc1`; its rows may be any distance apart, as those of
            `answers`.
        bank: E experts.
        order: int32 (M * K), the expert queues.
        offsets: int32 (E + 1), where in `order` each queue begins and ends.
        score: float32 (M, K), the gate scores, counted through as choices are.
        answers: (M * K, D) float; float32 costs no rounding. The choices of the other experts are
            not touched.
        first: the first expert that the launch covers.
        count: how many it covers; by default all that follow.

    Raises:
        ValueError: shapes, strides or dtypes do not fit, or there are no such experts.
    """
    rows, top_k = score.shape
    require_dense("score", score, (rows, top_k), torch.float32)
    return _grouped_product(
        device, "expert_fc2", hidden, bank.fc2, bank.fc2_bias, bank.slot, order, offsets, answers,
        rows=rows, top_k=top_k, first=first, count=count, score=score,
    )  # fmt: skip


def _grouped_product(
    device: Device,
    name: str,
    x: Tensor,
    weight: Weight,
    bias: Tensor,
    slot: Tensor,
    order: Tensor,
    offsets: Tensor,
    out: Tensor,
    *,
    rows: int,
    top_k: int,
    first: int,
    count: int | None,
    score: Tensor | None = None,
    gelu_deltas: Tensor | None = None,
) -> Launch:
    """The launch of either product; `score` makes it the second."""
    values, scale, dtype = values_of(weight), scale_of(weight), product_dtype(weight)
    (_, columns, inner), (experts,) = values.shape, slot.shape
    covered = experts - first if count is None else count
    message = f"experts {first} to {first + covered - 1} of {experts}"
    require(0 <= first <= first + covered <= experts, message)
    require_dense("order", order, (rows * top_k,), torch.int32)
    require_dense("offsets", offsets, (experts + 1,), torch.int32)
    if score is None:
        require_rows("x", x, rows, inner)
        require_rows("hidden", out, rows * top_k, columns)
    else:
        require_rows("hidden", x, rows * top_k, inner)
        require_rows("answers", out, rows * top_k, columns)
    key = f"{name} {rows} top {top_k} of {experts} {columns}x{inner} {values.dtype}"
    if gelu_deltas is not None:
        key += " table"
    return Launch(
        key=key,
        kernel=expert_kernel,
        grid=lambda b: (
            most_tiles(rows, top_k, covered, b["BLOCK_M"]) * cdiv(columns, b["BLOCK_N"]),
        ),
        arguments={
            "x": x,
            "weight": values,
            "weight_scale": scale,
            "bias": bias,
            "slot": slot,
            "order": order,
            "offsets": offsets,
            "score": score,
            "gelu_deltas": gelu_deltas,
            "out": out,
            "first": first,
            "count": covered,
            "columns": columns,
            "inner": inner,
            "x_stride": x.stride(0),
            "weight_slot_stride": values.stride(0),
            "weight_stride": values.stride(1),
            "scale_stride": scale.stride(0) if scale is not None else 0,
            "bias_stride": bias.stride(0),
            "out_stride": out.stride(0),
        },
        constants={
            "TOP_K": top_k,
            "DTYPE": TRITON_DTYPE[dtype],
            "PRECISION": device.product_precision,
            "BLOCK_E": power_of_two(experts),
        },
        tiles=device.tuned.get(key)
        or expert_tiles(device, rows * top_k, experts, columns, inner, dtype),
    )


@triton.jit
def combine_kernel(
    answers,
    residual,
    out,
    rows,
    columns,
    answers_stride,
    residual_stride,
    out_stride,
    TOP_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    m = (tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M))[:, None].to(tl.int64)
    n = (tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N))[None, :]
    is_inside = (m < rows) & (n < columns)
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for k in range(TOP_K):
        answer = answers + (m * TOP_K + k) * answers_stride + n
        total += tl.load(answer, mask=is_inside, other=0.0).to(tl.float32)
    if residual is not None:
        total += tl.load(residual + m * residual_stride + n, mask=is_inside, other=0.0)
    tl.store(out + m * out_stride + n, total, mask=is_inside)


def combine(
    device: Device, answers: Tensor, out: Tensor, *, top_k: int, residual: Tensor | None = None
) -> Launch:
    """out[t] = residual[t] + the sum of token t's answers, its best expert's first, in float32.

    Args:
        answers: (M * K, D) float, from `expert_fc2`; the rows of all arguments may be any distance
            apart.
        out: float32 (M, D); may be `residual`.
        top_k: K.
        residual: float32 (M, D).

    Raises:
        ValueError: shapes or strides do not fit.
    """
    rows, columns = out.shape
    require_rows("out", out, None, None)
    require_rows("answers", answers, rows * top_k, columns)
    if residual is not None:
        require_rows("residual", residual, rows, columns)
    key = f"combine {rows}x{columns} top {top_k} {answers.dtype}"
    return Launch(
        key=key,
        kernel=combine_kernel,
        grid=lambda b: (cdiv(rows, b["BLOCK_M"]), cdiv(columns, b["BLOCK_N"])),
        arguments={
            "answers": answers,
            "residual": residual,
            "out": out,
            "rows": rows,
            "columns": columns,
            "answers_stride": answers.stride(0),
            "residual_stride": residual.stride(0) if residual is not None else 0,
            "out_stride": out.stride(0),
        },
        constants={"TOP_K": top_k},
        tiles=device.tuned.get(key) or _combine_tiles(device, rows, columns),
    )


COMBINE_CANDIDATES = tuple(
    Tiles({"BLOCK_M": m, "BLOCK_N": 128}, warps) for m, warps in ((4, 4), (1, 1), (8, 4), (16, 8))
)
"""For tuning. The first keeps four numbers a thread: one load of 16 bytes."""


def _combine_tiles(device: Device, rows: int, columns: int) -> Tiles:
    if device.interpreted:
        m, n = (min(power_of_two(size), 256) for size in (rows, columns))
        return Tiles({"BLOCK_M": m, "BLOCK_N": n})
    return COMBINE_CANDIDATES[0]
