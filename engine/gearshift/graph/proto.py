"""Graph to ONNX model: the one form in which a graph is written.

The trunk stands on top; behind it the decoders hang as a chain of `If` nodes on the task, so
that a runtime computes only the asked one. Weights are initializers whose data lies outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from gearshift.graph.functions import functions_used
from gearshift.graph.graph import IMAGE, OUTPUT, TASK, TOKENS, Graph, Node
from gearshift.graph.layout import WEIGHTS_FILE, Extent, lay_out, shapes_in_file_order
from gearshift.graph.vocabulary import DOMAIN, DOMAIN_VERSION, OPERATORS, STANDARD_OPSET

IR_VERSION = 10
OPSETS = {"": STANDARD_OPSET, DOMAIN: DOMAIN_VERSION}
PRODUCER = "gearshift"

_MAP = ("N", "C", "H", "W")


def to_proto(graph: Graph) -> ModelProto:
    """The ONNX model of a graph that `check_graph` accepts; equal graphs give equal models."""
    shapes = shapes_in_file_order(graph)
    extents = lay_out(shapes)
    nodes = [_node(node) for node in graph.trunk]
    if graph.decoders:
        nodes += _choice(graph, 0, OUTPUT)
        result = _value(OUTPUT, _MAP)
    else:
        result = _value(TOKENS, ["N", "T", graph.weights[graph.trunk[0].inputs[1]].shape[0]])
    body = helper.make_graph(
        nodes,
        graph.card.name,
        [
            _value(IMAGE, ["N", 3, "H", "W"]),
            helper.make_tensor_value_info(TASK, TensorProto.INT64, []),
        ],
        [result],
        [_initializer(name, shape, extents[name]) for name, shape in shapes.items()],
    )
    all_nodes = [*graph.trunk, *(node for decoder in graph.decoders for node in decoder)]
    return helper.make_model(
        body,
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
        opset_imports=[helper.make_opsetid(*opset) for opset in OPSETS.items()],
        functions=functions_used(all_nodes),
    )


def decoder_result(task: int) -> str:
    """What the file calls `output` inside the branch of decoder `task`: names are unique there."""
    return f"{OUTPUT}.{task}"


def _choice(graph: Graph, task: int, result: str) -> list[NodeProto]:
    """Nodes that compute `result` by decoder `task` if that is asked, else by a later one.

    The last decoder is computed without asking.
    """
    decoder = graph.decoders[task]
    later = graph.card.tasks[task + 1 :]
    if not later:
        return _decoder(decoder, result)
    here, next_result = decoder_result(task), decoder_result(task + 1)
    if len(later) > 1:
        next_result += ".or_later"
    index, asked = f"{here}.task", f"{here}.asked"
    then_branch = helper.make_graph(
        _decoder(decoder, here), graph.card.tasks[task].name, [], [_value(here, _MAP)]
    )
    else_branch = helper.make_graph(
        _choice(graph, task + 1, next_result),
        " or ".join(other.name for other in later),
        [],
        [_value(next_result, _MAP)],
    )
    return [
        helper.make_node("Constant", [], [index], name=index, value_int=task),
        helper.make_node("Equal", [TASK, index], [asked], name=asked),
        helper.make_node(
            "If",
            [asked],
            [result],
            name=f"{here}.choice",
            then_branch=then_branch,
            else_branch=else_branch,
        ),
    ]


def _decoder(nodes: Sequence[Node], result: str) -> list[NodeProto]:
    last = replace(nodes[-1], outputs=(result,))
    return [_node(node) for node in (*nodes[:-1], last)]


def _node(node: Node) -> NodeProto:
    proto = helper.make_node(node.operator, node.inputs, node.outputs, name=node.name)
    if not OPERATORS[node.operator].standard:
        proto.domain = DOMAIN
    for name, value in sorted(node.attributes.items()):
        proto.attribute.append(helper.make_attribute(name, value))
    return proto


def _value(name: str, shape: Sequence[str | int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _initializer(name: str, shape: tuple[int, ...], extent: Extent) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in external_data(extent).items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def external_data(extent: Extent) -> dict[str, str]:
    """The entries by which an initializer names its bytes."""
    return {
        "location": WEIGHTS_FILE,
        "offset": str(extent.offset),
        "length": str(extent.length),
    }
