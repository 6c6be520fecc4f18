"""A program's native calls: every fused step bound to its place in memory and to its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import Array, addressof
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from gearshift.backends import Precision
from gearshift.backends.lowering import Lowering, UnsupportedError, lower
from gearshift.backends.native_weights import (
    Block,
    Placed,
    convolution_block,
    expert_block,
    linear_block,
    norm_block,
    patch_block,
    router_block,
    table_block,
)
from gearshift.program import Program, Step, Value
from gearshift_kernels.native import structures
from gearshift_kernels.native.pack import LINE, aligned
from gearshift_kernels.native.structures import BFLOAT16, FLOAT32, INT8, Expert

PRECISIONS: Mapping[Precision, int] = {"float32": FLOAT32, "bfloat16": BFLOAT16, "int8": INT8}

DTYPES: Mapping[str, type[np.generic]] = {
    "float32": np.float32,
    "bfloat16": np.uint16,
    "int32": np.int32,
}
"""numpy has no bfloat16: its bits stand in uint16."""


@dataclass(frozen=True)
class BoundCall:
    """One kernel of a run."""

    node: str
    """The graph node whose time it is."""
    arguments: structures.Arguments
    precision: int
    mixture: str | None = None
    """The expert mixture, if this call computes its experts."""


@dataclass(frozen=True)
class Mixture:
    """The experts of one expert mixture."""

    experts: tuple[Block, ...]
    hidden: int
    width: int
    bank: Array[Expert]
    """What the kernel reads: where each expert's weights are."""
    offsets: NDArray[np.int32]
    """(experts + 1): where each expert's queue begins, and the number of choices."""

    def place(self, expert: int, address: int) -> None:
        """Tell the kernel where an expert's block is."""
        self.bank[expert] = Placed(self.experts[expert], address).expert(self.hidden, self.width)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Of each expert, in the last run of the router."""
        # Not numpy's diff, which takes a tenth of a millisecond right after a run.
        return tuple(end - begin for begin, end in pairwise(self.offsets.tolist()))


def lower_native(program: Program, precision: Precision) -> Lowering:
    """The fused steps as the native kernels want them.

    Raises:
        UnsupportedError: a part of the program that no kernel computes.
    """
    operand = "float32" if precision == "float32" else "bfloat16"
    lowering = lower(program, operand, row_bytes=LINE)
    for step in lowering.steps:
        if step.kernel == "expert_fc1" and lowering.values[step.inputs[0]].dtype != operand:
            node = step.name.removesuffix(".expert_fc1")
            raise UnsupportedError(f"step {node}: its input is not a layer normalisation")
    return lowering


class Plan:
    """What one program needs, and its calls once that has a place.

    `lowering` is what `lower_native` makes of the program in the same precision.
    """

    def __init__(self, program: Program, lowering: Lowering, precision: Precision) -> None:
        self.lowering = lowering
        self._program = program
        self._precision = PRECISIONS[precision]
        # In int8 only linear layers and experts are int8.
        self._narrow = BFLOAT16 if precision == "int8" else self._precision
        self._arena = 0
        self.blocks: dict[str, Block] = {}
        """By key, what every run reads; the experts are in `mixtures`."""
        self.mixtures = {
            step.name: self._mixture(step)
            for step in program.steps
            if step.kernel == "expert_mixture"
        }
        self._address: Callable[[Block], int] = self._note
        self._bind()

    @property
    def expert_blocks(self) -> list[Block]:
        """All experts of all mixtures."""
        return [block for mixture in self.mixtures.values() for block in mixture.experts]

    def bind(self, arena: int, address: Callable[[Block], int]) -> list[BoundCall]:
        """The calls of a run, in order, with values in the arena at this address."""
        self._arena, self._address = arena, address
        return self._bind()

    def _bind(self) -> list[BoundCall]:
        return [call for step in self.lowering.steps if (call := _KERNELS[step.kernel](self, step))]

    def _note(self, block: Block) -> int:
        self.blocks[block.key] = block
        return 0

    def _mixture(self, step: Step) -> Mixture:
        names, weights = step.weights, self._program.weights
        experts = tuple(
            expert_block(names[i : i + 4], weights, self._precision)
            for i in range(0, len(names), 4)
        )
        hidden, width = weights[names[0]].shape
        offsets = aligned(len(experts) + 1, np.int32)
        offsets[:] = 0
        return Mixture(experts, hidden, width, (Expert * len(experts))(), offsets)

    def value(self, name: str) -> Value:
        """A value by name."""
        return self.lowering.values[name]

    def pointer(self, name: str) -> int:
        """Where a value is."""
        if name in self.lowering.kept:
            return self._queues(name).offsets.ctypes.data
        return self._arena + self.value(name).offset

    def _queues(self, offsets: str) -> Mixture:
        """The mixture whose queues begin at the value `offsets`."""
        for step in self._program.steps:
            if step.kernel == "expert_mixture" and offsets == f"{step.inputs[1]}.offsets":
                return self.mixtures[step.name]
        raise KeyError(offsets)

    def place(self, block: Block) -> Placed:
        """A block where it is."""
        return Placed(block, self._address(block))

    def call(self, step: Step, arguments: structures.Arguments, precision: int) -> BoundCall:
        """A kernel of a step's node."""
        return BoundCall(step.name.removesuffix(f".{step.kernel}"), arguments, precision)

    def patch_embedding(self, step: Step) -> BoundCall:
        (image,), (out,) = step.inputs, step.outputs
        images, channels, height, width = self.value(image).shape
        _, tokens, outputs = self.value(out).shape
        size = int(step.attributes["patch_size"])
        inputs = channels * size**2
        name, table_name = step.weights
        weights = self._program.weights
        # A table is of one image size; the weight, a block of its own, serves all sizes.
        matrix = patch_block(name, weights, outputs, inputs, self._narrow)
        table = table_block(table_name, weights, (tokens, outputs))
        arguments = structures.PatchEmbedding(
            self.place(matrix).weight("weight", outputs, inputs),
            self.pointer(image),
            self.place(table).pointer("table"),
            self.pointer(out),
            images,
            height,
            width,
            size,
        )
        return self.call(step, arguments, self._narrow)

    def linear(self, step: Step) -> BoundCall:
        *residual, x = step.inputs
        (out,) = step.outputs
        *rows, inputs = self.value(x).shape
        outputs = self.value(out).shape[-1]
        precision = self._product_precision(step.weights[0])
        block = linear_block(step.weights, self._program.weights, outputs, inputs, precision)
        placed = self.place(block)
        arguments = structures.Linear(
            placed.weight("weight", outputs, inputs),
            placed.norm(float(step.attributes.get("epsilon", 0))),
            self.pointer(x),
            placed.pointer("bias"),
            self.pointer(residual[0]) if residual else 0,
            self.pointer(out),
            prod(rows),
            inputs,
            outputs,
            self.value(x).dtype == "float32",
            self.value(out).dtype == "float32",
            int(step.attributes["gelu"]),
        )
        return self.call(step, arguments, precision)

    def _product_precision(self, name: str) -> int:
        """Convolutions, of which a head is one, are not computed in int8."""
        is_convolution = self._program.weights[name].ndim == 4
        return self._narrow if is_convolution else self._precision

    def attention(self, step: Step) -> BoundCall:
        (qkv,), (out,) = step.inputs, step.outputs
        images, tokens, width = self.value(out).shape
        heads = int(step.attributes["heads"])
        arguments = structures.Attention(
            self.pointer(qkv), self.pointer(out), images, tokens, heads, width // heads
        )
        return self.call(step, arguments, self._narrow)

    def layer_norm(self, step: Step) -> BoundCall:
        (x,), (out,) = step.inputs, step.outputs
        images, tokens, columns = self.value(x).shape
        block = norm_block(step.weights, self._program.weights, columns)
        arguments = structures.LayerNorm(
            self.place(block).norm(float(step.attributes["epsilon"])),
            self.pointer(x),
            self.pointer(out),
            images,
            tokens,
            columns,
            len(self.value(out).shape) == 4,  # a map has no class token
            self.value(out).dtype == "float32",
        )
        return self.call(step, arguments, self._precision)

    def router(self, step: Step) -> BoundCall:
        (x,) = step.inputs
        index, score, order, offsets, _counts, *normalised = step.outputs
        *rows, columns = self.value(x).shape
        experts = self.value(offsets).shape[0] - 1
        has_norm = "epsilon" in step.attributes
        names, weights = step.weights, self._program.weights
        placed = self.place(router_block(names, weights, columns, experts, has_norm))
        arguments = structures.Router(
            placed.norm(float(step.attributes.get("epsilon", 0))),
            self.pointer(x),
            placed.pointer("weight"),
            placed.pointer("bias"),
            float(step.attributes["prune_scores"]),
            self.pointer(index),
            self.pointer(score),
            self.pointer(order),
            self.pointer(offsets),
            self.pointer(normalised[0]) if normalised else 0,
            prod(rows),
            columns,
            experts,
            int(step.attributes["top_k"]),
        )
        return self.call(step, arguments, self._precision)

    def expert_fc1(self, step: Step) -> None:
        """Nothing: one kernel computes both products of an expert, in the place of the second."""

    def expert_fc2(self, step: Step) -> BoundCall:
        hidden, order, offsets, score, x = step.inputs
        (answers,) = step.outputs
        mixture = self._queues(offsets)
        arguments = structures.Experts(
            addressof(mixture.bank),
            0,
            self.pointer(x),
            self.pointer(order),
            self.pointer(offsets),
            self.pointer(score),
            self.pointer(hidden),
            self.pointer(answers),
            len(mixture.experts),
            0,
            int(step.attributes["top_k"]),
            mixture.width,
        )
        node = step.name.removesuffix(".expert_fc2")
        return BoundCall(node, arguments, self._precision, node)

    def combine(self, step: Step) -> BoundCall:
        *residual, answers = step.inputs
        (out,) = step.outputs
        *rows, columns = self.value(out).shape
        arguments = structures.Combine(
            self.pointer(answers),
            self.pointer(residual[0]) if residual else 0,
            self.pointer(out),
            prod(rows),
            int(step.attributes["top_k"]),
            columns,
        )
        return self.call(step, arguments, self._precision)

    def upsample_conv(self, step: Step) -> BoundCall:
        (x,), (out,) = step.inputs, step.outputs
        images, height, width, inputs = self.value(x).shape
        outputs = self.value(out).shape[-1]
        precision = self._narrow
        block = convolution_block(step.weights, self._program.weights, outputs, inputs, precision)
        placed = self.place(block)
        arguments = structures.Convolution(
            placed.pointer("panels"),
            placed.pointer("bias"),
            self.pointer(x),
            self.pointer(out),
            images,
            height,
            width,
            inputs,
            outputs,
            int(step.attributes["scale"]),
        )
        return self.call(step, arguments, precision)

    def resize_bilinear(self, step: Step) -> BoundCall:
        (x,), (out,) = step.inputs, step.outputs
        channels_last = int(step.attributes["channels_last"])
        images, *size = self.value(x).shape
        height, width, channels = size if channels_last else (*size[1:], size[0])
        arguments = structures.Resize(
            self.pointer(x),
            self.pointer(out),
            images,
            channels,
            height,
            width,
            *self.value(out).shape[2:],
            channels_last,
        )
        return self.call(step, arguments, FLOAT32)


_KERNELS: Mapping[str, Callable[[Plan, Step], BoundCall | None]] = {
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
