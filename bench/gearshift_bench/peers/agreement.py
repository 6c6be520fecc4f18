"""Whether a contender computes the same: its output against float64, routing taken into account.

Two things make a right output differ. Rounding: every matrix product of a chain of n adds an error
of the precision's own size, independent of the others, so that they grow with the square root of n.
And routing: where two experts have nearly the same score for a token, rounding decides which one is
kept, and the token's output changes by much more. What that can do is computed, not guessed: the
reference is evaluated once more with every near tie decided the other way.

    allowed = arithmetic + (difference that deciding all near ties the other way makes)

where arithmetic = MARGIN * sqrt(n) * unit, and a near tie is a gap between the last kept and the
first dropped logit below arithmetic * (root mean square of the token's logits). Both are relative
to the root mean square of the reference's output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gearshift.backends import Precision
from gearshift.program import Program
from gearshift_bench.peers.entry import Output
from gearshift_bench.peers.parts import Part, part_of
from gearshift_bench.peers.plain_torch import PlainModule

MARGIN = 4.0
"""Deviations that an error may be away from none."""
LONGEST_SUM = 4096
"""Terms of a product's sums that are rounded to float32 one by one, at most."""
UNITS: Mapping[Precision, float] = {
    "float32": 2.0**-24 * sqrt(LONGEST_SUM),
    "bfloat16": 2.0**-9,
    "int8": 2.0**-7,
}
"""The relative error of one product. float32 rounds every partial sum to 24 bits; bfloat16 rounds
the operands to 8; int8 rounds them to steps of 1/127 of their largest value, about four times the
root mean square, hence 4 / (127 sqrt 12) = 0.009 of it."""


@dataclass(frozen=True)
class Agreement:
    """One output against the reference; relative root mean squares."""

    error: float
    allowed: float
    near_ties: float
    """The share of tokens, over all routers, whose choice hangs on a near tie."""

    @property
    def is_right(self) -> bool:
        return self.error <= self.allowed


@dataclass(frozen=True)
class Reference:
    """What one part of a program computes for one image."""

    output: NDArray[np.float64]
    arithmetic: Mapping[Precision, float]
    flips: Mapping[Precision, float]
    """What deciding all near ties the other way changes."""
    near_ties: Mapping[Precision, float]

    def agreement(self, output: Output, precision: Precision) -> Agreement:
        """How far an output of a run in `precision` is away, and how far it may be."""
        allowed = self.arithmetic[precision] + self.flips[precision]
        return Agreement(relative_error(output, self.output), allowed, self.near_ties[precision])


def relative_error(output: NDArray[Any], reference: NDArray[np.float64]) -> float:
    """Root mean square of the difference over that of the reference; infinite for another shape or
    anything that is not a number."""
    if output.shape != reference.shape or not np.isfinite(output).all():
        return inf
    difference = np.linalg.norm((output.astype(np.float64) - reference).ravel())
    return float(difference / max(np.linalg.norm(reference.ravel()), np.finfo(np.float64).tiny))


def references(
    whole: Program, image: NDArray[np.float32], parts: Sequence[Part]
) -> dict[Part, Reference]:
    """The reference of each part: one evaluation in float64, and, for what near ties can do, one
    in float32 for every precision, whose own rounding is negligible beside that."""
    program = whole if "task" in parts else part_of(whole, "encoder")
    names = {part: part_of(whole, part).output for part in parts}
    products = {part: sum(s.macs > 0 for s in part_of(whole, part).steps) for part in parts}
    right = _evaluate(PlainModule(program, torch.float64), image, names)
    module = PlainModule(program, torch.float32)
    flips: dict[Precision, dict[Part, float]] = {}
    ties: dict[Precision, float] = {}
    for precision, unit in UNITS.items():
        flipper = _Flipper(MARGIN * unit * sqrt(max(products.values())))
        with flipper.on(module):
            other = _evaluate(module, image, names)
        ties[precision] = flipper.share
        flips[precision] = {
            part: relative_error(other[part], right[part]) if flipper.share else 0.0
            for part in parts
        }
    return {
        part: Reference(
            right[part],
            {each: MARGIN * unit * sqrt(products[part]) for each, unit in UNITS.items()},
            {each: flips[each][part] for each in UNITS},
            ties,
        )
        for part in parts
    }


def _evaluate(
    module: PlainModule, image: NDArray[np.float32], names: Mapping[Part, str]
) -> dict[Part, NDArray[np.float64]]:
    dtype = next(module.parameters()).dtype
    with torch.inference_mode():
        values = module.values(torch.from_numpy(image).to(dtype))
    return {part: values[name].double().numpy() for part, name in names.items()}


class _Flipper:
    """Decides every near tie of a module's routers the other way, and counts them."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._choices = 0
        self._ties = 0

    @property
    def share(self) -> float:
        return self._ties / max(self._choices, 1)

    @contextmanager
    def on(self, module: PlainModule) -> Iterator[None]:
        hooks = [
            layer.register_forward_hook(self._hook)
            for step, layer in zip(module.program.steps, module.layers, strict=True)
            if step.kernel == "router"
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(
        self, layer: nn.Module, inputs: tuple[Tensor], outputs: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The first dropped expert in the place of the last kept one where they nearly tie."""
        index, score = outputs
        assert isinstance(layer.weights, nn.ParameterList)
        weight, *bias = layer.weights
        logits = inputs[0] @ weight + sum(bias)
        top_k, experts = index.shape[-1], logits.shape[-1]
        self._choices += index[..., 0].numel()
        if top_k == experts:
            return outputs
        falling, order = logits.sort(dim=-1, descending=True, stable=True)
        gap = falling[..., top_k - 1] - falling[..., top_k]
        finite = logits.isfinite()
        square = torch.where(finite, logits, 0.0).square().sum(-1) / finite.sum(-1)
        # An expert that the task may not use has a logit of minus infinity: never a tie.
        tie = gap < self._limit * square.sqrt()
        self._ties += int(tie.sum())
        dropped_score = logits.softmax(-1).gather(-1, order[..., top_k : top_k + 1])[..., 0]
        index, score = index.clone(), score.clone()
        index[..., -1] = torch.where(tie, order[..., top_k], index[..., -1])
        score[..., -1] = torch.where(tie, dropped_score, score[..., -1])
        return index, score
