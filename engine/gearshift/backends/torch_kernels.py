"""The torch backend's kernels, one function each.

Each function binds a kernel to its inputs, outputs, weights and attributes (as `gearshift.program.
Step` lists them) and to scratch memory, and returns what a run calls: views are made once, and a
run allocates next to nothing. The weights' dtype is the dtype of the matrix products; an input or
output of another dtype is converted on the way. Maps (N,C,h,w) are channels-last in memory, in
which torch's convolution and enlargement are fastest.
Oracles of the same names: `gearshift_kernels.oracle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from gearshift.backends.torch_arena import Scratch
from gearshift.expert_store import Group

Run = Callable[[], None]

_gelu = torch.ops.aten.gelu.out
_normalize = torch.ops.aten.native_layer_norm.out
_enlarge = torch.ops.aten.upsample_bilinear2d.out


def _as(x: Tensor, dtype: torch.dtype, scratch: Scratch) -> Tensor:
    """`x` itself if it has this dtype, else scratch of its shape to convert to or from."""
    return x if x.dtype == dtype else scratch(x.shape, dtype)


def patch_embedding(
    image: Tensor, out: Tensor, weight: Tensor, table: Tensor, *, patch_size: int, scratch: Scratch
) -> Run:
    """Every patch times the weight, plus its row of the table; row 0 is the class token."""
    batch, channels, height, width = image.shape
    grid = height // patch_size, width // patch_size
    split = image.view(batch, channels, grid[0], patch_size, grid[1], patch_size)
    pixels_last = split.permute(0, 2, 4, 1, 3, 5)
    matrix = weight.flatten(1).t()
    patches = scratch((batch * grid[0] * grid[1], len(matrix)), weight.dtype)
    product = scratch((len(patches), len(weight)), weight.dtype)
    target = patches.view(pixels_last.shape)
    per_image = product.view(batch, -1, len(weight))

    def run() -> None:
        target.copy_(pixels_last)
        torch.mm(patches, matrix, out=product)
        torch.add(per_image, table[1:], out=out[:, 1:])
        out[:, 0].copy_(table[0])

    return run


def layer_normalization(
    x: Tensor, out: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float, scratch: Scratch
) -> Run:
    """float32 throughout."""
    mean = scratch((*x.shape[:-1], 1), torch.float32)
    deviation = scratch((*x.shape[:-1], 1), torch.float32)
    width = list(x.shape[-1:])

    def run() -> None:
        _normalize(x, width, scale, bias, epsilon, out0=out, out1=mean, out2=deviation)

    return run


def attention(
    x: Tensor,
    out: Tensor,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    *,
    heads: int,
    scratch: Scratch,
) -> Run:
    """softmax(head_dim^-0.5 Q K^T) V without a matrix of scores in memory, then the projection."""
    batch, tokens, width = x.shape
    dtype = qkv_weight.dtype
    rows, out_rows = x.flatten(0, 1), out.flatten(0, 1)
    operand, result = _as(rows, dtype, scratch), _as(out_rows, dtype, scratch)
    qkv = scratch((batch * tokens, 3 * width), dtype)
    by_head = qkv.view(batch, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    query, key, value = by_head.unbind(0)
    qkv_matrix, proj_matrix = qkv_weight.t(), proj_weight.t()

    def run() -> None:
        if operand is not rows:
            operand.copy_(rows)
        torch.addmm(qkv_bias, operand, qkv_matrix, out=qkv)
        mixed = scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(1, 2).reshape(batch * tokens, width)
        torch.addmm(proj_bias, mixed, proj_matrix, out=result)
        if result is not out_rows:
            out_rows.copy_(result)

    return run


def add(a: Tensor, b: Tensor, out: Tensor, *, scratch: Scratch) -> Run:
    """In float32; `out` may be `a`."""

    def run() -> None:
        torch.add(a, b, out=out)

    return run


def mlp(
    x: Tensor,
    out: Tensor,
    fc1_weight: Tensor,
    fc1_bias: Tensor,
    fc2_weight: Tensor,
    fc2_bias: Tensor,
    *,
    scratch: Scratch,
) -> Run:
    """fc2(GELU(fc1(x))), GELU by erf."""
    dtype = fc1_weight.dtype
    rows, out_rows = x.flatten(0, 1), out.flatten(0, 1)
    operand, result = _as(rows, dtype, scratch), _as(out_rows, dtype, scratch)
    hidden = scratch((len(rows), len(fc1_weight)), dtype)
    fc1_matrix, fc2_matrix = fc1_weight.t(), fc2_weight.t()

    def run() -> None:
        if operand is not rows:
            operand.copy_(rows)
        torch.addmm(fc1_bias, operand, fc1_matrix, out=hidden)
        _gelu(hidden, out=hidden)
        torch.addmm(fc2_bias, hidden, fc2_matrix, out=result)
        if result is not out_rows:
            out_rows.copy_(result)

    return run


def router(
    x: Tensor,
    index: Tensor,
    score: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    top_k: int,
    prune_scores: float,
    scratch: Scratch,
) -> Run:
    """float32 whatever the matrix products are. The sort is stable: ties go to the lower expert."""
    rows = x.flatten(0, 1)
    shape = len(rows), weight.shape[1]
    logits = scratch(shape, torch.float32)
    probabilities = scratch(shape, torch.float32)
    falling = scratch(shape, torch.float32)
    order = scratch(shape, torch.int64)
    kept_score, kept_index = falling[:, :top_k], order[:, :top_k]
    score_rows, index_rows = score.flatten(0, 1), index.flatten(0, 1)

    def run() -> None:
        torch.mm(rows, weight, out=logits)
        if bias is not None:
            logits.add_(bias)
        torch.softmax(logits, 1, out=probabilities)
        torch.sort(probabilities, dim=1, descending=True, stable=True, out=(falling, order))
        index_rows.copy_(kept_index)
        score_rows.copy_(kept_score)
        if prune_scores > 0:
            score_rows.masked_fill_(score_rows <= prune_scores, 0.0)

    return run


def all_in_place(counts: Sequence[int]) -> Iterator[Group]:
    """The chosen experts of a bank whose every expert has its own slot."""
    yield [(expert, expert) for expert, count in enumerate(counts) if count]


def expert_mixture(
    x: Tensor,
    index: Tensor,
    score: Tensor,
    out: Tensor,
    *weights: Tensor,
    experts: int,
    top_k: int,
    counts: list[int],
    scratch: Scratch,
    take: Callable[[Sequence[int]], Iterator[Group]] = all_in_place,
) -> Run:
    """Tokens sorted into one queue an expert; each chosen expert's weights are touched once.

    `weights` are four a slot, and `take` says in which slot each chosen expert is, a group at a
    time (`gearshift.expert_store`). A run leaves the queues' lengths in `counts`. The answers
    return to token order before they are summed in float32, first choice first, so that the sum
    has one order, whichever expert came first.
    """
    width, hidden_width, dtype = x.shape[-1], len(weights[0]), weights[0].dtype
    rows, choice, choices = x.flatten(0, 1), index.flatten(), index.numel()
    operand = _as(rows, dtype, scratch)
    queues = scratch((choices, width), dtype)
    hidden = scratch((choices, hidden_width), dtype)
    answers = scratch((choices, width), dtype)
    by_choice = scratch((choices, width), dtype)
    wide = _as(by_choice, torch.float32, scratch)
    ordered, order, token, place = (scratch((choices,), torch.int64) for _ in range(4))
    counting = torch.arange(choices)
    each = zip(weights[::4], weights[1::4], weights[2::4], weights[3::4], strict=True)
    bank = [(w1.t(), b1, w2.t(), b2) for w1, b1, w2, b2 in each]
    terms = wide.view(-1, top_k, width).unbind(1)
    shares = score.view(-1, top_k, 1).unbind(1)
    total = out.flatten(0, 1)

    def run() -> None:
        if operand is not rows:
            operand.copy_(rows)
        torch.sort(choice, stable=True, out=(ordered, order))
        torch.div(order, top_k, rounding_mode="floor", out=token)
        torch.index_select(operand, 0, token, out=queues)
        counts[:] = torch.bincount(choice, minlength=experts).tolist()
        ends = list(accumulate(counts))
        for group in take(counts):
            for expert, slot in group:
                queue = slice(ends[expert] - counts[expert], ends[expert])
                matrix1, bias1, matrix2, bias2 = bank[slot]
                middle = hidden[queue]
                torch.addmm(bias1, queues[queue], matrix1, out=middle)
                _gelu(middle, out=middle)
                torch.addmm(bias2, middle, matrix2, out=answers[queue])
        place.scatter_(0, order, counting)
        torch.index_select(answers, 0, place, out=by_choice)
        if wide is not by_choice:
            wide.copy_(by_choice)
        torch.mul(terms[0], shares[0], out=total)
        for term, share in zip(terms[1:], shares[1:], strict=True):
            total.addcmul_(term, share)

    return run


def feature_map(tokens: Tensor, out: Tensor, *, scratch: Scratch) -> Run:
    """A copy: patches in rows of a map are what channels-last means."""
    batch, width, height, columns = out.shape
    patches = tokens[:, 1:].view(batch, height, columns, width).permute(0, 3, 1, 2)

    def run() -> None:
        out.copy_(patches)

    return run


def upsample_conv(
    x: Tensor, out: Tensor, weight: Tensor, bias: Tensor, *, scale: int, scratch: Scratch
) -> Run:
    """Bilinear enlargement, 3x3 convolution with padding 1, ReLU."""
    operand = _as(x, weight.dtype, scratch)
    size = list(out.shape[2:])
    large = operand if scale == 1 else scratch((*x.shape[:2], *size), weight.dtype)

    def run() -> None:
        if operand is not x:
            operand.copy_(x)
        if large is not operand:
            _enlarge(operand, size, False, out=large)
        out.copy_(torch.conv2d(large, weight, bias, padding=1).relu_())

    return run


def head(x: Tensor, out: Tensor, weight: Tensor, bias: Tensor, *, scratch: Scratch) -> Run:
    """1x1 convolution as a matrix product over the pixels, then twice as large, in float32."""
    batch, channels, height, width = x.shape
    operand = _as(x, weight.dtype, scratch)
    pixels = operand.permute(0, 2, 3, 1).reshape(-1, channels)
    product = scratch((len(pixels), len(weight)), weight.dtype)
    wide = _as(product, torch.float32, scratch)
    small = wide.view(batch, height, width, -1).permute(0, 3, 1, 2)
    matrix, size = weight.flatten(1).t(), list(out.shape[2:])

    def run() -> None:
        if operand is not x:
            operand.copy_(x)
        torch.addmm(bias, pixels, matrix, out=product)
        if wide is not product:
            wide.copy_(product)
        _enlarge(small, size, False, out=out)

    return run


def resize_bilinear(x: Tensor, out: Tensor, *, scratch: Scratch) -> Run:
    """Half-pixel centres, no anti-aliasing."""
    size = list(out.shape[2:])

    def run() -> None:
        _enlarge(x, size, False, out=out)

    return run


KERNELS: dict[str, Callable[..., Run]] = {
    kernel.__name__: kernel
    for kernel in (
        patch_embedding,
        layer_normalization,
        attention,
        add,
        mlp,
        router,
        expert_mixture,
        feature_map,
        upsample_conv,
        head,
        resize_bilinear,
    )
}
"""By the name in a program's steps."""
