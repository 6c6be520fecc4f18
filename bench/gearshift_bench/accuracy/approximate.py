"""The approximations of GELU and of the softmax's powers, in float32 on the CPU.

Backend `triton` computes them on a GPU. Here the same tables and polynomials stand in an otherwise
exact float32 run, so that their cost in accuracy is known where no GPU is. It says nothing about
time.
"""

from __future__ import annotations

from collections.abc import Collection
from math import log2

import numpy as np
import torch
from torch import Tensor

from gearshift.backends import Approximation
from gearshift.graph.graph import Graph
from gearshift.specialise import specialise
from gearshift_bench.accuracy.runners import Answer, Floats
from gearshift_hls.quantise import reference
from gearshift_hls.quantise.layers import Model, read_model
from gearshift_kernels.approximations import (
    EXP2_LEAST,
    GELU_RANGE,
    GELU_STEP,
    exp2_coefficients,
    gelu_deltas,
)

LOG2_E = log2(np.e)


class ApproximateRunner:
    """All tasks of one model, at any size."""

    def __init__(self, graph: Graph, approximate: Collection[Approximation]) -> None:
        exact = reference.EXACT
        self._graph = graph
        self._functions = reference.Functions(
            gelu if "gelu" in approximate else exact.gelu,
            attention if "softmax" in approximate else exact.attention,
        )
        self._models: dict[tuple[int, int, int], tuple[Model, int]] = {}

    def run(self, images: Floats, task: int) -> Answer:
        """See `Runner`."""
        height, width = images.shape[2:]
        key = task, height, width
        if key not in self._models:
            program = specialise(self._graph, task, 1, height, width)
            patch = next(s for s in program.steps if s.kernel == "patch_embedding")
            self._models[key] = read_model(program), int(patch.attributes["patch_size"])
        model, patch_size = self._models[key]
        with torch.inference_mode():
            tokens, chosen = reference.encode(model, torch.from_numpy(images), self._functions)
            output = tokens
            if model.decoder is not None:
                grid = height // patch_size, width // patch_size
                output = reference.decode(model.decoder, tokens, grid).permute(0, 3, 1, 2)
        routes = {router: experts.numpy() for router, experts in chosen.items()}
        return Answer(output.contiguous().numpy(), routes)


def gelu(x: Tensor) -> Tensor:
    """As `gearshift_kernels.approximations.gelu_table`, in float32."""
    deltas = torch.from_numpy(gelu_deltas())
    place = x.abs().clamp(max=GELU_RANGE) / GELU_STEP
    interval = place.long().clamp(max=len(deltas) - 2)
    before, after = deltas[interval], deltas[interval + 1]
    return x.clamp(min=0) - (before + (place - interval) * (after - before))


def exp2(x: Tensor) -> Tensor:
    """As `gearshift_kernels.approximations.exp2_polynomial`, in float32, for x up to 0."""
    bounded = x.clamp(min=EXP2_LEAST)
    integer = bounded.round()
    fraction = bounded - integer
    power = torch.zeros_like(x)
    for coefficient in reversed(exp2_coefficients().tolist()):
        power = power * fraction + coefficient
    return torch.where(x < EXP2_LEAST, 0.0, torch.ldexp(power, integer.int()))


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(head_dim^-0.5 Q K^T) V with powers from `exp2`, of (N, heads, T, head_dim) each."""
    scores = query @ key.mT * (query.shape[-1] ** -0.5 * LOG2_E)
    weights = exp2(scores - scores.amax(-1, keepdim=True))
    return (weights @ value) / weights.sum(-1, keepdim=True)
