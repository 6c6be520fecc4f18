"""Graph x task -> program: one task's steps, shapes fixed, constants folded, the rest dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import prod

from gearshift.buffers import plan_buffers
from gearshift.errors import ArtifactError, InputError
from gearshift.graph.graph import IMAGE, OUTPUT, TOKENS, Attribute, Graph, Node
from gearshift.program import ITEM_BYTES, Program, Step, Value
from gearshift.weights import Floats, WeightStore, embedding_table, fold_batch_norm

Shape = tuple[int, ...]


def specialise(
    graph: Graph,
    task: int | str,
    batch: int = 1,
    height: int | None = None,
    width: int | None = None,
    weights: WeightStore | None = None,
) -> Program:
    """The program of `task` (name or index) for `batch` images of `height` x `width` pixels.

    Height and width default to the card's. Give the same `weights` for all programs of one graph,
    and they share every folded weight; the rest are views of the graph's arrays in any case.

    Raises:
        InputError: unknown task, a batch below one, a size that patches cannot tile.
        ArtifactError: weights whose shapes do not fit together.
    """
    index = task_index(graph, task)
    size = (
        graph.card.image_height if height is None else height,
        graph.card.image_width if width is None else width,
    )
    if batch < 1:
        raise InputError(f"batch of {batch} images: give at least one")
    builder = _Builder(graph, index, (batch, 3, *size), weights or WeightStore(graph.weights))
    for node in graph.nodes(index):
        _RULES[node.operator](builder, node)
    return builder.program(OUTPUT if graph.decoders else TOKENS)


def task_index(graph: Graph, task: int | str) -> int:
    """The position of a task, given by name or by position, in the card.

    Raises:
        InputError: there is no such task; the message lists the names.
    """
    names = [card.name for card in graph.card.tasks]
    if isinstance(task, str) and task in names:
        return names.index(task)
    if not isinstance(task, str) and 0 <= task < len(names):
        return int(task)
    raise InputError(f"model {graph.card.name} has no task {task!r}: choose from {', '.join(names)}")


class _Builder:
    """A program under construction."""

    def __init__(self, graph: Graph, task: int, image: Shape, store: WeightStore) -> None:
        self.graph = graph
        self.task = task
        self.image = image
        self.store = store
        self.shapes: dict[str, Shape] = {IMAGE: image}
        self.dtypes: dict[str, str] = {IMAGE: "float32"}
        self.steps: list[Step] = []
        self.same: dict[str, str] = {}
        """Values of the graph that are another value under a second name."""

    def resolve(self, name: str) -> str:
        return self.same.get(name, name)

    def shape(self, name: str) -> Shape:
        return self.shapes[self.resolve(name)]

    def expect(self, node: Node, weight: str, shape: Shape) -> None:
        """Raise ArtifactError unless the weight has this shape."""
        found = self.store.shape(weight)
        if found != shape:
            raise ArtifactError(
                f"weight {weight} of node {node.name} has shape {found}, expected {shape}; "
                "export the model again"
            )

    def emit(
        self,
        node: Node,
        kernel: str,
        inputs: Sequence[str],
        outputs: Mapping[str, tuple[Shape, str]],
        weights: Sequence[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
        macs: int = 0,
    ) -> None:
        for name, (shape, dtype) in outputs.items():
            self.shapes[name], self.dtypes[name] = shape, dtype
        self.steps.append(
            Step(
                kernel,
                node.name,
                tuple(self.resolve(name) for name in inputs),
                tuple(outputs),
                tuple(weights),
                dict(attributes or {}),
                macs,
                sum(prod(self.store.shape(name)) for name in weights) * ITEM_BYTES["float32"],
            )
        )

    def program(self, output: str) -> Program:
        output = self.resolve(output)
        sizes = {
            name: prod(shape) * ITEM_BYTES[self.dtypes[name]] for name, shape in self.shapes.items()
        }
        offsets, arena_bytes = plan_buffers(sizes, self.steps, IMAGE, output)
        return Program(
            model=self.graph.card.name,
            task=self.task,
            task_card=self.graph.card.tasks[self.task],
            input=IMAGE,
            output=output,
            values={
                name: Value(name, shape, self.dtypes[name], offsets[name])
                for name, shape in self.shapes.items()
            },
            steps=tuple(self.steps),
            weights=self.store.select(
                tuple(name for step in self.steps for name in step.weights)
            ),
            arena_bytes=arena_bytes,
        )


def _patch_embedding(builder: _Builder, node: Node) -> None:
    _, weight, bias, class_token, positions = node.inputs
    patch = int(node.attributes["patch_size"])
    batch, channels, height, width = builder.image
    for axis, length in (("height", height), ("width", width)):
        if length < patch or length % patch:
            below, above = max(length // patch, 1) * patch, (length // patch + 1) * patch
            nearest = f"{below} or {above}" if length > patch else str(patch)
            raise InputError(
                f"image {axis} {length} is not a multiple of the patch size {patch}: "
                f"resize it to {nearest}"
            )
    dim = builder.store.shape(weight)[0]
    rows, columns = grid = (height // patch, width // patch)
    builder.expect(node, weight, (dim, channels, patch, patch))
    builder.expect(node, bias, (dim,))
    builder.expect(node, class_token, (1, 1, dim))
    builder.expect(node, positions, (1, dim, *builder.store.shape(positions)[2:]))
    store = builder.store
    table = store.fold(
        f"{node.name}.table@{rows}x{columns}",
        (1 + rows * columns, dim),
        lambda: embedding_table(store[class_token], store[positions], store[bias], grid),
    )
    builder.emit(
        node,
        "patch_embedding",
        [IMAGE],
        {node.outputs[0]: ((batch, 1 + rows * columns, dim), "float32")},
        [weight, table],
        {"patch_size": patch},
        macs=batch * rows * columns * dim * channels * patch**2,
    )


def _layer_normalization(builder: _Builder, node: Node) -> None:
    x, *weights = node.inputs
    shape = builder.shape(x)
    for weight in weights:
        builder.expect(node, weight, shape[-1:])
    output = {node.outputs[0]: (shape, "float32")}
    builder.emit(node, "layer_normalization", [x], output, weights, node.attributes)


def _attention(builder: _Builder, node: Node) -> None:
    x, *weights = node.inputs
    batch, tokens, dim = shape = builder.shape(x)
    for weight, expected in zip(
        weights, ((3 * dim, dim), (3 * dim,), (dim, dim), (dim,)), strict=True
    ):
        builder.expect(node, weight, expected)
    heads = node.attributes["heads"]
    if heads < 1 or dim % heads:
        raise ArtifactError(f"node {node.name}: width {dim} does not divide into {heads} heads")
    macs = batch * tokens * dim * (4 * dim + 2 * tokens)
    output = {node.outputs[0]: (shape, "float32")}
    builder.emit(node, "attention", [x], output, weights, node.attributes, macs)


def _add(builder: _Builder, node: Node) -> None:
    first, second = (builder.shape(name) for name in node.inputs)
    if first != second:
        raise ArtifactError(f"node {node.name} adds shapes {first} and {second}")
    builder.emit(node, "add", node.inputs, {node.outputs[0]: (first, "float32")})


def _expect_mlp(builder: _Builder, node: Node, weights: Sequence[str], dim: int) -> int:
    """Check fc1_weight, fc1_bias, fc2_weight, fc2_bias; the hidden width."""
    hidden = builder.store.shape(weights[0])[0]
    for weight, expected in zip(
        weights, ((hidden, dim), (hidden,), (dim, hidden), (dim,)), strict=True
    ):
        builder.expect(node, weight, expected)
    return hidden


def _mlp(builder: _Builder, node: Node) -> None:
    x, *weights = node.inputs
    batch, tokens, dim = shape = builder.shape(x)
    hidden = _expect_mlp(builder, node, weights, dim)
    output = {node.outputs[0]: (shape, "float32")}
    builder.emit(node, "mlp", [x], output, weights, macs=2 * batch * tokens * dim * hidden)


def _router(builder: _Builder, node: Node) -> None:
    x, _, weight, bias = node.inputs
    batch, tokens, dim = builder.shape(x)
    store, task = builder.store, builder.task
    routers, _, experts = store.shape(weight)
    tasks = len(builder.graph.card.tasks)
    if routers not in (1, tasks):
        raise ArtifactError(f"node {node.name} has {routers} routers for {tasks} tasks")
    builder.expect(node, weight, (routers, dim, experts))
    builder.expect(node, bias, (tasks, experts))
    top_k = int(node.attributes["top_k"])
    if not 1 <= top_k <= experts:
        raise ArtifactError(f"node {node.name}: top_k {top_k} of {experts} experts")
    row = task if routers > 1 else 0
    weights = [store.view(f"{weight}[{row}]", store[weight][row])]
    if store[bias][task].any():
        weights.append(store.view(f"{bias}[{task}]", store[bias][task]))
    index, score = node.outputs
    chosen = (batch, tokens, top_k)
    builder.emit(
        node,
        "router",
        [x],
        {index: (chosen, "int64"), score: (chosen, "float32")},
        weights,
        node.attributes,
        macs=batch * tokens * dim * experts,
    )


def _expert_mixture(builder: _Builder, node: Node) -> None:
    values, weights = node.inputs[:3], node.inputs[3:]
    batch, tokens, dim = shape = builder.shape(values[0])
    top_k = builder.shape(values[1])[-1]
    experts, rest = divmod(len(weights), 4)
    if rest or not experts:
        raise ArtifactError(f"node {node.name} has {len(weights)} weights, expected 4 an expert")
    hidden = {
        _expect_mlp(builder, node, weights[4 * expert : 4 * expert + 4], dim)
        for expert in range(experts)
    }
    if len(hidden) > 1:
        raise ArtifactError(f"node {node.name} has experts of different widths {sorted(hidden)}")
    builder.emit(
        node,
        "expert_mixture",
        values,
        {node.outputs[0]: (shape, "float32")},
        weights,
        {"experts": experts, "top_k": top_k},
        macs=2 * batch * tokens * top_k * dim * hidden.pop(),
    )


def _feature_map(builder: _Builder, node: Node) -> None:
    patch = int(node.attributes["patch_size"])
    batch, _, dim = builder.shape(node.inputs[0])
    shape = (batch, dim, builder.image[2] // patch, builder.image[3] // patch)
    builder.emit(node, "feature_map", node.inputs[:1], {node.outputs[0]: (shape, "float32")})


def _upsample_conv(builder: _Builder, node: Node) -> None:
    x, weight, bias, *norm = node.inputs
    batch, channels, height, width = builder.shape(x)
    outputs = builder.store.shape(weight)[0]
    builder.expect(node, weight, (outputs, channels, 3, 3))
    for vector in (bias, *norm):
        builder.expect(node, vector, (outputs,))
    scale = int(node.attributes["scale"])
    shape = (batch, outputs, scale * height, scale * width)
    builder.emit(
        node,
        "upsample_conv",
        [x],
        {node.outputs[0]: (shape, "float32")},
        _folded_convolution(builder.store, node),
        {"scale": scale},
        macs=prod(shape) * channels * 9,
    )


def _folded_convolution(store: WeightStore, node: Node) -> list[str]:
    """Names of the weight and bias that hold the convolution and its batch norm."""
    _, weight, bias, *norm = node.inputs

    @cache
    def folded() -> tuple[Floats, Floats]:
        scale, shift, mean, variance = (store[name] for name in norm)
        epsilon = float(node.attributes["epsilon"])
        return fold_batch_norm(store[weight], store[bias], (scale, shift, mean, variance), epsilon)

    return [
        store.fold(f"{name}.folded", store.shape(name), lambda part=part: folded()[part])
        for part, name in enumerate((weight, bias))
    ]


def _head(builder: _Builder, node: Node) -> None:
    x, weight, bias = node.inputs
    batch, channels, height, width = builder.shape(x)
    outputs = builder.store.shape(weight)[0]
    builder.expect(node, weight, (outputs, channels, 1, 1))
    builder.expect(node, bias, (outputs,))
    shape = (batch, outputs, 2 * height, 2 * width)
    macs = batch * height * width * channels * outputs
    output = {node.outputs[0]: (shape, "float32")}
    builder.emit(node, "head", [x], output, [weight, bias], macs=macs)


def _resize_to_image(builder: _Builder, node: Node) -> None:
    x = builder.resolve(node.inputs[0])
    shape = (*builder.shape(x)[:2], *builder.image[2:])
    if builder.shape(x) == shape:
        builder.same[node.outputs[0]] = x
    else:
        builder.emit(node, "resize_bilinear", [x], {node.outputs[0]: (shape, "float32")})


_RULES: dict[str, Callable[[_Builder, Node], None]] = {
    "PatchEmbedding": _patch_embedding,
    "LayerNormalization": _layer_normalization,
    "Attention": _attention,
    "Add": _add,
    "Mlp": _mlp,
    "Router": _router,
    "ExpertMixture": _expert_mixture,
    "FeatureMap": _feature_map,
    "UpsampleConv": _upsample_conv,
    "Head": _head,
    "ResizeToImage": _resize_to_image,
}
