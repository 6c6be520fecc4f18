"""Graph x task -> program: one task's steps, shapes fixed, constants folded, the rest dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import prod
from numbers import Integral

from gearshift.buffers import plan_buffers
from gearshift.errors import InputError
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

    The graph is one that `gearshift.graph.check` accepts, as every artifact's is. Height and width
    default to the card's. Give the same `weights` for all programs of one graph, and they share
    every folded weight; the others are views of the graph's arrays in any case. Nothing is read
    but the routers' bias, whose row is left out when it is zero.

    Raises:
        InputError: unknown task, a batch below one, a size that patches cannot tile.
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
    if isinstance(task, Integral) and 0 <= task < len(names):
        return int(task)
    choice = ", ".join(names)
    # It may be an image, where the two were exchanged.
    given = repr(task) if isinstance(task, str | Integral) else f"of type {type(task).__name__}"
    raise InputError(f"model {graph.card.name} has no task {given}: choose from {choice}")


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

    def emit(
        self,
        node: Node,
        kernel: str,
        inputs: Sequence[str],
        outputs: Mapping[str, Shape],
        weights: Sequence[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
        macs: int = 0,
    ) -> None:
        for name, shape in outputs.items():
            self.shapes[name], self.dtypes[name] = shape, "float32"
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
            weights=self.store.select(tuple(name for step in self.steps for name in step.weights)),
            arena_bytes=arena_bytes,
        )


def _patch_embedding(builder: _Builder, node: Node) -> None:
    _, weight, bias, class_token, positions = node.inputs
    store = builder.store
    patch = int(node.attributes["patch_size"])
    batch, channels, height, width = builder.image
    _check_tiling("height", height, patch)
    _check_tiling("width", width, patch)
    rows, columns = grid = (height // patch, width // patch)
    dim = store.shape(weight)[0]
    table = store.fold(
        f"{node.name}.table@{rows}x{columns}",
        (1 + rows * columns, dim),
        lambda: embedding_table(store[class_token], store[positions], store[bias], grid),
    )
    builder.emit(
        node,
        "patch_embedding",
        [IMAGE],
        {node.outputs[0]: (batch, 1 + rows * columns, dim)},
        [weight, table],
        {"patch_size": patch},
        macs=batch * rows * columns * dim * channels * patch**2,
    )


def _check_tiling(axis: str, length: int, patch: int) -> None:
    if length >= patch and length % patch == 0:
        return
    below, above = length // patch * patch, (max(length, 0) // patch + 1) * patch
    nearest = f"{below} or {above}" if below > 0 else str(above)
    raise InputError(
        f"image {axis} {length} is not a multiple of the patch size {patch}: resize it to {nearest}"
    )


def _layer_normalization(builder: _Builder, node: Node) -> None:
    x, *weights = node.inputs
    output = {node.outputs[0]: builder.shape(x)}
    builder.emit(node, "layer_normalization", [x], output, weights, node.attributes)


def _attention(builder: _Builder, node: Node) -> None:
    x, *weights = node.inputs
    batch, tokens, dim = shape = builder.shape(x)
    macs = batch * tokens * dim * (4 * dim + 2 * tokens)
    output = {node.outputs[0]: shape}
    builder.emit(node, "attention", [x], output, weights, node.attributes, macs)


def _add(builder: _Builder, node: Node) -> None:
    builder.emit(node, "add", node.inputs, {node.outputs[0]: builder.shape(node.inputs[0])})


def _mlp(builder: _Builder, node: Node) -> None:
    x, *weights = node.inputs
    shape = builder.shape(x)
    macs = 2 * prod(shape) * builder.store.shape(weights[0])[0]
    builder.emit(node, "mlp", [x], {node.outputs[0]: shape}, weights, macs=macs)


def _router(builder: _Builder, node: Node) -> None:
    x, _, weight, bias = node.inputs
    store, task = builder.store, builder.task
    batch, tokens, dim = builder.shape(x)
    routers, _, experts = store.shape(weight)
    row = task if routers > 1 else 0
    weights = [store.view(f"{weight}[{row}]", store[weight][row])]
    if store[bias][task].any():
        weights.append(store.view(f"{bias}[{task}]", store[bias][task]))
    index, score = node.outputs
    chosen = (batch, tokens, int(node.attributes["top_k"]))
    macs = batch * tokens * dim * experts
    outputs = {index: chosen, score: chosen}
    builder.emit(node, "router", [x], outputs, weights, node.attributes, macs)
    builder.dtypes[index] = "int64"


def _expert_mixture(builder: _Builder, node: Node) -> None:
    values, weights = node.inputs[:3], node.inputs[3:]
    shape = builder.shape(values[0])
    top_k = builder.shape(values[1])[-1]
    builder.emit(
        node,
        "expert_mixture",
        values,
        {node.outputs[0]: shape},
        weights,
        {"experts": len(weights) // 4, "top_k": top_k},
        macs=2 * prod(shape) * top_k * builder.store.shape(weights[0])[0],
    )


def _feature_map(builder: _Builder, node: Node) -> None:
    patch = int(node.attributes["patch_size"])
    batch, _, dim = builder.shape(node.inputs[0])
    shape = (batch, dim, builder.image[2] // patch, builder.image[3] // patch)
    builder.emit(node, "feature_map", node.inputs[:1], {node.outputs[0]: shape})


def _upsample_conv(builder: _Builder, node: Node) -> None:
    x, weight = node.inputs[:2]
    batch, channels, height, width = builder.shape(x)
    scale = int(node.attributes["scale"])
    shape = (batch, builder.store.shape(weight)[0], scale * height, scale * width)
    folded = _folded_convolution(builder.store, node)
    macs = prod(shape) * channels * 9
    builder.emit(
        node, "upsample_conv", [x], {node.outputs[0]: shape}, folded, {"scale": scale}, macs
    )


def _folded_convolution(store: WeightStore, node: Node) -> list[str]:
    """Names of the weight and the bias that hold the convolution and its batch norm."""
    _, weight, bias, *norm = node.inputs

    @cache
    def folded() -> tuple[Floats, Floats]:
        scale, shift, mean, variance = (store[name] for name in norm)
        epsilon = float(node.attributes["epsilon"])
        return fold_batch_norm(store[weight], store[bias], (scale, shift, mean, variance), epsilon)

    return [
        store.fold(f"{weight}.folded", store.shape(weight), lambda: folded()[0]),
        store.fold(f"{bias}.folded", store.shape(bias), lambda: folded()[1]),
    ]


def _head(builder: _Builder, node: Node) -> None:
    x, *weights = node.inputs
    batch, channels, height, width = builder.shape(x)
    outputs = builder.store.shape(weights[0])[0]
    shape = (batch, outputs, 2 * height, 2 * width)
    macs = batch * height * width * channels * outputs
    builder.emit(node, "head", [x], {node.outputs[0]: shape}, weights, macs=macs)


def _resize_to_image(builder: _Builder, node: Node) -> None:
    x = node.inputs[0]
    shape = (*builder.shape(x)[:2], *builder.image[2:])
    if builder.shape(x) == shape:
        builder.same[node.outputs[0]] = builder.resolve(x)
    else:
        builder.emit(node, "resize_bilinear", [x], {node.outputs[0]: shape})


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
