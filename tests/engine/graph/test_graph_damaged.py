"""A wrong graph inside `model.onnx`, with right hashes: each fault is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, helper

Change = Callable[[ModelProto], object]
Refuse = Callable[..., None]


def node(model: ModelProto, name: str) -> NodeProto:
    (found,) = [node for node in model.graph.node if node.name == name]
    return found


def attribute(model: ModelProto, name: str, key: str) -> AttributeProto:
    (found,) = [a for a in node(model, name).attribute if a.name == key]
    return found


def branch(model: ModelProto, key: str) -> GraphProto:
    (found,) = [a.g for a in model.graph.node[-1].attribute if a.name == key]
    return found


def function_node(model: ModelProto, function: str, operator: str) -> NodeProto:
    (body,) = [f for f in model.functions if f.name == function]
    return next(node for node in body.node if node.op_type == operator)


GRAPHS: dict[str, tuple[Change, str]] = {
    "ir version": (lambda m: setattr(m, "ir_version", 9), "ir_version is 9, not 10"),
    "standard operators": (
        lambda m: setattr(m.opset_import[0], "version", 21),
        "operator sets are {'': 21, 'gearshift': 1}, not {'': 20, 'gearshift': 1}",
    ),
    "other domain": (
        lambda m: m.opset_import.append(helper.make_opsetid("com.evil", 1)),
        "'com.evil': 1",
    ),
    "unknown operator": (
        lambda m: setattr(node(m, "blocks.0.mlp"), "op_type", "Exec"),
        "node 'blocks.0.mlp' has the unknown operator 'gearshift.Exec'",
    ),
    "unknown domain": (
        lambda m: setattr(node(m, "blocks.0.mlp"), "domain", "com.evil"),
        "unknown operator 'com.evil.Mlp'",
    ),
    "standard operator that we do not use": (
        lambda m: setattr(node(m, "blocks.0.add1"), "op_type", "Mul"),
        "unknown operator '.Mul'",
    ),
    "missing input": (
        lambda m: node(m, "blocks.0.mlp").input.pop(),
        "'blocks.0.mlp' (Mlp) has 4 inputs, not 5",
    ),
    "half an expert": (
        lambda m: node(m, "blocks.1.experts").input.pop(),
        "has 14 inputs, not 3 and 4 an expert",
    ),
    "no experts": (
        lambda m: node(m, "blocks.1.experts").input.__delitem__(slice(3, None)),
        "has 3 inputs, not 3 and 4 an expert",
    ),
    "missing output": (
        lambda m: node(m, "blocks.1.router").output.pop(),
        "(Router) has 1 outputs, not 2",
    ),
    "missing attribute": (
        lambda m: node(m, "blocks.1.router").attribute.pop(),
        "has attributes ['prune_scores'], not ['prune_scores', 'top_k']",
    ),
    "extra attribute": (
        lambda m: node(m, "blocks.0.mlp").attribute.append(helper.make_attribute("a", 1)),
        "has attributes ['a'], not []",
    ),
    "list as attribute": (
        lambda m: attribute(m, "blocks.1.router", "top_k").CopyFrom(
            helper.make_attribute("top_k", [2])
        ),
        "attribute 'top_k' of node 'blocks.1.router' is of ONNX type 7",
    ),
    "float for a whole number": (
        lambda m: attribute(m, "blocks.1.router", "top_k").CopyFrom(
            helper.make_attribute("top_k", 2.0)
        ),
        "attribute top_k is 2.0, not a finite int of at least 1",
    ),
    "no heads": (
        lambda m: setattr(attribute(m, "blocks.0.attention", "heads"), "i", 0),
        "attribute heads is 0",
    ),
    "uneven heads": (
        lambda m: setattr(attribute(m, "blocks.0.attention", "heads"), "i", 4),
        "width 21 is not 4 equal heads",
    ),
    "nan": (
        lambda m: setattr(attribute(m, "blocks.0.norm1", "epsilon"), "f", float("nan")),
        "attribute epsilon is nan",
    ),
    "top_k beyond the bank": (
        lambda m: setattr(attribute(m, "blocks.1.router", "top_k"), "i", 4),
        "top_k 4 of only 3 experts",
    ),
    "other patch size": (
        lambda m: setattr(attribute(m, "patch_embedding", "patch_size"), "i", 4),
        "shape (21, 3, 8, 8), not (21, 3, 4, 4)",
    ),
    "undefined input": (
        lambda m: node(m, "blocks.0.mlp").input.__setitem__(0, "nowhere"),
        "(Mlp) reads 'nowhere', which is no weight",
    ),
    "cycle": (
        lambda m: node(m, "blocks.0.norm1").input.__setitem__(0, "blocks.0.add2"),
        "reads 'blocks.0.add2', which is no weight and which no node before it",
    ),
    "itself": (
        lambda m: node(m, "blocks.0.norm1").input.__setitem__(0, "blocks.0.norm1"),
        "reads 'blocks.0.norm1'",
    ),
    "wrong order": (
        lambda m: m.graph.node.insert(1, m.graph.node.pop(3)),
        "reads 'blocks.0.attention'",
    ),
    "value defined twice": (
        lambda m: node(m, "blocks.0.norm2").output.__setitem__(0, "blocks.0.norm1"),
        "computes 'blocks.0.norm1', which is already defined",
    ),
    "weight as output": (
        lambda m: node(m, "blocks.0.mlp").output.__setitem__(0, "patch_embedding.bias"),
        "computes 'patch_embedding.bias', which is already defined",
    ),
    "two nodes of one name": (
        lambda m: setattr(node(m, "blocks.0.norm2"), "name", "blocks.0.norm1"),
        "two nodes have the name 'blocks.0.norm1'",
    ),
    "no name": (lambda m: setattr(node(m, "blocks.0.norm2"), "name", ""), "node name ''"),
    "swapped weights": (
        lambda m: node(m, "blocks.0.mlp").input.__setitem__(3, "blocks.0.mlp.fc1_weight"),
        "'blocks.0.mlp.fc1_weight' has shape (18, 21), not (21, 18)",
    ),
    "tokens where experts are wanted": (
        lambda m: node(m, "blocks.1.experts").input.__setitem__(1, "blocks.1.norm2"),
        "'blocks.1.norm2' has shape (N, T, 21), not (N, T, K, of, 3)",
    ),
    "image for tokens": (
        lambda m: node(m, "blocks.0.norm1").input.__setitem__(0, "image"),
        "'image' has shape (N, 3, H, W), not (N, T, D)",
    ),
    "task for tokens": (
        lambda m: node(m, "blocks.0.attention").input.__setitem__(0, "task"),
        "'task' has shape ()",
    ),
    "no trunk": (
        lambda m: node(m, "blocks.1.add2").output.__setitem__(0, "token"),
        "no node computes 'tokens'",
    ),
    "no embedding": (
        lambda m: m.graph.node.pop(0),
        "does not begin with a PatchEmbedding",
    ),
    "second embedding": (
        lambda m: m.graph.node.insert(
            1,
            helper.make_node(
                "PatchEmbedding",
                m.graph.node[0].input,
                ["again"],
                name="again",
                domain="gearshift",
                patch_size=8,
            ),
        ),
        "'again' (PatchEmbedding) is a second patch embedding",
    ),
    "decoder missing": (
        lambda m: m.graph.node[-1].CopyFrom(branch(m, "else_branch").node[-1]),
        "3 decoders, but the card has 4 tasks",
    ),
    "only the choice": (
        lambda m: m.graph.node.__delitem__(slice(-1, None)),
        "unknown operator '.Constant'",
    ),
    "branch missing": (
        lambda m: m.graph.node[-1].attribute.pop(),
        "(If) has attributes ['else_branch'], not then_branch and else_branch",
    ),
    "branch empty": (
        lambda m: branch(m, "then_branch").ClearField("node"),
        "the decoder of task 'rooms' ends in (), not in 'output'",
    ),
    "decoder reads another's values": (
        lambda m: (
            branch(m, "else_branch")
            .node[-1]
            .attribute[1]
            .g.node[1]
            .input.__setitem__(0, "decoders.rooms.norm")
        ),
        "reads 'decoders.rooms.norm'",
    ),
    "decoder reads the trunk's inside": (
        lambda m: branch(m, "then_branch").node[0].input.__setitem__(0, "blocks.0.add2"),
        "reads 'blocks.0.add2'",
    ),
    "image enlarged too little": (
        lambda m: setattr(branch(m, "then_branch").node[3].attribute[1], "i", 1),
        "'rooms' computes ('N', 4, 4)",
    ),
    "asks for another task": (
        lambda m: setattr(m.graph.node[-3].attribute[0], "i", 2),
        "graph.node[14].attribute[0].i is 2; for this graph it must be 0",
    ),
    "asks something else": (
        lambda m: setattr(m.graph.node[-2], "op_type", "Less"),
        "op_type is 'Less'; for this graph it must be 'Equal'",
    ),
    "a node before the choice": (
        lambda m: m.graph.node.insert(len(m.graph.node) - 3, m.graph.node[-3]),
        "graph.node.length is 18; for this graph it must be 17",
    ),
    "captured name": (
        lambda m: setattr(branch(m, "then_branch").output[0], "name", "tokens"),
        "output[0].name is 'tokens'",
    ),
    "initializer in a branch": (
        lambda m: branch(m, "then_branch").initializer.append(m.graph.initializer[0]),
        "initializer.length is 1",
    ),
    "function computes something else": (
        lambda m: setattr(function_node(m, "Mlp", "Gelu"), "op_type", "Tanh"),
        ".op_type is 'Tanh'; for this graph it must be 'Gelu'",
    ),
    "function twice": (
        lambda m: m.functions.append(m.functions[0]),
        "functions.length is 9; for this graph it must be 8",
    ),
    "function missing": (lambda m: m.functions.pop(), "functions.length is 7"),
    "function overload": (
        lambda m: setattr(m.functions[0], "overload", "x"),
        "functions[0].overload is 'x'",
    ),
    "weights in another order": (
        lambda m: [
            node(m, "blocks.0.norm1").input.__setitem__(2, "blocks.0.norm2.bias"),
            node(m, "blocks.0.norm2").input.__setitem__(2, "blocks.0.norm1.bias"),
        ],
        "graph.initializer[",
    ),
    "unused weight": (
        lambda m: node(m, "blocks.0.norm1").input.__setitem__(2, "blocks.0.norm2.bias"),
        "weight 'blocks.0.norm1.bias' is used by no node (1 such)",
    ),
    "input of another shape": (
        lambda m: m.graph.input[0].type.tensor_type.shape.dim.pop(),
        "graph.input[0].type.tensor_type.shape.dim.length is 3",
    ),
    "input of another name": (
        lambda m: setattr(m.graph.input[1], "name", "which"),
        "graph.input[1].name is 'which'; for this graph it must be 'task'",
    ),
    "second output": (
        lambda m: m.graph.output.append(m.graph.output[0]),
        "graph.output.length is 2",
    ),
    "sparse initializer": (
        lambda m: m.graph.sparse_initializer.add(),
        "graph.sparse_initializer.length is 1",
    ),
    "metadata": (
        lambda m: m.metadata_props.add(key="note", value="x"),
        "metadata_props.length is 1",
    ),
    "training": (lambda m: m.training_info.add(), "training_info.length is 1"),
}


@pytest.mark.parametrize("fault", GRAPHS)
def test_graph(fault: str, folder: Path, edit_model: Callable[..., None], refuse: Refuse) -> None:
    change, words = GRAPHS[fault]
    edit_model(change)
    refuse("model.onnx: ", words, "export the model again")


def test_fields_of_a_later_onnx(
    folder: Path, put_model: Callable[[bytes], None], refuse: Refuse
) -> None:
    content = (folder / "model.onnx").read_bytes()
    put_model(content + b"\xfa\x7f\x01x")
    refuse("model.onnx: it holds fields that gearshift does not write")


def test_names_that_are_not_utf8(
    folder: Path, put_model: Callable[[bytes], None], refuse: Refuse
) -> None:
    content = (folder / "model.onnx").read_bytes()
    put_model(content.replace(b"blocks.0.norm1", b"blocks.0.norm\xff"))
    refuse("model.onnx: ", "is not UTF-8 text")
