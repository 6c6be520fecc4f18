"""A program as a plain ONNX graph: one task, static shapes, batch norm folded, no functions.

What a runtime is given that does not know gearshift. There are several ways to write an attention
and a mixture of experts; runtimes differ in which they run fastest, so that each is offered all.
Left out is onnxruntime's `MoE` operator: float32 only, GELU in the tanh form, and slower than the
sorted queues.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, get_args

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from gearshift.graph.graph import Array
from gearshift.program import Program, Step

OPSET = 20
IR_VERSION = 10
CONTRIB = "com.microsoft"

AttentionForm = Literal["primitive", "multi_head", "fused"]
"""MatMul and Softmax; onnxruntime's `MultiHeadAttention`; its `Attention`, which makes Q, K, V."""
MixtureForm = Literal["sort", "dense"]
"""Tokens sorted into one queue an expert; or all experts on all tokens as two large products, the
scores of those that were not chosen being zero."""


@dataclass(frozen=True)
class Form:
    """One way to write the graph."""

    attention: AttentionForm
    mixture: MixtureForm

    def __str__(self) -> str:
        return f"{self.mixture}, {self.attention} attention"


STANDARD_FORMS = tuple(Form("primitive", mixture) for mixture in get_args(MixtureForm))
"""With standard operators only."""
CONTRIB_FORMS = tuple(
    Form(attention, mixture)
    for attention in get_args(AttentionForm)
    for mixture in get_args(MixtureForm)
)
"""With onnxruntime's own operators as well."""


def onnx_model(program: Program, form: Form) -> ModelProto:
    """The graph of a program: float32 image (N,3,H,W) -> the program's output.

    The names of a step's nodes and values begin with the step's name and a slash.
    """
    writer = _Writer(program, form)
    for step in program.steps:
        writer.write(step)
    image = program.values[program.input].shape
    result = program.values[program.output].shape
    graph = helper.make_graph(
        writer.nodes,
        f"{program.model}.{program.task_card.name}",
        [helper.make_tensor_value_info(program.input, TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(writer.result(), TensorProto.FLOAT, result)],
        writer.constants,
    )
    domains = [helper.make_opsetid("", OPSET)]
    if form.attention != "primitive":
        domains.append(helper.make_opsetid(CONTRIB, 1))
    return helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION)


class _Writer:
    """A graph under construction. Tokens are rows of a matrix, as products like them best."""

    def __init__(self, program: Program, form: Form) -> None:
        self.program = program
        self.form = form
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.values = {program.input: program.input}
        """The graph's name of each of the program's values."""
        self.step = program.steps[0]

    def write(self, step: Step) -> None:
        self.step = step
        inputs = [self.values[name] for name in step.inputs]
        outputs = _RULES[step.kernel](self, *inputs)
        self.values.update(zip(step.outputs, outputs, strict=True))

    def result(self) -> str:
        """The program's output in its shape."""
        output = self.program.values[self.program.output]
        value = self.values[output.name]
        if len(output.shape) == 4:
            return value
        return self.op("Reshape", value, self.shape_constant(*output.shape))

    def ops(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: int,
        domain: str = "",
        **attributes: Any,
    ) -> list[str]:
        """A node of the current step; the names of its outputs."""
        name = f"{self.step.name}/{operator}_{len(self.nodes)}"
        names = [f"{name}:{number}" for number in range(outputs)]
        self.nodes.append(
            helper.make_node(operator, inputs, names, name=name, domain=domain, **attributes)
        )
        return names

    def op(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        (name,) = self.ops(operator, inputs, 1, domain, **attributes)
        return name

    def constant(self, array: Array | np.float32) -> str:
        name = f"{self.step.name}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def shape_constant(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def array(self, place: int) -> Array:
        """A weight of the current step."""
        return np.asarray(self.program.weights[self.step.weights[place]])

    def weight(self, place: int) -> str:
        return self.constant(self.array(place))

    def attribute(self, name: str) -> int:
        return int(self.step.attributes[name])

    def shape(self, place: int = 0) -> tuple[int, ...]:
        """The shape of an input of the current step, as the program has it."""
        return self.program.values[self.step.inputs[place]].shape

    def output_shape(self) -> tuple[int, ...]:
        return self.program.values[self.step.outputs[0]].shape

    def linear(self, rows: str, weight: str, bias: str) -> str:
        return self.op("Gemm", rows, weight, bias, transB=1)

    def gelu(self, x: str) -> str:
        return self.op("Gelu", x, approximate="none")


Outputs = tuple[str, ...]


def _patch_embedding(writer: _Writer, image: str) -> Outputs:
    patch = writer.attribute("patch_size")
    batch, tokens, width = writer.output_shape()
    table = writer.array(1)
    maps = writer.op("Conv", image, writer.weight(0), kernel_shape=[patch] * 2, strides=[patch] * 2)
    flat = writer.op("Reshape", maps, writer.shape_constant(batch, width, tokens - 1))
    patches = writer.op("Transpose", flat, perm=[0, 2, 1])
    placed = writer.op("Add", patches, writer.constant(table[None, 1:]))
    class_tokens = np.broadcast_to(table[None, :1], (batch, 1, width))
    joined = writer.op("Concat", writer.constant(class_tokens), placed, axis=1)
    return (writer.op("Reshape", joined, writer.shape_constant(batch * tokens, width)),)


def _layer_normalization(writer: _Writer, x: str) -> Outputs:
    epsilon = float(writer.step.attributes["epsilon"])
    scale, bias = writer.weight(0), writer.weight(1)
    return (writer.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon),)


def _attention(writer: _Writer, x: str) -> Outputs:
    mixed = _ATTENTIONS[writer.form.attention](writer, x)
    return (writer.linear(mixed, writer.weight(2), writer.weight(3)),)


def _primitive_attention(writer: _Writer, x: str) -> str:
    batch, tokens, width = writer.shape()
    heads = writer.attribute("heads")
    head_dim = width // heads
    qkv = writer.linear(x, writer.weight(0), writer.weight(1))
    split = writer.op("Reshape", qkv, writer.shape_constant(batch, tokens, 3, heads, head_dim))
    by_head = writer.op("Transpose", split, perm=[2, 0, 3, 1, 4])
    first = writer.shape_constant(0)
    query, key, value = (
        writer.op("Squeeze", one, first)
        for one in writer.ops("Split", [by_head], 3, axis=0, num_outputs=3)
    )
    scaled = writer.op("Mul", query, writer.constant(np.float32(head_dim**-0.5)))
    logits = writer.op("MatMul", scaled, writer.op("Transpose", key, perm=[0, 1, 3, 2]))
    mixed = writer.op("MatMul", writer.op("Softmax", logits, axis=-1), value)
    together = writer.op("Transpose", mixed, perm=[0, 2, 1, 3])
    return writer.op("Reshape", together, writer.shape_constant(batch * tokens, width))


def _multi_head_attention(writer: _Writer, x: str) -> str:
    batch, tokens, width = writer.shape()
    qkv = writer.linear(x, writer.weight(0), writer.weight(1))
    rows = writer.op("Reshape", qkv, writer.shape_constant(batch, tokens, 3 * width))
    each = writer.ops("Split", [rows], 3, axis=-1, num_outputs=3)
    heads = writer.attribute("heads")
    mixed = writer.op("MultiHeadAttention", *each, domain=CONTRIB, num_heads=heads)
    return writer.op("Reshape", mixed, writer.shape_constant(batch * tokens, width))


def _fused_attention(writer: _Writer, x: str) -> str:
    batch, tokens, width = writer.shape()
    rows = writer.op("Reshape", x, writer.shape_constant(batch, tokens, width))
    weight = writer.constant(writer.array(0).T)
    heads = writer.attribute("heads")
    mixed = writer.op("Attention", rows, weight, writer.weight(1), domain=CONTRIB, num_heads=heads)
    return writer.op("Reshape", mixed, writer.shape_constant(batch * tokens, width))


_ATTENTIONS: dict[str, Callable[[_Writer, str], str]] = {
    "primitive": _primitive_attention,
    "multi_head": _multi_head_attention,
    "fused": _fused_attention,
}


def _add(writer: _Writer, a: str, b: str) -> Outputs:
    return (writer.op("Add", a, b),)


def _mlp(writer: _Writer, x: str) -> Outputs:
    hidden = writer.gelu(writer.linear(x, writer.weight(0), writer.weight(1)))
    return (writer.linear(hidden, writer.weight(2), writer.weight(3)),)


def _router(writer: _Writer, x: str) -> Outputs:
    logits = writer.op("MatMul", x, writer.weight(0))
    if len(writer.step.weights) > 1:
        logits = writer.op("Add", logits, writer.weight(1))
    scores = writer.op("Softmax", logits, axis=-1)
    top_k = writer.shape_constant(writer.attribute("top_k"))
    kept, index = writer.ops("TopK", [scores, top_k], 2, axis=-1)
    threshold = np.float32(writer.step.attributes["prune_scores"])
    if threshold > 0:
        above = writer.op("Greater", kept, writer.constant(threshold))
        kept = writer.op("Where", above, kept, writer.constant(np.float32(0)))
    return index, kept


def _expert_mixture(writer: _Writer, x: str, index: str, score: str) -> Outputs:
    return (_MIXTURES[writer.form.mixture](writer, x, index, score),)


def _sorted_mixture(writer: _Writer, x: str, index: str, score: str) -> str:
    """Each expert's own tokens, gathered into one matrix, split, and back in token order."""
    batch, tokens, width = writer.shape()
    experts, top_k = writer.attribute("experts"), writer.attribute("top_k")
    rows = batch * tokens
    count, last = writer.shape_constant(rows * top_k), writer.shape_constant(1)
    choices = writer.op("Reshape", index, count)
    _, order = writer.ops("TopK", [choices, count], 2, axis=0, largest=0, sorted=1)
    row = writer.op("Div", order, writer.shape_constant(top_k))
    all_experts = writer.constant(np.arange(experts, dtype=np.int64)[None])
    is_chosen = writer.op("Equal", writer.op("Unsqueeze", choices, last), all_experts)
    as_numbers = writer.op("Cast", is_chosen, to=TensorProto.INT64)
    lengths = writer.op("ReduceSum", as_numbers, writer.shape_constant(0), keepdims=0)
    gathered = writer.op("Gather", x, row, axis=0)
    queues = writer.ops("Split", [gathered, lengths], experts, axis=0)
    answers = []
    for expert, queue in enumerate(queues):
        fc1, bias1, fc2, bias2 = (writer.weight(4 * expert + part) for part in range(4))
        answers.append(writer.linear(writer.gelu(writer.linear(queue, fc1, bias1)), fc2, bias2))
    together = writer.op("Concat", *answers, axis=0)
    places = writer.constant(np.arange(rows * top_k, dtype=np.int64))
    place = writer.op("ScatterElements", places, order, places, axis=0)
    by_choice = writer.op("Gather", together, place, axis=0)
    by_row = writer.op("Reshape", by_choice, writer.shape_constant(rows, top_k, width))
    shares = writer.op("Unsqueeze", score, writer.shape_constant(2))
    return writer.op("ReduceSum", writer.op("Mul", by_row, shares), last, keepdims=0)


def _dense_mixture(writer: _Writer, x: str, index: str, score: str) -> str:
    """sum_e s_e (W2_e gelu(W1_e x + b1_e) + b2_e) as one product each of all W1, W2 and b2."""
    experts, rows = writer.attribute("experts"), prod(writer.shape()[:-1])
    fc1, bias1, fc2, bias2 = (
        [writer.array(4 * expert + part) for expert in range(experts)] for part in range(4)
    )
    hidden_width = len(bias1[0])
    none = writer.constant(np.zeros((rows, experts), np.float32))
    scores = writer.op("ScatterElements", none, index, score, axis=1)
    first = writer.constant(np.concatenate(fc1))
    hidden = writer.gelu(writer.linear(x, first, writer.constant(np.concatenate(bias1))))
    by_expert = writer.op("Reshape", hidden, writer.shape_constant(rows, experts, hidden_width))
    shares = writer.op("Unsqueeze", scores, writer.shape_constant(2))
    weighted = writer.op("Mul", by_expert, shares)
    flat = writer.op("Reshape", weighted, writer.shape_constant(rows, experts * hidden_width))
    second = writer.constant(np.concatenate(fc2, axis=1).T)
    bias = writer.op("MatMul", scores, writer.constant(np.stack(bias2)))
    return writer.op("Add", writer.op("MatMul", flat, second), bias)


_MIXTURES: dict[str, Callable[[_Writer, str, str, str], str]] = {
    "sort": _sorted_mixture,
    "dense": _dense_mixture,
}


def _feature_map(writer: _Writer, x: str) -> Outputs:
    batch, width, height, columns = writer.output_shape()
    rows = writer.op("Reshape", x, writer.shape_constant(*writer.shape()))
    ends = (writer.shape_constant(number) for number in (1, writer.shape()[1], 1))
    patches = writer.op("Slice", rows, *ends)
    flat = writer.op("Transpose", patches, perm=[0, 2, 1])
    return (writer.op("Reshape", flat, writer.shape_constant(batch, width, height, columns)),)


def _upsample_conv(writer: _Writer, x: str) -> Outputs:
    if writer.attribute("scale") != 1:
        x = _resize(writer, x)
    weight, bias = writer.weight(0), writer.weight(1)
    convolved = writer.op("Conv", x, weight, bias, kernel_shape=[3, 3], pads=[1] * 4)
    return (writer.op("Relu", convolved),)


def _head(writer: _Writer, x: str) -> Outputs:
    return (_resize(writer, writer.op("Conv", x, writer.weight(0), writer.weight(1))),)


def _resize_bilinear(writer: _Writer, x: str) -> Outputs:
    return (_resize(writer, x),)


def _resize(writer: _Writer, x: str) -> str:
    """To the height and width of the step's output; as factors where they are whole numbers."""
    before, after = writer.shape()[2:], writer.output_shape()[2:]
    sizes = list(zip(before, after, strict=True))
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if any(new % old for old, new in sizes):
        shape = writer.shape_constant(*writer.shape()[:2], *after)
        return writer.op("Resize", x, "", "", shape, **how)
    factors = np.array([1.0, 1.0, *(new / old for old, new in sizes)], np.float32)
    return writer.op("Resize", x, "", writer.constant(factors), **how)


_RULES: dict[str, Callable[..., Outputs]] = {
    "patch_embedding": _patch_embedding,
    "layer_normalization": _layer_normalization,
    "attention": _attention,
    "add": _add,
    "mlp": _mlp,
    "router": _router,
    "expert_mixture": _expert_mixture,
    "feature_map": _feature_map,
    "upsample_conv": _upsample_conv,
    "head": _head,
    "resize_bilinear": _resize_bilinear,
}
