"""Cases of the router, the experts and the sum of their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from gearshift_bench.case import (
    FLOAT32_SUMS,
    ROUNDING,
    Bench,
    Case,
    Sizes,
    dense,
    plain_case,
    relative_error,
)
from gearshift_kernels.triton.experts import ExpertBank, combine, expert_fc1, expert_fc2
from gearshift_kernels.triton.launch import Launch
from gearshift_kernels.triton.quantise import Weight
from gearshift_kernels.triton.router import router, router_blocks


def router_case(bench: Bench, sizes: Sizes) -> Case:
    width, experts = sizes.weight(0)
    rows, top_k = prod(sizes.shape(sizes.input)[:-1]), int(sizes.step.attributes["top_k"])
    x, norm = bench.normal(rows, width), bench.norm(width) if sizes.has_norm else None
    weight = bench.normal(width, experts, scale=width**-0.5)
    prune_scores = float(sizes.step.attributes["prune_scores"])
    index, score = bench.empty(rows, top_k, dtype=torch.int32), bench.empty(rows, top_k)
    order = bench.empty(rows * top_k, dtype=torch.int32)
    normalised = bench.empty(rows, width, dtype=bench.dtype) if sizes.leaves_tokens else None
    launches = router(
        bench.device,
        x,
        weight,
        top_k=top_k,
        prune_scores=prune_scores,
        index=index,
        score=score,
        order=order,
        offsets=bench.empty(experts + 1, dtype=torch.int32),
        counts=bench.empty(router_blocks(bench.device, rows), experts, dtype=torch.int32),
        norm=norm,
        normalised=normalised,
    )
    arguments = x, weight, *((norm.scale, norm.bias) if norm else (None, None))
    epsilon = norm.epsilon if norm else 0.0

    def error() -> float:
        """Of the scores, both against the best ones and against those of the chosen experts, since
        near ties may fall either way; and of the normalised tokens beyond their rounding. The
        queues must be the stable sort of the choices."""
        if not torch.equal(order.long(), torch.argsort(index.flatten(), stable=True)):
            return float("inf")
        wide = [dense(argument, torch.float64) for argument in arguments]
        tokens, scores = plain_router(*wide, epsilon=epsilon)
        scores = scores.where(scores > prune_scores, 0.0)
        best, chosen = scores.topk(top_k).values, scores.gather(1, index.long())
        errors = [relative_error(score, best), relative_error(score, chosen)]
        if normalised is not None:
            errors.append(relative_error(normalised, tokens) - ROUNDING[normalised.dtype])
        return max(errors)

    def plain(*tensors: Tensor | None) -> tuple[Tensor, ...]:
        tokens, scores = plain_router(*tensors, epsilon=epsilon)
        kept, experts_of = scores.topk(top_k)
        order = torch.argsort(experts_of.flatten(), stable=True)
        return tokens.to(bench.dtype), kept, experts_of, order

    return Case(tuple(launches), error, FLOAT32_SUMS, plain, arguments)


def plain_router(
    x: Tensor | None,
    weight: Tensor | None,
    norm_scale: Tensor | None,
    norm_bias: Tensor | None,
    *,
    epsilon: float,
) -> tuple[Tensor, Tensor]:
    """norm(x) and softmax(norm(x) weight): (M, D) and (M, E)."""
    assert x is not None
    assert weight is not None
    if norm_scale is not None:
        x = F.layer_norm(x, x.shape[-1:], norm_scale, norm_bias, epsilon)
    return x, (x @ weight).softmax(-1)


@dataclass(frozen=True)
class _Queues:
    """Random choices of distinct experts, sorted by expert as the router leaves them."""

    order: Tensor
    offsets: Tensor
    ends: tuple[int, ...]
    """`offsets` without the first, known to Python."""

    def parts(self) -> Iterator[tuple[int, slice]]:
        """Each expert with its places."""
        for expert, (start, end) in enumerate(pairwise((0, *self.ends))):
            yield expert, slice(start, end)


def _queues(bench: Bench, tokens: int, experts: int, top_k: int) -> _Queues:
    chosen = bench.normal(tokens, experts).topk(top_k).indices.flatten()
    counts = torch.bincount(chosen, minlength=experts)
    offsets = F.pad(counts.cumsum(0), (1, 0)).int()
    order = torch.argsort(chosen, stable=True).int()
    return _Queues(order, offsets, tuple(offsets.tolist()[1:]))


def _bank(bench: Bench, sizes: Sizes) -> ExpertBank:
    hidden, width = sizes.weight(0)
    experts = sizes.experts
    return ExpertBank(
        bench.weight(experts, hidden, width),
        bench.normal(experts, hidden),
        bench.weight(experts, width, hidden),
        bench.normal(experts, width),
        torch.arange(experts, dtype=torch.int32, device=bench.place),
    )


def expert_fc1_case(bench: Bench, sizes: Sizes) -> Case:
    top_k = int(sizes.step.attributes["top_k"])
    choices, hidden = sizes.shape(sizes.output)
    bank, width = _bank(bench, sizes), sizes.weight(0)[1]
    x = bench.normal(choices // top_k, width, dtype=sizes.dtype(sizes.step.inputs[0]))
    queues = _queues(bench, len(x), sizes.experts, top_k)
    out = bench.empty(choices, hidden, dtype=sizes.dtype(sizes.output))
    launch = expert_fc1(bench.device, x, bank, queues.order, queues.offsets, out, top_k=top_k)

    def plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Expert by expert."""
        tokens, rows = queues.order // top_k, []
        for expert, places in queues.parts():
            y = F.linear(x[tokens[places]], weight[expert], bias[expert].to(x.dtype))
            rows.append(F.gelu(y))
        return torch.cat(rows)

    rows = x[queues.order // top_k]
    return _expert_case(launch, out, plain, (x, bank.fc1, bank.fc1_bias), rows, queues)


def expert_fc2_case(bench: Bench, sizes: Sizes) -> Case:
    top_k = int(sizes.step.attributes["top_k"])
    choices, width = sizes.shape(sizes.output)
    bank, tokens = _bank(bench, sizes), choices // top_k
    hidden = bench.normal(*sizes.shape(sizes.step.inputs[0]), dtype=bench.dtype)
    queues = _queues(bench, tokens, sizes.experts, top_k)
    score = bench.normal(tokens, top_k).abs()
    out = bench.empty(choices, width, dtype=sizes.dtype(sizes.output))
    launch = expert_fc2(bench.device, hidden, bank, queues.order, queues.offsets, score, out)

    def plain(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Expert by expert."""
        rows = []
        for expert, places in queues.parts():
            rows.append(F.linear(hidden[places], weight[expert], bias[expert].to(hidden.dtype)))
        # A queue's places hold choices; an answer goes where its choice stands.
        scored = torch.cat(rows) * score.to(bias.dtype).flatten()[queues.order, None]
        return torch.empty_like(scored).index_copy_(0, queues.order.long(), scored)

    arguments = hidden, bank.fc2, bank.fc2_bias
    return _expert_case(launch, out, plain, arguments, hidden, queues)


def _expert_case(
    launch: Launch,
    out: Tensor,
    plain: Callable[..., Tensor],
    arguments: tuple[Tensor, Weight, Tensor],
    rows: Tensor,
    queues: _Queues,
) -> Case:
    """A case with peers: `plain` of `arguments` (input, weight, bias), and the grouped product of
    `rows`, the input in the order of the queues."""
    case = plain_case([launch], out, plain, arguments, {}, [out.dtype])
    _, matrices, _ = ready = case.arguments
    # The loop depends on the queues, so that torch.compile would start again for every input set:
    # it is a peer as it is, and nothing else stands for it.
    assert case.plain is not None
    peers: dict[str, Callable[[], object]] = {
        "torch, expert by expert": partial(case.plain, *ready)
    }
    product = getattr(F, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)
    if product is not None and matrices is not None and matrices.dtype == torch.bfloat16:
        peers["grouped_mm (the product only)"] = partial(
            product, rows.to(matrices.dtype), matrices.transpose(1, 2), offs=queues.offsets[1:]
        )
    return replace(case, plain=None, arguments=(), peers=peers)


def combine_case(bench: Bench, sizes: Sizes) -> Case:
    choices, width = sizes.shape(sizes.input)
    top_k = int(sizes.step.attributes["top_k"])
    answers, out = bench.normal(choices, width), bench.empty(choices // top_k, width)
    residual = bench.normal(*out.shape) if sizes.has_residual else None
    launch = combine(bench.device, answers, out, top_k=top_k, residual=residual)
    return plain_case(
        [launch], out, plain_combine, [answers, residual], {"top_k": top_k}, [out.dtype]
    )


def plain_combine(answers: Tensor, residual: Tensor | None, *, top_k: int) -> Tensor:
    """The sum of a token's answers, added to the residual."""
    y = answers.unflatten(0, (-1, top_k)).sum(1)
    return y if residual is None else residual + y
