"""ONNX model to nodes and tensor extents; trusts nothing, and gives messages before verdicts.

What is read here is turned back into a model by `to_proto` and compared (`compare_models`), so
that a file can hold nothing besides: this module only has to find the graph, and to speak
clearly about the faults that a reader can do something about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import Message
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

from gearshift.errors import ArtifactError
from gearshift.graph.brief import brief
from gearshift.graph.graph import OUTPUT, TOKENS, Attribute, Node
from gearshift.graph.layout import Extent, lay_out
from gearshift.graph.proto import IR_VERSION, OPSETS, decoder_result, external_data
from gearshift.graph.vocabulary import DOMAIN, OPERATORS

MOST_DIMENSIONS = 4
"""Of a weight; more would only serve to make the product of the dimensions slow."""

Decoders = tuple[tuple[Node, ...], ...]


def check_versions(model: ModelProto) -> None:
    """Raises ArtifactError: not the ONNX versions in which gearshift writes."""
    if model.ir_version != IR_VERSION:
        raise ArtifactError(f"ONNX ir_version is {model.ir_version}, not {IR_VERSION}")
    opsets = {_text(opset.domain, "opset"): opset.version for opset in model.opset_import}
    if opsets != OPSETS:
        raise ArtifactError(f"operator sets are {brief(opsets)}, not {OPSETS}")


def read_nodes(model: ModelProto, tasks: int) -> tuple[tuple[Node, ...], Decoders]:
    """Trunk and decoders. Raises ArtifactError: an unknown operator, or no trunk is found."""
    nodes = model.graph.node
    ends = [i for i, node in enumerate(nodes) if list(node.output) == [TOKENS]]
    if not ends:
        raise ArtifactError(f"no node computes {TOKENS!r}, the end of the trunk")
    trunk = tuple(_node(node) for node in nodes[: ends[0] + 1])
    rest = nodes[ends[0] + 1 :]
    return trunk, _decoders(rest, tasks) if rest else ()


def _decoders(nodes: Sequence[NodeProto], tasks: int) -> Decoders:
    """Follow the chain of `If` nodes, which stand last in their branch."""
    decoders: list[tuple[Node, ...]] = []
    while nodes and nodes[-1].op_type == "If":
        branches = {attribute.name: attribute.g.node for attribute in nodes[-1].attribute}
        if set(branches) != {"then_branch", "else_branch"}:
            raise ArtifactError(
                f"node {brief(nodes[-1].name)} (If) has attributes {brief([*branches])}, "
                "not then_branch and else_branch"
            )
        result = decoder_result(len(decoders))
        decoders.append(_decoder(branches["then_branch"], result))
        nodes = branches["else_branch"]
    last_result = decoder_result(len(decoders)) if decoders else OUTPUT
    decoders.append(_decoder(nodes, last_result))
    if len(decoders) != tasks:
        raise ArtifactError(f"{len(decoders)} decoders, but the card has {tasks} tasks")
    return tuple(decoders)


def _decoder(nodes: Iterable[NodeProto], result: str) -> tuple[Node, ...]:
    return tuple(
        Node(
            node.operator,
            node.name,
            node.inputs,
            tuple(OUTPUT if name == result else name for name in node.outputs),
            node.attributes,
        )
        for node in map(_node, nodes)
    )


def _node(proto: NodeProto) -> Node:
    name = _text(proto.name, "node name")
    operator = OPERATORS.get(proto.op_type)
    domain = _text(proto.domain, "domain")
    if operator is None or domain != ("" if operator.standard else DOMAIN):
        raise ArtifactError(
            f"node {brief(name)} has the unknown operator "
            f"{brief(f'{domain}.{proto.op_type}')} (domain and name)"
        )
    return Node(
        proto.op_type,
        name,
        tuple(_text(value, f"input of node {brief(name)}") for value in proto.input),
        tuple(_text(value, f"output of node {brief(name)}") for value in proto.output),
        {
            _text(attribute.name, f"attribute of node {brief(name)}"): _attribute(attribute, name)
            for attribute in proto.attribute
        },
    )


def _attribute(proto: AttributeProto, node: str) -> Attribute:
    if proto.type == AttributeProto.INT:
        return proto.i
    if proto.type == AttributeProto.FLOAT:
        # The shortest decimal of the float32: 1e-6 comes back as it went in.
        return float(str(np.float32(proto.f)))
    raise ArtifactError(
        f"attribute {brief(proto.name)} of node {brief(node)} is of ONNX type {proto.type}; "
        "want one whole number or one float"
    )


def read_extents(
    tensors: Sequence[TensorProto],
) -> tuple[dict[str, tuple[int, ...]], dict[str, Extent]]:
    """Shape of every weight, and its bytes in the weights' file; in the file's order.

    A weight's place follows from the shapes before it, so one comparison refuses offsets that
    are negative, unaligned, past the end or overlapping, and lengths that do not fit the shape.

    Raises:
        ArtifactError: naming the weight and what is wrong with it.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for tensor in tensors:
        name = _text(tensor.name, "weight name")
        if name in shapes:
            raise ArtifactError(f"two weights have the name {brief(name)}")
        if tensor.data_type != TensorProto.FLOAT:
            raise ArtifactError(
                f"weight {brief(name)} has ONNX data type {tensor.data_type}, "
                f"not {TensorProto.FLOAT} (float32)"
            )
        shapes[name] = tuple(tensor.dims)
        if not 1 <= len(tensor.dims) <= MOST_DIMENSIONS or min(tensor.dims) < 1:
            raise ArtifactError(
                f"weight {brief(name)} has the impossible shape {brief(shapes[name])}"
            )
    extents = lay_out(shapes)
    for tensor in tensors:
        _check_external(tensor, extents[tensor.name])
    return shapes, extents


def _check_external(tensor: TensorProto, extent: Extent) -> None:
    if tensor.data_location != TensorProto.EXTERNAL or tensor.HasField("raw_data"):
        raise ArtifactError(f"weight {brief(tensor.name)} holds its data inside model.onnx")
    found = {entry.key: entry.value for entry in tensor.external_data}
    for key, wanted in external_data(extent).items():
        if found.get(key) != wanted:
            raise ArtifactError(
                f"weight {brief(tensor.name)} has {key} {brief(found.get(key))}, not {wanted!r} "
                f"as its shape {tuple(tensor.dims)} and the weights before it ask"
            )


def compare_models(found: ModelProto, wanted: ModelProto) -> None:
    """Raises ArtifactError: `found` is not exactly `wanted`; the message says where."""
    if found.SerializeToString(deterministic=True) == wanted.SerializeToString(deterministic=True):
        return
    difference = _first_difference(found, wanted)
    if difference is None:
        raise ArtifactError("it holds fields that gearshift does not write")
    path, value, other = difference
    raise ArtifactError(f"{path[1:]} is {brief(value)}; for this graph it must be {brief(other)}")


def _first_difference(found: Any, wanted: Any) -> tuple[str, Any, Any] | None:
    """Path to the first field that differs, and both its values; None when all fields agree."""
    if isinstance(found, Message):
        # Only fields that are set: following the others would never end in recursive messages.
        fields = [*found.ListFields(), *wanted.ListFields()]
        names = dict.fromkeys(field.name for field, _ in fields)
        pairs = [(f".{name}", getattr(found, name), getattr(wanted, name)) for name in names]
    elif isinstance(found, str | bytes | int | float):
        return None if found == wanted else ("", found, wanted)
    else:
        if len(found) != len(wanted):
            return ".length", len(found), len(wanted)
        items = enumerate(zip(found, wanted, strict=True))
        pairs = [(f"[{i}]", left, right) for i, (left, right) in items]
    for place, left, right in pairs:
        if difference := _first_difference(left, right):
            path, value, other = difference
            return f"{place}{path}", value, other
    return None


def _text(value: Any, thing: str) -> str:
    """Protobuf hands out bytes where a string in the file is not UTF-8."""
    if not isinstance(value, str):
        raise ArtifactError(f"{thing} {brief(value)} is not UTF-8 text")
    return value
