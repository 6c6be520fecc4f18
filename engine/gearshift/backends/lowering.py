"""A program in terms of fused kernels: what goes with what, and where each value lives.

- A LayerNorm is never a step of its own when the router or a matrix product reads it: they
  normalise the residual stream as they load it, and the router leaves the normalised tokens for
  its experts.
- A sum goes into the product that gives its second term: the residual stream is updated in place.
- An expert mixture becomes expert queues, two grouped products and an ordered sum.

What the Triton and the native backend run. Pure data: no tensor is touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from gearshift.buffers import plan_buffers
from gearshift.graph.graph import Attribute
from gearshift.program import Program, Step, Value

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int32": 4}

Shape = tuple[int, ...]


class UnsupportedError(Exception):
    """The program holds something that no kernel here computes."""


@dataclass(frozen=True)
class Lowering:
    """The steps of a program as fused kernels.

    Kernels, their inputs -> outputs; weights; attributes:

    - `patch_embedding`: image -> tokens; product, table; patch_size
    - `linear`: x -> out; product, bias[, norm scale, norm bias]; gelu[, epsilon]
    - `linear_add`: residual, x -> out; the same
    - `attention`: qkv (N,T,3D) -> (N,T,D); heads
    - `layer_norm`: tokens (N,T,D) -> the same, or a map (N,h,w,D) without the class token;
      norm scale, norm bias; epsilon
    - `router`: tokens -> index, score, order, offsets, counts[, normalised]; router weight
      [, router bias][, norm scale, norm bias]; top_k, prune_scores[, epsilon]
    - `expert_fc1`: x, order, offsets -> hidden (N T K, H or more); mixture, top_k
    - `expert_fc2`: hidden, order, offsets, score, x -> answers (N T K, D); mixture
    - `combine`: answers -> tokens, or `combine_add`: residual, answers -> tokens; top_k
    - `upsample_conv`: map (N,h,w,C) -> map; product, bias; scale
    - `resize_bilinear`: map -> (N,C,H,W); channels_last: where the channels of the input stand

    A router's `counts` have one row a token: a kernel that counts by blocks of tokens uses fewer.
    """

    steps: tuple[Step, ...]
    values: Mapping[str, Value]
    """Value's dtype is one of `ITEM_BYTES`; offsets are into one arena, but for those `kept`."""
    kept: tuple[str, ...]
    """The offsets of the expert queues, by mixture: read after the run, so not in the arena."""
    arena_bytes: int


def lower(program: Program, dtype: str, row_bytes: int = 1) -> Lowering:
    """The fused steps of a program whose matrix products have operands of `dtype`.

    Rows of the experts' hidden values are padded to a multiple of `row_bytes`.

    Raises:
        UnsupportedError: an operator, or an order of operators, that has no kernel here.
    """
    builder = _Builder(program, dtype, row_bytes)
    for number, step in enumerate(program.steps):
        if number in builder.fused:
            continue
        rule = _RULES.get(step.kernel)
        if rule is None:
            raise UnsupportedError(f"step {step.name}: no kernel for {step.kernel} on its own")
        rule(builder, step)
    return builder.lowering()


@dataclass(frozen=True)
class _Norm:
    """A LayerNorm that waits for its readers."""

    source: str
    weights: tuple[str, ...]
    epsilon: Attribute


class _Builder:
    """A lowering under construction."""

    def __init__(self, program: Program, dtype: str, row_bytes: int) -> None:
        self.program = program
        self.dtype = dtype
        self.row_bytes = row_bytes
        self.steps: list[Step] = []
        self.values: dict[str, Value] = {}
        self.kept: list[str] = []
        self.norms: dict[str, _Norm] = {}
        self.fused: set[int] = set()
        """Numbers of the program's steps that an earlier one has taken in."""
        self.readers = Counter(name for step in program.steps for name in step.inputs)
        self.value(program.input, program.values[program.input].shape, "float32")

    def value(self, name: str, shape: Shape, dtype: str) -> str:
        self.values[name] = Value(name, shape, dtype, 0)
        return name

    def emit(
        self,
        step: Step,
        kernel: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        weights: Sequence[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        for name in inputs:
            if name not in self.values:
                raise UnsupportedError(f"step {step.name} reads {name}, which is not in memory")
        place = (tuple(inputs), tuple(outputs), tuple(weights), dict(attributes or {}))
        self.steps.append(Step(kernel, f"{step.name}.{kernel}", *place, macs=0, weight_bytes=0))

    def normed(self, name: str) -> tuple[str, tuple[str, ...], dict[str, Attribute]]:
        """What a product that normalises on its own reads: source, norm weights, attributes."""
        norm = self.norms.get(name)
        if norm is None or name in self.values:
            return name, (), {}
        return norm.source, norm.weights, {"epsilon": norm.epsilon}

    def in_memory(self, step: Step, name: str) -> str:
        """`name` itself, normalised into memory if it still waits for that."""
        if name in self.norms and name not in self.values:
            norm = self.norms[name]
            self.value(name, self.program.values[name].shape, self.dtype)
            attributes = {"epsilon": norm.epsilon}
            self.emit(step, "layer_norm", [norm.source], [name], norm.weights, attributes)
        return name

    def finish(
        self,
        step: Step,
        kernel: str,
        x: str,
        weights: Sequence[str],
        attributes: Mapping[str, Attribute],
    ) -> None:
        """Emit the last kernel of `step`, with the sum that reads its result if there is one."""
        (output,) = step.outputs
        shape = self.program.values[output].shape
        residual, inputs = self.take_sum(output), [x]
        if residual is not None:
            output, stream = residual
            kernel, inputs = f"{kernel}_add", [stream, x]
        self.value(output, shape, "float32")
        self.emit(step, kernel, inputs, [output], weights, attributes)

    def take_sum(self, term: str) -> tuple[str, str] | None:
        """The result and the other term of the sum that alone reads `term`; it becomes fused."""
        if self.readers[term] != 1 or term == self.program.output:
            return None
        for number, step in enumerate(self.program.steps):
            if step.kernel == "add" and term in step.inputs:
                (other,) = (name for name in step.inputs if name != term)
                if other in self.values and self.values[other].dtype == "float32":
                    self.fused.add(number)
                    return step.outputs[0], other
        return None

    def lowering(self) -> Lowering:
        placed = {name: value for name, value in self.values.items() if name not in self.kept}
        sizes = {name: prod(v.shape) * ITEM_BYTES[v.dtype] for name, v in placed.items()}
        steps = [
            replace(step, outputs=tuple(name for name in step.outputs if name in placed),
                    inputs=tuple(name for name in step.inputs if name in placed))
            for step in self.steps
        ]  # fmt: skip
        offsets, arena = plan_buffers(sizes, steps, self.program.input, self.program.output)
        values = {
            name: replace(value, offset=offsets.get(name, 0)) for name, value in self.values.items()
        }
        return Lowering(tuple(self.steps), values, tuple(self.kept), arena)


def _patch_embedding(builder: _Builder, step: Step) -> None:
    (output,) = step.outputs
    builder.value(output, builder.program.values[output].shape, "float32")
    builder.emit(step, step.kernel, step.inputs, step.outputs, step.weights, step.attributes)


def _layer_normalization(builder: _Builder, step: Step) -> None:
    norm = _Norm(step.inputs[0], step.weights, step.attributes["epsilon"])
    builder.norms[step.outputs[0]] = norm
    if step.outputs[0] == builder.program.output:
        raise UnsupportedError(f"step {step.name}: the output is a layer normalisation")


def _attention(builder: _Builder, step: Step) -> None:
    qkv_weight, qkv_bias, proj_weight, proj_bias = step.weights
    source, norm, attributes = builder.normed(step.inputs[0])
    batch, tokens, width = builder.program.values[step.inputs[0]].shape
    qkv = builder.value(f"{step.name}.qkv", (batch, tokens, 3 * width), builder.dtype)
    mixed = builder.value(f"{step.name}.mixed", (batch, tokens, width), builder.dtype)
    weights = (qkv_weight, qkv_bias, *norm)
    builder.emit(step, "linear", [source], [qkv], weights, {"gelu": 0, **attributes})
    builder.emit(step, "attention", [qkv], [mixed], (), {"heads": step.attributes["heads"]})
    builder.finish(step, "linear", mixed, (proj_weight, proj_bias), {"gelu": 0})


def _mlp(builder: _Builder, step: Step) -> None:
    fc1_weight, fc1_bias, fc2_weight, fc2_bias = step.weights
    source, norm, attributes = builder.normed(step.inputs[0])
    batch, tokens, _ = builder.program.values[step.inputs[0]].shape
    width = builder.program.weights[fc1_weight].shape[0]
    hidden = builder.value(f"{step.name}.hidden", (batch, tokens, width), builder.dtype)
    weights = (fc1_weight, fc1_bias, *norm)
    builder.emit(step, "linear", [source], [hidden], weights, {"gelu": 1, **attributes})
    builder.finish(step, "linear", hidden, (fc2_weight, fc2_bias), {"gelu": 0})


def _router(builder: _Builder, step: Step) -> None:
    x, (index, score) = step.inputs[0], step.outputs
    source, norm, attributes = builder.normed(x)
    batch, tokens, top_k = builder.program.values[index].shape
    experts = builder.program.weights[step.weights[0]].shape[1]
    choices = batch * tokens * top_k
    outputs = [
        builder.value(index, (batch, tokens, top_k), "int32"),
        builder.value(score, (batch, tokens, top_k), "float32"),
        builder.value(f"{index}.order", (choices,), "int32"),
        builder.value(f"{index}.offsets", (experts + 1,), "int32"),
        builder.value(f"{index}.counts", (batch * tokens, experts), "int32"),
    ]
    readers = [other for other in builder.program.steps if x in other.inputs]
    if norm and any(other.kernel == "expert_mixture" for other in readers):
        outputs.append(builder.value(x, (batch, tokens, _width(builder, x)), builder.dtype))
    attributes = {**step.attributes, **attributes}
    builder.emit(step, "router", [source], outputs, (*step.weights, *norm), attributes)


def _width(builder: _Builder, tokens: str) -> int:
    return builder.program.values[tokens].shape[-1]


def _expert_mixture(builder: _Builder, step: Step) -> None:
    x, index, score = step.inputs
    x = builder.in_memory(step, x)
    hidden_width = builder.program.weights[step.weights[0]].shape[0]
    batch, tokens, top_k = builder.program.values[index].shape
    choices = batch * tokens * top_k
    row = -(-hidden_width * ITEM_BYTES[builder.dtype] // builder.row_bytes) * builder.row_bytes
    padded = row // ITEM_BYTES[builder.dtype]
    hidden = builder.value(f"{step.name}.hidden", (choices, padded), builder.dtype)
    answers = builder.value(f"{step.name}.answers", (choices, _width(builder, x)), "float32")
    order, offsets = f"{index}.order", f"{index}.offsets"
    builder.kept.append(offsets)
    # The experts' weights are named so that a reader knows the bank; slots hold them.
    chosen: dict[str, Attribute] = {"top_k": top_k}
    builder.emit(step, "expert_fc1", [x, order, offsets], [hidden], step.weights, chosen)
    # x stays until the end: experts that are moved in finish one by one.
    inputs = [hidden, order, offsets, score, x]
    builder.emit(step, "expert_fc2", inputs, [answers], step.weights, chosen)
    builder.finish(step, "combine", answers, (), chosen)


def _feature_map(builder: _Builder, step: Step) -> None:
    norm = builder.norms.get(step.inputs[0])
    if norm is None:
        raise UnsupportedError(f"step {step.name}: its input is not a layer normalisation")
    output = _map(builder, step, builder.dtype)
    builder.emit(
        step, "layer_norm", [norm.source], [output], norm.weights, {"epsilon": norm.epsilon}
    )


def _map(builder: _Builder, step: Step, dtype: str) -> str:
    """The step's output as a map with its channels last."""
    (output,) = step.outputs
    batch, channels, height, width = builder.program.values[output].shape
    return builder.value(output, (batch, height, width, channels), dtype)


def _upsample_conv(builder: _Builder, step: Step) -> None:
    scale = step.attributes["scale"]
    if scale not in (1, 2):
        raise UnsupportedError(f"step {step.name}: no kernel enlarges by {scale}, only by 1 or 2")
    output = _map(builder, step, builder.dtype)
    builder.emit(step, step.kernel, step.inputs, [output], step.weights, step.attributes)


def _head(builder: _Builder, step: Step) -> None:
    """1x1 convolution over the pixels, then twice as large; float32 from here on."""
    (output,) = step.outputs
    batch, channels, height, width = shape = builder.program.values[output].shape
    small = (batch, height // 2, width // 2, channels)
    pixels = builder.value(f"{step.name}.pixels", small, "float32")
    builder.emit(step, "linear", step.inputs, [pixels], step.weights, {"gelu": 0})
    builder.value(output, shape, "float32")
    builder.emit(step, "resize_bilinear", [pixels], [output], (), {"channels_last": 1})


def _resize_bilinear(builder: _Builder, step: Step) -> None:
    (output,) = step.outputs
    builder.value(output, builder.program.values[output].shape, "float32")
    builder.emit(step, step.kernel, step.inputs, [output], (), {"channels_last": 0})


_RULES: dict[str, Callable[[_Builder, Step], None]] = {
    "patch_embedding": _patch_embedding,
    "layer_normalization": _layer_normalization,
    "attention": _attention,
    "mlp": _mlp,
    "router": _router,
    "expert_mixture": _expert_mixture,
    "feature_map": _feature_map,
    "upsample_conv": _upsample_conv,
    "head": _head,
    "resize_bilinear": _resize_bilinear,
}
