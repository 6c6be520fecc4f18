"""The graphs and the module that peers are given, against the oracle of the graph itself."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from gearshift.backends import Options, load_backend
from gearshift.errors import InputError
from gearshift.graph import IMAGE, TOKENS, Graph
from gearshift.program import Program
from gearshift.specialise import specialise
from gearshift_bench.peers.entries import PEERS, peer_entries
from gearshift_bench.peers.entry import OTHER, Entry, Match, by_node, typical
from gearshift_bench.peers.onnx_graph import CONTRIB_FORMS, STANDARD_FORMS, Form, onnx_model
from gearshift_bench.peers.parts import encoder_program, part_of
from gearshift_bench.peers.plain_torch import PlainModule

from ..engine.conftest import GraphMaker, oracle_values
from .processor import has_bfloat16

SIZES: dict[str, dict[str, Any]] = {
    "odd": {},
    "windows and pruning": {"biased": True, "prune_scores": 0.2},
    "image off the decoder's grid": {"stages": 2, "routers": 1},
    "one choice of two": {"experts": 2, "top_k": 1, "depth": 2},
    "all experts": {"experts": 3, "top_k": 3, "depth": 2},
    "one token beside the class token": {"height": 8, "width": 8},
    "more experts than choices": {"height": 8, "width": 8, "experts": 9},
    "tokens only": {"decoders": False},
}
TASK = 1


def made(sizes: dict[str, Any], batch: int = 1) -> tuple[Graph, Program, np.ndarray]:
    graph = GraphMaker(**sizes).make()
    program = specialise(graph, TASK, batch=batch)
    random = np.random.default_rng(3)
    image = random.standard_normal(program.values[IMAGE].shape, dtype=np.float32)
    return graph, program, image


def run_onnx(program: Program, form: Form, image: np.ndarray) -> np.ndarray:
    import onnxruntime

    model = onnx_model(program, form).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {IMAGE: image})
    return np.asarray(output)


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def sizes(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


@pytest.mark.parametrize("form", CONTRIB_FORMS, ids=str)
def test_every_form_computes_what_the_graph_says(form: Form, sizes: dict[str, Any]) -> None:
    graph, program, image = made(sizes)
    expected = oracle_values(graph, TASK, image)[program.output]
    np.testing.assert_allclose(run_onnx(program, form, image), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("form", CONTRIB_FORMS, ids=str)
def test_batches(form: Form) -> None:
    graph, program, image = made({}, batch=3)
    expected = oracle_values(graph, TASK, image)[program.output]
    np.testing.assert_allclose(run_onnx(program, form, image), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("form", STANDARD_FORMS, ids=str)
def test_graphs_are_valid_and_static(form: Form) -> None:
    _, program, _ = made({})
    model = onnx_model(program, form)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    (output,) = model.graph.output
    shape = tuple(one.dim_value for one in output.type.tensor_type.shape.dim)
    assert shape == program.values[program.output].shape


def test_nodes_carry_the_names_of_steps() -> None:
    _, program, _ = made({})
    nodes = onnx_model(program, STANDARD_FORMS[0]).graph.node
    seconds = by_node(((node.name, 1.0) for node in nodes), program)
    assert OTHER not in seconds
    assert set(seconds) == {step.name for step in program.steps}


@pytest.mark.parametrize("mixture", ["sort", "dense"])
def test_the_reference_module_is_the_oracle(sizes: dict[str, Any], mixture: Any) -> None:
    graph, program, image = made(sizes, batch=2)
    expected = oracle_values(graph, TASK, image)
    module = PlainModule(program, torch.float64, mixture)
    values = module.values(torch.from_numpy(image).double())
    for name, value in values.items():
        # What is folded into weights is rounded to float32, nothing else is.
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=1e-5, atol=1e-6)


def test_the_module_in_bfloat16_rounds_products_only() -> None:
    graph, program, image = made({})
    expected = oracle_values(graph, TASK, image)
    values = PlainModule(program, torch.bfloat16).values(torch.from_numpy(image))
    assert values["blocks.0.add1"].dtype == torch.float32
    error = np.linalg.norm(values["blocks.0.add1"].numpy() - expected["blocks.0.add1"])
    assert 1e-4 < error / np.linalg.norm(expected["blocks.0.add1"]) < 2e-2


def test_the_encoder_ends_with_the_tokens() -> None:
    graph, program, image = made({})
    encoder = encoder_program(program)
    assert encoder.output == TOKENS
    assert encoder.steps == program.steps[: len(encoder.steps)]
    assert {step.name.split(".")[0] for step in program.steps[len(encoder.steps) :]} == {"decoders"}
    assert set(encoder.weights) == {name for step in encoder.steps for name in step.weights}
    assert encoder.arena_bytes <= program.arena_bytes
    assert part_of(program, "task") is program
    options = Options(folder=None, threads=1)  # type: ignore[arg-type]
    output = load_backend("torch", options).compile(encoder).run(image)
    expected = oracle_values(graph, TASK, image)[TOKENS]
    np.testing.assert_allclose(output, expected, rtol=2e-4, atol=2e-5)


def test_a_program_without_tokens_is_a_one_line_error() -> None:
    _, program, _ = made({})
    without = encoder_program(program)
    broken = Program(**{**vars(without), "steps": without.steps[:-1]})
    with pytest.raises(InputError, match="no step of random computes 'tokens'"):
        encoder_program(broken)


def entries_of(peer: str) -> list[Entry]:
    if peer == "openvino" and find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    return peer_entries(peer)


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer != "compile"])
@pytest.mark.parametrize("part", ["encoder", "task"])
def test_every_contender_runs_every_form(
    peer: str, part: Any, make_artifact: Callable[[Graph], Any]
) -> None:
    graph, program, image = made({"biased": False})
    match = Match(make_artifact(graph), program, part, 1, image)
    expected = oracle_values(graph, TASK, image)[match.program.output]
    for entry in entries_of(peer):
        if part not in entry.parts:
            continue
        if peer == "torch" and entry.precision == "bfloat16" and not has_bfloat16():
            continue
        close = 1e-4 if entry.precision == "float32" else 0.1
        for name, form in entry.forms.items():
            error = np.linalg.norm(form.open(match)() - expected) / np.linalg.norm(expected)
            assert error < close, (entry.name, name, error)
            if form.profile is None:
                continue
            nodes = form.profile(match, 2)
            assert set(nodes) <= {step.name for step in match.program.steps} | {OTHER}
            assert nodes["blocks.1.experts"] > 0
            assert all(seconds >= 0 for seconds in nodes.values())


def test_nodes_go_to_the_longest_name_that_theirs_contains() -> None:
    _, program, _ = made({"depth": 4})
    theirs = [
        ("blocks.1.router/MatMul_3", 1.0),
        ("image_f32_abcd_bf16_patch_embedding/Conv_0", 2.0),
        ("blocks.1.router/TopK_5", 3.0),
        ("MVN_17", 4.0),
    ]
    assert by_node(theirs, program) == {"blocks.1.router": 4.0, "patch_embedding": 2.0, OTHER: 4.0}


def test_a_node_that_one_run_lacks_counts_as_nothing() -> None:
    assert typical([{"a": 1.0, "b": 5.0}, {"a": 3.0}, {"a": 8.0}]) == {"a": 3.0, "b": 0.0}
    assert typical([]) == {}
