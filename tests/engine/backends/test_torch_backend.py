"""Whole programs in torch: against the oracle, poisoned, switched, repeated, counted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from gearshift.backends import Options
from gearshift.backends.torch_backend import TorchBackend, TorchProgram
from gearshift.backends.torch_experts import PIECE
from gearshift.errors import BackendError, InputError
from gearshift.graph import Graph
from gearshift.specialise import specialise
from gearshift.weights import WeightStore

from .programs import FLOAT32, SIZES, check_results_are_the_callers_own, poison, relative

MakeGraph = Callable[..., Graph]
MakeImage = Callable[..., np.ndarray]
Expected = Callable[[Graph, int, np.ndarray], dict[str, np.ndarray]]


def open_backend(
    precision: str = "float32", threads: int | None = None, memory: int | None = None
) -> TorchBackend:
    return TorchBackend(Options(Path(), precision, threads, memory))


@pytest.mark.parametrize(("sizes", "batch"), list(zip(SIZES, (3, 1, 1, 3, 1), strict=True)))
def test_every_task_equals_the_oracle(
    make_graph: MakeGraph, make_image: MakeImage, expected: Expected, sizes: dict, batch: int
) -> None:
    graph = make_graph(**sizes)
    backend, weights = open_backend(), WeightStore(graph.weights)
    image = make_image(batch, graph.card.image_height, graph.card.image_width)
    for task in range(len(graph.card.tasks)):
        program = specialise(graph, task, batch, weights=weights)
        compiled = backend.compile(program)
        poison(backend.arena)
        found = compiled.run(image)
        wanted = expected(graph, task, image)["output" if graph.decoders else "tokens"]
        assert found.shape == wanted.shape
        assert relative(found, wanted) < FLOAT32


def test_an_image_of_another_size_resizes_the_positions(
    graph: Graph, make_image: MakeImage, expected: Expected
) -> None:
    image = make_image(2, 32, 16)
    found = open_backend().compile(specialise(graph, "normals", 2, 32, 16)).run(image)
    assert relative(found, expected(graph, 2, image)["output"]) < FLOAT32


def test_results_are_the_callers_own_and_the_same_bit_for_bit(
    graph: Graph, make_image: MakeImage
) -> None:
    compiled = open_backend().compile(specialise(graph, 0))
    check_results_are_the_callers_own(compiled, make_image)


def test_switching_tasks_shares_weights_and_memory(graph: Graph, make_image: MakeImage) -> None:
    backend, weights = open_backend(), WeightStore(graph.weights)
    programs = [specialise(graph, task, weights=weights) for task in range(4)]
    compiled = [backend.compile(program) for program in programs]
    for name in ("blocks.0.attention.qkv_weight", "blocks.1.experts.3.fc1_weight"):
        pointers = {program.weights[name].ctypes.data for program in programs}
        assert pointers == {graph.weights[name].ctypes.data}
        assert backend._weights[name].data_ptr() in pointers
    router = backend._weights["blocks.1.router.weight[2]"].numpy()
    assert np.shares_memory(router, graph.weights["blocks.1.router.weight"][2])

    outputs = [program.run(make_image()) for program in compiled]
    held, size = set(backend._weights), backend.arena.nbytes
    place = backend.arena.tensor(0, (1,), torch.uint8).data_ptr()
    for switch in range(50):
        task = switch * 3 % 4
        np.testing.assert_array_equal(compiled[task].run(make_image()), outputs[task])
    assert (set(backend._weights), backend.arena.nbytes) == (held, size)
    assert backend.arena.tensor(0, (1,), torch.uint8).data_ptr() == place


def test_programs_survive_the_growth_of_the_arena(graph: Graph, make_image: MakeImage) -> None:
    backend = open_backend()
    small = backend.compile(specialise(graph, 1))
    before, wanted = backend.arena.nbytes, small.run(make_image())
    large = backend.compile(specialise(graph, 1, 3, 48, 80))
    assert backend.arena.nbytes > before
    large.run(make_image(3, 48, 80))
    np.testing.assert_array_equal(small.run(make_image()), wanted)


def test_stats_count_tokens_and_bytes(
    graph: Graph, make_image: MakeImage, expected: Expected
) -> None:
    image = make_image(2)
    compiled = open_backend().compile(specialise(graph, 3, 2))
    compiled.run(image)
    stats, values = compiled.stats, expected(graph, 3, image)
    bytes_touched = 0
    for node in graph.nodes(3):
        if node.operator == "ExpertMixture":
            index = values[f"{node.name[:-8]}.router.expert_index"]
            histogram = np.bincount(index.ravel(), minlength=5)
            assert stats.tokens_per_expert[node.name] == tuple(histogram)
            assert histogram.sum() == index.size == 2 * 16 * 2
            per_expert = (2 * 21 * 18 + 21 + 18) * 4
            bytes_touched += per_expert * np.count_nonzero(histogram)
    dense = [step for step in specialise(graph, 3, 2).steps if step.kernel != "expert_mixture"]
    assert stats.weight_bytes == bytes_touched + sum(step.weight_bytes for step in dense)
    assert list(stats.seconds_per_node) == [step.name for step in specialise(graph, 3).steps]
    assert 0 < sum(stats.seconds_per_node.values()) <= stats.seconds
    assert (stats.task, stats.backend) == ("edges", f"torch {torch.__version__}")
    chosen = sum(n > 0 for counts in stats.tokens_per_expert.values() for n in counts)
    assert (stats.expert_hits, stats.expert_misses, stats.moved_bytes) == (chosen, 0, 0)


PRECISIONS = ["float32", "bfloat16"]


def size_of_an_expert(sizes: dict, dtype: torch.dtype) -> int:
    """Of `make_graph`, its four weights each on cache lines of their own."""
    hidden, dim = sizes.get("hidden", 18), 21
    numbers = (hidden * dim, hidden, dim * hidden, dim)
    return sum(-(-number * dtype.itemsize // 64) * 64 for number in numbers)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("sizes", SIZES[:-1], ids=str)
@pytest.mark.parametrize("slots", [2, 3, 7])
def test_a_budget_changes_no_bit(
    make_graph: MakeGraph, make_image: MakeImage, precision: str, sizes: dict, slots: int
) -> None:
    """Every task in turn and again, from slots full of NaN, at two batch sizes."""
    try:
        whole = open_backend(precision)
    except BackendError as error:
        pytest.skip(str(error))
    graph = make_graph(**sizes)
    weights = WeightStore(graph.weights)
    size = size_of_an_expert(sizes, whole.dtype)
    backend = open_backend(precision, memory=slots * size + size - 1)
    programs = [specialise(graph, task, batch, weights=weights)
                for task in range(4) for batch in (1, 2)]  # fmt: skip
    pairs = [(whole.compile(program), backend.compile(program)) for program in programs]
    assert len(backend.slots.tensors) == slots
    for part in chain.from_iterable(backend.slots.tensors):
        part.fill_(float("nan"))
    for round_ in range(3):
        for program, (wanted, compiled) in zip(programs, pairs, strict=True):
            image = make_image(*program.values[program.input].shape[:1], graph.card.image_height,
                               graph.card.image_width, seed=round_)  # fmt: skip
            poison(backend.arena)
            np.testing.assert_array_equal(compiled.run(image), wanted.run(image))
            stats, same = compiled.stats, wanted.stats
            assert stats.tokens_per_expert == same.tokens_per_expert
            assert stats.weight_bytes == same.weight_bytes
            assert stats.expert_hits + stats.expert_misses == same.expert_hits
            assert stats.moved_bytes >= stats.expert_misses * (2 * 21 * 18 + 39) * 2
    assert backend.slots.store.hits > 0
    held = {name for name in backend._weights if ".experts." in name}
    assert not held


def test_moved_bytes_are_those_of_the_experts_that_were_read(
    graph: Graph, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_backend(memory=3 * size_of_an_expert({}, torch.float32))
    compiled = backend.compile(specialise(graph, 0))
    reads = []
    read = backend.slots.store._read
    monkeypatch.setattr(
        backend.slots.store, "_read", lambda *place: reads.append(place) or read(*place)
    )
    for _ in range(3):
        wait(backend.slots.store._reads.values())
        before = len(reads)
        compiled.run(make_image())
        wait(backend.slots.store._reads.values())
        assert compiled.stats.moved_bytes == (len(reads) - before) * (2 * 21 * 18 + 21 + 18) * 4


@pytest.mark.parametrize("spare", [0, 1000])
def test_a_budget_for_all_experts_is_as_none(
    graph: Graph, make_image: MakeImage, spare: int
) -> None:
    backend = open_backend(memory=10 * size_of_an_expert({}, torch.float32) + spare)
    compiled = backend.compile(specialise(graph, 0))
    compiled.run(make_image())
    assert backend.slots is None
    assert (compiled.stats.expert_misses, compiled.stats.moved_bytes) == (0, 0)


def test_a_large_expert_is_read_whole(make_graph: MakeGraph, make_image: MakeImage) -> None:
    """Larger than one piece of a copy, and no multiple of it."""
    sizes = {"hidden": PIECE // 21 + 5, "experts": 3, "depth": 2}
    graph = make_graph(**sizes)
    backend = open_backend(memory=2 * size_of_an_expert(sizes, torch.float32))
    wanted = open_backend().compile(specialise(graph, 0)).run(make_image())
    np.testing.assert_array_equal(backend.compile(specialise(graph, 0)).run(make_image()), wanted)


def test_a_budget_refuses_what_it_cannot_serve(graph: Graph) -> None:
    size = size_of_an_expert({}, torch.float32)
    with pytest.raises(InputError, match=f"give at least {2 * size:,}"):
        open_backend(memory=2 * size - 1).compile(specialise(graph, 0))
    narrow = {
        name: array[:, :9] if name.endswith("fc2_weight") else array[:9]
        for name, array in graph.weights.items()
        if name.startswith("blocks.3.experts.") and not name.endswith("fc2_bias")
    }
    other = replace(graph, weights={**graph.weights, **narrow})
    with pytest.raises(BackendError, match=r"blocks\.3\.experts are 21x9, .* leave memory out"):
        open_backend(memory=2 * size).compile(specialise(other, 0))
    open_backend().compile(specialise(other, 0))


def test_a_model_without_experts_takes_any_budget(
    make_graph: MakeGraph, make_image: MakeImage
) -> None:
    graph = make_graph(depth=1)
    compiled = open_backend(memory=1).compile(specialise(graph, 0))
    compiled.run(make_image())
    assert (compiled.stats.expert_hits, compiled.stats.moved_bytes) == (0, 0)


def test_only_chosen_experts_are_read(make_graph: MakeGraph, make_image: MakeImage) -> None:
    graph = make_graph(top_k=1, biased=True)
    for name, weight in graph.weights.items():
        if name.endswith("router.bias"):
            weight[0] = [-np.inf, 0, -np.inf, -np.inf, -np.inf]
        if ".experts." in name and ".experts.1." not in name:
            weight[:] = np.nan
    compiled = open_backend().compile(specialise(graph, 0))
    assert np.isfinite(compiled.run(make_image())).all()
    assert compiled.stats.tokens_per_expert["blocks.1.experts"] == (0, 16, 0, 0, 0)


def test_threads_are_given_back(graph: Graph, make_image: MakeImage) -> None:
    before = torch.get_num_threads()
    seen = []
    compiled = open_backend(threads=before + 1).compile(specialise(graph, 0))
    compiled._calls.append(lambda: seen.append(torch.get_num_threads()))
    compiled._marks.append(0.0)
    compiled.run(make_image())
    assert (seen, torch.get_num_threads()) == ([before + 1], before)


def fix_routing(compiled: TorchProgram, values: dict[str, np.ndarray]) -> None:
    """Replace the routers by what they gave in a reference run."""
    for number, step in enumerate(compiled._program.steps):
        if step.kernel == "router":
            pairs = [(compiled._tensors[name], values[name]) for name in step.outputs]
            compiled._calls[number] = lambda pairs=pairs: [
                place.copy_(torch.from_numpy(value)) for place, value in pairs
            ]


@pytest.fixture
def bfloat16() -> TorchBackend:
    try:
        return open_backend("bfloat16")
    except BackendError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_bfloat16_follows_the_oracle_when_routed_alike(
    bfloat16: TorchBackend,
    make_graph: MakeGraph,
    make_image: MakeImage,
    expected: Expected,
    sizes: dict,
) -> None:
    graph = make_graph(**sizes)
    image = make_image(2, graph.card.image_height, graph.card.image_width)
    values = expected(graph, 1, image)
    compiled = bfloat16.compile(specialise(graph, 1, 2))
    fix_routing(compiled, values)
    poison(bfloat16.arena)
    found, wanted = compiled.run(image), values["output" if graph.decoders else "tokens"]
    error = np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean())
    # A product's input and output round at 2^-9 each; some 25 roundings one after another, of
    # which the residual stream carries only a part: 25 ** 0.5 * 2**-9 = 1 %, and room for spread.
    assert 1e-5 < error < 0.03


def test_bfloat16_keeps_a_sum_in_place_wide(
    bfloat16: TorchBackend, graph: Graph, make_image: MakeImage
) -> None:
    swapped = tuple(
        replace(node, inputs=node.inputs[::-1]) if node.operator == "Add" else node
        for node in graph.trunk
    )
    other = replace(graph, trunk=swapped)
    found, wanted = (
        bfloat16.compile(specialise(one, 0)).run(make_image()) for one in (other, graph)
    )
    assert relative(found, wanted) < 0.03


def test_bfloat16_converts_a_weight_once(
    bfloat16: TorchBackend, graph: Graph, make_image: MakeImage
) -> None:
    weights = WeightStore(graph.weights)
    first, second = (bfloat16.compile(specialise(graph, i, weights=weights)) for i in (0, 1))
    for compiled in (first, second):
        compiled.run(make_image())
    held = dict(bfloat16._weights)
    assert held["blocks.1.experts.0.fc1_weight"].dtype == torch.bfloat16
    assert held["blocks.1.router.weight[0]"].dtype == torch.float32
    assert held["blocks.0.norm1.scale"].dtype == torch.float32
    assert held["patch_embedding.table@3x5"].dtype == torch.float32
    bfloat16.compile(specialise(graph, 0, 2, weights=weights))
    assert bfloat16._weights == held
    dense = compiled.stats.weight_bytes
    float32 = open_backend().compile(specialise(graph, 1, weights=weights))
    float32.run(make_image())
    assert dense < 0.6 * float32.stats.weight_bytes


def test_bfloat16_needs_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True}, raising=False)
    with pytest.raises(BackendError, match="no bfloat16"):
        open_backend("bfloat16")
