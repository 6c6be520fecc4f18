"""A program's launches: every GPU step bound to its place in memory and to its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gearshift.backends import Approximation, Precision
from gearshift.backends.lowering import Lowering, lower
from gearshift.backends.torch_arena import Arena
from gearshift.backends.triton_weights import (
    CONVOLUTION,
    MATRIX,
    ExpertPool,
    Layout,
    TritonWeights,
)
from gearshift.program import Program, Step, Value
from gearshift_kernels.approximations import gelu_deltas
from gearshift_kernels.triton.attention import attention
from gearshift_kernels.triton.experts import ExpertBank, combine, expert_fc1, expert_fc2
from gearshift_kernels.triton.launch import Device, Launch
from gearshift_kernels.triton.linear import linear
from gearshift_kernels.triton.norm import Norm, layer_norm
from gearshift_kernels.triton.patch_embedding import patch_embedding
from gearshift_kernels.triton.quantise import Weight
from gearshift_kernels.triton.resize import resize_bilinear
from gearshift_kernels.triton.router import router, router_blocks
from gearshift_kernels.triton.upsample_conv import upsample_conv

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int32": torch.int32,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Memory:
    """Where values and weights are."""

    arena: Arena
    weights: TritonWeights
    pool: ExpertPool | None
    """None for a model without experts."""


@dataclass(frozen=True)
class Move:
    """An expert that must come from host memory before the launches that follow."""

    row: int
    """Of the pool's host memory."""
    slot: int
    """Where it goes."""
    launches: tuple[Launch, ...]


Action = Launch | Move


def plan_launches(
    program: Program,
    target: str,
    precision: Precision = "bfloat16",
    approximate: frozenset[Approximation] = frozenset(),
) -> list[Launch]:
    """The launches of one run on `target`, planned on tensors without data: no GPU is needed.

    All experts are resident. Reads no weights but those that specialising reads.

    Raises:
        UnsupportedError: a part of the program that no kernel computes.
    """
    place = torch.device("meta")
    weights = TritonWeights(place, precision)
    pool = open_pool(program, place, precision, budget=None)
    plan = Plan(program, Device(target), Memory(Arena(place), weights, pool), approximate)
    return [launch for launch in plan.actions if isinstance(launch, Launch)]


def open_pool(
    program: Program, place: torch.device, precision: Precision, budget: int | None
) -> ExpertPool | None:
    """The pool that holds the experts of a program's model, which all its tasks share."""
    banks = {step.name: step.weights for step in program.steps if step.kernel == "expert_mixture"}
    if not banks:
        return None
    return ExpertPool(place, precision, banks, program.weights, budget)


class Plan:
    """The launches of one program in order, and where its input and output are."""

    def __init__(
        self,
        program: Program,
        device: Device,
        memory: Memory,
        approximate: frozenset[Approximation] = frozenset(),
    ) -> None:
        self.lowering: Lowering = lower(program, NAMES[memory.weights.dtype])
        self.actions: list[Action] = []
        self._program = program
        self._device = device
        self._memory = memory
        self._approximate_exp = "softmax" in approximate
        self._deltas = None
        if "gelu" in approximate:
            self._deltas = memory.weights.exact("gelu_deltas", gelu_deltas())
        self._read: dict[str, int] = {}
        self._moves = 0
        values = self.lowering.values
        sizes = [values[name].shape[0] for name in self.lowering.kept]
        # One tensor, so that one copy reads all of them; rows that stand aligned.
        shape = len(sizes), -(-max(sizes, default=0) // 16) * 16
        self._kept = torch.zeros(shape, dtype=torch.int32, device=memory.weights.place)
        self._offsets = {
            name: row[:size]
            for name, row, size in zip(self.lowering.kept, self._kept, sizes, strict=True)
        }
        self.mixtures = [step for step in program.steps if step.kernel == "expert_mixture"]
        self._tensors = {name: self._place(value) for name, value in values.items()}
        self.input, self.output = self._tensors[program.input], self._tensors[program.output]
        for step in self.lowering.steps:
            self.actions += _KERNELS[step.kernel](self, step)

    def tokens_per_expert(self) -> dict[str, tuple[int, ...]]:
        """By mixture, the lengths of its expert queues in the last run; waits for the device."""
        queues = self._kept.diff(dim=1).tolist()
        return {
            mixture.name: tuple(lengths[: len(mixture.weights) // 4])
            for mixture, lengths in zip(self.mixtures, queues, strict=True)
        }

    @property
    def dense_bytes(self) -> int:
        """Bytes of the weights that every run reads."""
        return sum(self._read.values())

    def _place(self, value: Value) -> Tensor:
        if value.name in self._offsets:
            return self._offsets[value.name]
        return self._memory.arena.tensor(value.offset, value.shape, DTYPES[value.dtype])

    def tensors(self, names: tuple[str, ...]) -> list[Tensor]:
        """Values in their shapes."""
        return [self._tensors[name] for name in names]

    def rows(self, names: tuple[str, ...]) -> list[Tensor]:
        """Values as matrices: everything but the last axis is a row."""
        return [tensor.view(-1, tensor.shape[-1]) for tensor in self.tensors(names)]

    def exact(self, name: str) -> Tensor:
        """A weight in float32."""
        weight = self._memory.weights.exact(name, self._program.weights[name])
        self._read[name] = weight.nbytes
        return weight

    def product(self, name: str, layout: Layout) -> Weight:
        """A weight in the precision of the products."""
        weight = self._memory.weights.product(name, self._program.weights[name], layout)
        self._read[name] = weight.nbytes
        return weight

    def norm(self, step: Step) -> Norm | None:
        """The LayerNorm that a step takes in: its last two weights."""
        if "epsilon" not in step.attributes:
            return None
        scale, bias = step.weights[-2:]
        return Norm(self.exact(scale), self.exact(bias), float(step.attributes["epsilon"]))

    def patch_embedding(self, step: Step) -> list[Action]:
        (image,), (out,) = self.tensors(step.inputs), self.tensors(step.outputs)
        name, table = step.weights
        weight = self.product(name, MATRIX)
        size = int(step.attributes["patch_size"])
        return [
            patch_embedding(self._device, image, weight, self.exact(table), out, patch_size=size)
        ]

    def linear(self, step: Step) -> list[Action]:
        *residual, x = self.rows(step.inputs)
        (out,) = self.rows(step.outputs)
        name, bias = step.weights[:2]
        return [
            linear(
                self._device,
                x,
                self.product(name, MATRIX),
                out,
                bias=self.exact(bias),
                norm=self.norm(step),
                gelu=bool(step.attributes["gelu"]),
                gelu_deltas=self._deltas,
                residual=residual[0] if residual else None,
            )
        ]

    def attention(self, step: Step) -> list[Action]:
        (qkv,), (out,) = self.tensors(step.inputs), self.tensors(step.outputs)
        batch, tokens, width = out.shape
        heads = int(step.attributes["heads"])
        query, key, value = (
            part.transpose(1, 2)
            for part in qkv.view(batch, tokens, 3, heads, width // heads).unbind(2)
        )
        mixed = out.view(batch, tokens, heads, width // heads).transpose(1, 2)
        return [
            attention(self._device, query, key, value, mixed, approximate=self._approximate_exp)
        ]

    def layer_norm(self, step: Step) -> list[Action]:
        (x,), (out,) = self.tensors(step.inputs), self.tensors(step.outputs)
        norm = self.norm(step)
        assert norm is not None
        if out.ndim == 4:
            x, out = x[:, 1:], out.flatten(1, 2)
        return [layer_norm(self._device, x, norm, out)]

    def router(self, step: Step) -> list[Action]:
        (x,) = self.rows(step.inputs)
        index, score, *rest = self.tensors(step.outputs)
        order, offsets, counts, *normalised = rest
        norm = self.norm(step)
        weight, *bias = step.weights[: len(step.weights) - (2 if norm else 0)]
        top_k = int(step.attributes["top_k"])
        return list(
            router(
                self._device,
                x,
                self.exact(weight),
                top_k=top_k,
                prune_scores=float(step.attributes["prune_scores"]),
                index=index.view(-1, top_k),
                score=score.view(-1, top_k),
                order=order,
                offsets=offsets,
                counts=counts[: router_blocks(self._device, len(x))],
                bias=self.exact(bias[0]) if bias else None,
                norm=norm,
                normalised=normalised[0].view(x.shape) if normalised else None,
            )
        )

    def expert_fc1(self, step: Step) -> list[Action]:
        """Nothing yet: both products of an expert run one after the other, once its weights are
        there, so that a slot is free again as early as possible."""
        return []

    def expert_fc2(self, step: Step) -> list[Action]:
        hidden, order, offsets, score, x = self.tensors(step.inputs)
        (answers,) = self.tensors(step.outputs)
        top_k = int(step.attributes["top_k"])
        x, score = x.view(-1, x.shape[-1]), score.view(-1, top_k)
        bank, resident, moves = self._residency(step)

        def launches(start: int, count: int) -> tuple[Launch, ...]:
            part = {"first": start, "count": count}
            return (
                expert_fc1(
                    self._device, x, bank, order, offsets, hidden,
                    top_k=top_k, gelu_deltas=self._deltas, **part,
                ),
                expert_fc2(self._device, hidden, bank, order, offsets, score, answers, **part),
            )  # fmt: skip

        actions: list[Action] = list(launches(0, resident)) if resident else []
        for expert, row, slot in moves:
            actions.append(Move(row, slot, launches(expert, 1)))
        return actions

    def _residency(self, step: Step) -> tuple[ExpertBank, int, list[tuple[int, int, int]]]:
        """The bank of a mixture, how many of its experts are resident, and expert, row and slot
        of those that must be moved in."""
        pool = self._memory.pool
        assert pool is not None
        mixture = next(m for m in self.mixtures if m.weights == step.weights)
        experts, resident = len(step.weights) // 4, pool.residency.resident[mixture.name]
        slots = np.arange(experts, dtype=np.int32) + pool.first[mixture.name]
        moves = []
        for expert in self._reachable(mixture, range(resident, experts)):
            slot = pool.residency.slots - 1 - self._moves % 2
            row = pool.first_waiting[mixture.name] + expert - resident
            slots[expert] = slot
            moves.append((expert, row, slot))
            self._moves += 1
        place = self._memory.weights.place
        slot_tensor = torch.from_numpy(slots).to(place)
        return pool.bank(slot_tensor), resident, moves

    def _reachable(self, mixture: Step, experts: range) -> list[int]:
        """Those that this task's router may choose: a bias of minus infinity shuts one out.

        All of them when fewer than top_k are open, since then even a shut one is chosen.
        """
        (router_step,) = (step for step in self._program.steps if mixture.inputs[1] in step.outputs)
        if len(router_step.weights) == 1:
            return list(experts)
        is_open = np.isfinite(self._program.weights[router_step.weights[1]])
        if is_open.sum() < router_step.attributes["top_k"]:
            return list(experts)
        return [expert for expert in experts if is_open[expert]]

    def combine(self, step: Step) -> list[Action]:
        *residual, _ = self.rows(step.inputs)
        answers = self._tensors[step.inputs[-1]]
        (out,) = self.rows(step.outputs)
        top_k = int(step.attributes["top_k"])
        stream = residual[0] if residual else None
        return [combine(self._device, answers, out, top_k=top_k, residual=stream)]

    def upsample_conv(self, step: Step) -> list[Action]:
        (x,), (out,) = self.tensors(step.inputs), self.tensors(step.outputs)
        name, bias = step.weights
        scale = int(step.attributes["scale"])
        weight = self.product(name, CONVOLUTION[scale])
        return [upsample_conv(self._device, x, weight, self.exact(bias), out, scale=scale)]

    def resize_bilinear(self, step: Step) -> list[Action]:
        (x,), (out,) = self.tensors(step.inputs), self.tensors(step.outputs)
        pixels = x if step.attributes["channels_last"] else x.permute(0, 2, 3, 1)
        return [resize_bilinear(self._device, pixels, out)]


_KERNELS: Mapping[str, Callable[[Plan, Step], list[Action]]] = {
    "patch_embedding": Plan.patch_embedding,
    "linear": Plan.linear,
    "linear_add": Plan.linear,
    "attention": Plan.attention,
    "layer_norm": Plan.layer_norm,
    "router": Plan.router,
    "expert_fc1": Plan.expert_fc1,
    "expert_fc2": Plan.expert_fc2,
    "combine": Plan.combine,
    "combine_add": Plan.combine,
    "upsample_conv": Plan.upsample_conv,
    "resize_bilinear": Plan.resize_bilinear,
}
