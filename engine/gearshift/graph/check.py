"""What every graph must satisfy, whether it is about to be written or was just read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gearshift.errors import ArtifactError
from gearshift.graph.brief import brief
from gearshift.graph.card import TaskKind
from gearshift.graph.graph import IMAGE, OUTPUT, TASK, TOKENS, Array, Attribute, Graph, Node
from gearshift.graph.shapes import (
    IMAGE_SHAPE,
    TASK_SHAPE,
    Shape,
    ShapeError,
    bank_size,
    output_shapes,
)
from gearshift.graph.vocabulary import OPERATORS, Operator

MOST_DECODERS = 30
"""Each decoder is nested one `If` deeper, and protobuf refuses to parse 100 levels of messages."""

MOST_EXPERTS = 1024
"""In one bank; bounds the work of writing the function for it."""

RESERVED_PREFIX = f"{OUTPUT}."
"""Names that begin with this are the file's own, for the choice of a decoder."""

_LARGEST_ATTRIBUTE = 2**31 - 1


def check_graph(graph: Graph) -> None:
    """Check all that the engine relies on.

    Known operators with the right inputs and attributes; every name defined once and before its
    use; float32 weights whose shapes fit together and which are all used; as many decoders as
    tasks (or none), each computing its task's channels at the image's size.

    Raises:
        ArtifactError: naming the node, weight or task, what it is and what it should be.
    """
    _check_tasks(graph)
    _check_weights(graph.weights)
    walk = _Walk(graph)
    embedding = graph.trunk[0] if graph.trunk else None
    if embedding is None or embedding.operator != "PatchEmbedding":
        raise ArtifactError("the graph does not begin with a PatchEmbedding node")
    values = walk.visit(graph.trunk, {IMAGE: IMAGE_SHAPE, TASK: TASK_SHAPE})
    _check_result(graph.trunk, TOKENS, "the trunk")
    patch_size = embedding.attributes["patch_size"]
    card = graph.card
    # Also bounds what a card of a few bytes can ask for.
    grid = graph.weights[embedding.inputs[4]].shape[2:]
    sizes = {"height": card.image_height, "width": card.image_width}
    for (side, size), patches in zip(sizes.items(), grid, strict=True):
        if size % patch_size:
            raise ArtifactError(
                f"the card's image_{side} {size} is not a multiple of patch_size {patch_size}"
            )
        if size != patches * patch_size:
            raise ArtifactError(
                f"the card's image_{side} is {size}, but the model has positions for "
                f"{patches} patches of {patch_size} along it: want {patches * patch_size}"
            )
    for task, decoder in zip(card.tasks, graph.decoders, strict=False):
        where = f"the decoder of task {brief(task.name)}"
        results = walk.visit(decoder, {IMAGE: IMAGE_SHAPE, TOKENS: values[TOKENS]})
        _check_result(decoder, OUTPUT, where)
        if results[OUTPUT] != ("N", task.channels, patch_size):
            raise ArtifactError(
                f"{where} computes {results[OUTPUT]} (images, channels, points a patch and side), "
                f"not {('N', task.channels, patch_size)} as channels and patch_size ask"
            )
    unused = sorted(graph.weights.keys() - walk.used_weights)
    if unused:
        raise ArtifactError(f"weight {brief(unused[0])} is used by no node ({len(unused)} such)")


def _check_tasks(graph: Graph) -> None:
    tasks = graph.card.tasks
    if len(graph.decoders) not in (0, len(tasks)):
        raise ArtifactError(
            f"{len(graph.decoders)} decoders for {len(tasks)} tasks; want one a task, or none"
        )
    if len(graph.decoders) > MOST_DECODERS:
        raise ArtifactError(
            f"{len(graph.decoders)} decoders; one file holds at most {MOST_DECODERS}"
        )
    for task in tasks:
        if (task.kind is TaskKind.TOKENS) == bool(graph.decoders):
            raise ArtifactError(
                f"task {brief(task.name)} is of kind {task.kind.value!r} in a model "
                f"{'with' if graph.decoders else 'without'} decoders; kind 'tokens' is for the rest"
            )


def _check_weights(weights: Mapping[str, Array]) -> None:
    for name, weight in weights.items():
        _check_name(name, "weight")
        if weight.dtype != np.float32:
            raise ArtifactError(f"weight {brief(name)} is {weight.dtype}, not float32")
        if weight.ndim == 0 or 0 in weight.shape:
            raise ArtifactError(
                f"weight {brief(name)} has shape {weight.shape}, which holds no tensor"
            )


def _check_name(name: str, thing: str) -> None:
    if not name or not name.isprintable() or name.startswith(RESERVED_PREFIX):
        raise ArtifactError(
            f"{thing} name {brief(name)} is empty, not printable, or begins with "
            f"{RESERVED_PREFIX!r}"
        )


def _check_result(nodes: Sequence[Node], value: str, where: str) -> None:
    if not nodes or nodes[-1].outputs != (value,):
        found = nodes[-1].outputs if nodes else ()
        raise ArtifactError(f"{where} ends in {brief(found)}, not in {value!r}")


class _Walk:
    """One pass over all nodes in order, collecting names and symbolic shapes."""

    def __init__(self, graph: Graph) -> None:
        self.weights = graph.weights
        self.known: dict[str, Attribute] = {"tasks": len(graph.card.tasks)}
        self.used_weights: set[str] = set()
        self.node_names: set[str] = set()
        self.value_names = {IMAGE, TASK}

    def visit(self, nodes: Sequence[Node], scope: Mapping[str, Shape]) -> dict[str, Shape]:
        """Shapes of all values after `nodes`, which see the values of `scope` and the weights."""
        values = dict(scope)
        for node in nodes:
            _check_name(node.name, "node")
            if node.name in self.node_names:
                raise ArtifactError(f"two nodes have the name {brief(node.name)}")
            self.node_names.add(node.name)
            operator = _check_signature(node)
            inputs = [self._shape(node, name, values) for name in node.inputs]
            try:
                shapes = output_shapes(node, inputs, self.known)
            except ShapeError as error:
                raise ArtifactError(f"{_title(node)}: {error}") from None
            self._check_numbers(node, operator, inputs)
            for name, shape in zip(node.outputs, shapes, strict=True):
                self._define(node, name, values)
                values[name] = shape
        return values

    def _shape(self, node: Node, name: str, values: Mapping[str, Shape]) -> Shape:
        if name in values:
            return values[name]
        if name in self.weights:
            self.used_weights.add(name)
            return self.weights[name].shape
        raise ArtifactError(
            f"{_title(node)} reads {brief(name)}, which is no weight and which no node before it "
            "in its branch computes (a cycle, a wrong order or a missing tensor)"
        )

    def _define(self, node: Node, name: str, values: Mapping[str, Shape]) -> None:
        _check_name(name, "value")
        # Each decoder has an `output` of its own; every other name is unique in the whole graph.
        taken = values if name == OUTPUT else self.value_names
        if name in taken or name in self.weights:
            raise ArtifactError(f"{_title(node)} computes {brief(name)}, which is already defined")
        self.value_names.add(name)

    def _check_numbers(self, node: Node, operator: Operator, inputs: Sequence[Shape]) -> None:
        """What the shapes' language cannot say: divisors, bounds, and one patch size for all."""
        sizes = dict(zip(operator.inputs, inputs, strict=False))
        attributes = node.attributes
        if "patch_size" in attributes:
            patch_size = self.known.setdefault("patch_size", attributes["patch_size"])
            if attributes["patch_size"] != patch_size:
                raise ArtifactError(
                    f"{_title(node)} has patch_size {attributes['patch_size']}; "
                    f"the patch embedding has {patch_size}"
                )
        if node.operator == "PatchEmbedding" and self.value_names != {IMAGE, TASK}:
            raise ArtifactError(f"{_title(node)} is a second patch embedding")
        if node.operator == "Attention":
            width, heads = sizes["x"][-1], attributes["heads"]
            if not isinstance(width, int) or width % heads:
                raise ArtifactError(f"{_title(node)}: width {width} is not {heads} equal heads")
        if node.operator == "ExpertMixture":
            bank = bank_size(node)
            same = self.known.setdefault("experts", bank)
            if bank != same or bank > MOST_EXPERTS:
                raise ArtifactError(
                    f"{_title(node)} has {bank} experts; want as many as the first bank's {same}, "
                    f"and at most {MOST_EXPERTS}"
                )
        if node.operator == "Router":
            routers, _, experts = sizes["weight"]
            if routers not in (1, self.known["tasks"]):
                raise ArtifactError(
                    f"{_title(node)} has {routers} routers for {self.known['tasks']} tasks; "
                    "want one, or one a task"
                )
            if isinstance(experts, int) and attributes["top_k"] > experts:
                raise ArtifactError(
                    f"{_title(node)}: top_k {attributes['top_k']} of only {experts} experts"
                )


def _check_signature(node: Node) -> Operator:
    """The node's operator, once its inputs and outputs are counted and its attributes checked."""
    operator = OPERATORS.get(node.operator)
    if operator is None:
        raise ArtifactError(
            f"{_title(node)}: unknown operator; known are {', '.join(sorted(OPERATORS))}"
        )
    extra = len(node.inputs) - len(operator.inputs)
    repeats = len(operator.repeated)
    if (extra <= 0 or extra % repeats) if repeats else extra:
        wanted = f"{len(operator.inputs)}" + (f" and {repeats} an expert" if repeats else "")
        raise ArtifactError(f"{_title(node)} has {len(node.inputs)} inputs, not {wanted}")
    if len(node.outputs) != len(operator.outputs):
        raise ArtifactError(
            f"{_title(node)} has {len(node.outputs)} outputs, not {len(operator.outputs)}"
        )
    if node.attributes.keys() != dict(operator.attributes).keys():
        raise ArtifactError(
            f"{_title(node)} has attributes {brief(sorted(node.attributes))}, "
            f"not {sorted(dict(operator.attributes))}"
        )
    for name, kind in operator.attributes:
        value = node.attributes[name]
        least = 1 if kind is int else 0
        if type(value) is not kind or not least <= value <= _LARGEST_ATTRIBUTE:
            raise ArtifactError(
                f"{_title(node)}: attribute {name} is {value!r}, "
                f"not a finite {kind.__name__} of at least {least}"
            )
    return operator


def _title(node: Node) -> str:
    return f"node {brief(node.name)} ({node.operator})"
