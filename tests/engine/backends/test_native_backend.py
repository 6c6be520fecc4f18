"""Whole programs on the native kernels: against the oracle, poisoned, switched, counted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gearshift.backends import Options
from gearshift.backends.native_backend import NativeBackend, NativeProgram, Part
from gearshift.backends.torch_backend import TorchBackend
from gearshift.errors import BackendError
from gearshift.graph import Graph, read_artifact
from gearshift.models import find_model
from gearshift.specialise import specialise
from gearshift.weights import WeightStore
from gearshift_kernels.native import library
from gearshift_kernels.native.library import levels
from gearshift_kernels.native.structures import Linear, Router
from gearshift_kernels.native.team import Team

from .programs import FLOAT32, SIZES, check_results_are_the_callers_own, gate_ahead, relative

MakeGraph = Callable[..., Graph]
MakeImage = Callable[..., np.ndarray]
Expected = Callable[[Graph, int, np.ndarray], dict[str, np.ndarray]]

pytestmark = pytest.mark.skipif(not levels(), reason="the native kernels were not compiled")


def open_backend(
    precision: str = "float32", threads: int | None = 2, level: str | None = None, **options: object
) -> NativeBackend:
    """A backend that keeps its weights in memory, since its folder holds no card."""
    return NativeBackend(Options(Path(), precision, threads, **options), level)


def poison(backend: NativeBackend) -> None:
    """Every byte of the arena 0xFF: NaN as a float, -1 as an index."""
    backend.arena.memory[:] = 255


def root_mean_square(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean()))


@pytest.mark.parametrize(("sizes", "batch"), list(zip(SIZES, (3, 1, 1, 3, 1), strict=True)))
def test_every_task_equals_the_oracle(
    make_graph: MakeGraph, make_image: MakeImage, expected: Expected, sizes: dict, batch: int
) -> None:
    graph = make_graph(**sizes)
    image = make_image(batch, graph.card.image_height, graph.card.image_width)
    backends, weights = (
        [open_backend(level=level) for level in levels()],
        WeightStore(graph.weights),
    )
    for task in range(len(graph.card.tasks)):
        program = specialise(graph, task, batch, weights=weights)
        wanted = expected(graph, task, image)["output" if graph.decoders else "tokens"]
        for backend in backends:
            assert backend.supports(program) == []
            compiled = backend.compile(program)
            poison(backend)
            found = compiled.run(image)
            assert found.shape == wanted.shape
            assert relative(found, wanted) < FLOAT32, backend.name


@pytest.mark.parametrize("task", ["semseg", "normals", "edge", "depth"])
def test_the_demo_equals_torch(make_image: MakeImage, task: str) -> None:
    folder = find_model("demo")
    program, image = specialise(read_artifact(folder), task, 1, 32, 48), make_image(1, 32, 48)
    found = NativeBackend(Options(folder, threads=2)).compile(program).run(image)
    wanted = TorchBackend(Options(folder)).compile(program).run(image)
    # Both round at 6e-8 in eight blocks and six convolutions of up to 2,304 terms.
    assert relative(found, wanted) < 5e-5


class FixedRouting(Part):
    """In the place of a router's choice, that of a reference run."""

    def __init__(self, writes: list[tuple[np.ndarray, np.ndarray]]) -> None:
        super().__init__([])
        self._writes = writes

    def run(self, team: Team) -> None:
        for place, value in self._writes:
            place[...] = value


def fix_routing(compiled: NativeProgram, values: dict[str, np.ndarray]) -> None:
    """After each router, put its choice and its queues as the reference run would have them."""
    backend, lowering = compiled._backend, compiled._plan.lowering
    calls = compiled._plan.bind(backend.arena.address, backend.packed.address)
    routers = iter(step for step in lowering.steps if step.kernel == "router")
    parts, start = [], 0
    for number, call in enumerate(calls):
        if not isinstance(call.arguments, Router):
            continue
        index, score, order, offsets = next(routers).outputs[:4]
        chosen = values[index].ravel()
        experts = len(compiled._plan._queues(offsets).experts)
        wanted = {
            index: values[index],
            score: values[score],
            order: np.argsort(chosen, kind="stable"),
        }
        writes = [(backend.arena.view(lowering.values[name]), v) for name, v in wanted.items()]
        counts = np.bincount(chosen, minlength=experts)
        writes.append((compiled._plan._queues(offsets).offsets, np.cumsum([0, *counts])))
        parts += [Part(calls[start : number + 1]), FixedRouting(writes)]
        start = number + 1
    compiled._parts = [*parts, Part(calls[start:])]
    compiled._last = calls[-1].arguments
    for part in compiled._parts:
        backend.team.reserve(part.calls)


# bfloat16: a product's input and output round at 2^-9 each; some 25 roundings one after another,
# of which the residual stream carries only a part: 25 ** 0.5 * 2**-9 = 1 %, and room for spread.
# int8: both operands round to 1/127 of the largest of their row, 1/254 / 3 ** 0.5 of it on average.
# That is about 3 times the usual value, so a product is off by 2 ** 0.5 * 0.7 % = 1 %, and some 12
# of them by 12 ** 0.5 * 1 % = 3.5 %, and room for spread.
LOWER = [("bfloat16", 1e-5, 0.03), ("int8", 1e-3, 0.07)]


@pytest.mark.parametrize(("precision", "least", "most"), LOWER)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_lower_precision_follows_the_oracle_when_routed_alike(
    make_graph: MakeGraph,
    make_image: MakeImage,
    expected: Expected,
    sizes: dict,
    precision: str,
    least: float,
    most: float,
) -> None:
    graph = make_graph(**sizes)
    image = make_image(2, graph.card.image_height, graph.card.image_width)
    values = expected(graph, 1, image)
    wanted = values["output" if graph.decoders else "tokens"]
    for level in levels():
        backend = open_backend(precision, level=level)
        compiled = backend.compile(specialise(graph, 1, 2))
        fix_routing(compiled, values)
        poison(backend)
        assert least < root_mean_square(compiled.run(image), wanted) < most, level


def test_lower_precision_routes_most_tokens_alike(
    graph: Graph, make_image: MakeImage, expected: Expected
) -> None:
    image = make_image(3)
    for precision, share in (("bfloat16", 0.95), ("int8", 0.8)):
        compiled = open_backend(precision).compile(specialise(graph, 2, 3))
        compiled.run(image)
        for name, found in compiled.stats.tokens_per_expert.items():
            index = expected(graph, 2, image)[f"{name[:-8]}.router.expert_index"]
            wanted = np.bincount(index.ravel(), minlength=5)
            assert sum(found) == wanted.sum()
            moved = np.abs(np.subtract(found, wanted)).sum() / 2
            assert moved <= (1 - share) * wanted.sum(), (precision, name)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_a_router_ahead_of_its_block(
    make_graph: MakeGraph, make_image: MakeImage, expected: Expected, precision: str
) -> None:
    graph, image = gate_ahead(make_graph()), make_image()
    backend, values = open_backend(precision), expected(graph, 1, image)
    compiled = backend.compile(specialise(graph, 1))
    fix_routing(compiled, values)
    poison(backend)
    most = {"float32": FLOAT32, "bfloat16": 0.03, "int8": 0.07}[precision]
    assert root_mean_square(compiled.run(image), values["output"]) < most


def test_an_image_of_another_size_resizes_the_positions(
    graph: Graph, make_image: MakeImage, expected: Expected
) -> None:
    image = make_image(2, 32, 16)
    backend = open_backend()
    backend.compile(specialise(graph, "normals", 2))
    found = backend.compile(specialise(graph, "normals", 2, 32, 16)).run(image)
    assert relative(found, expected(graph, 2, image)["output"]) < FLOAT32


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_any_number_of_threads_gives_the_same_bits(
    graph: Graph, make_image: MakeImage, precision: str
) -> None:
    image = make_image(3)
    results = [
        open_backend(precision, threads).compile(specialise(graph, 1, 3)).run(image)
        for threads in (1, 2, 3, 7)
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_without_a_number_there_is_a_thread_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Noted(Team):
        def __init__(self, threads: int, level: str | None = None) -> None:
            asked.append(threads)
            super().__init__(threads, level)

    monkeypatch.setattr("gearshift.backends.native_backend.Team", Noted)
    open_backend(threads=None)
    assert asked == [len(os.sched_getaffinity(0))]


def test_results_are_the_callers_own_and_the_same_bit_for_bit(
    graph: Graph, make_image: MakeImage
) -> None:
    compiled = open_backend("bfloat16").compile(specialise(graph, 0))
    check_results_are_the_callers_own(compiled, make_image)


def test_switching_tasks_shares_weights_and_memory(graph: Graph, make_image: MakeImage) -> None:
    backend, weights = open_backend("bfloat16"), WeightStore(graph.weights)
    compiled = [backend.compile(specialise(graph, i, weights=weights)) for i in range(4)]
    linear = [
        [call.arguments.weight.panels for call in calls if isinstance(call.arguments, Linear)]
        for calls in (program._plan.bind(0, backend.packed.address) for program in compiled)
    ]
    assert {len(set(panels)) for panels in zip(*linear, strict=True)} == {1, 4}
    assert len({panels[-1] for panels in linear}) == 4  # the heads
    outputs = [program.run(make_image()) for program in compiled]
    held = dict(backend.packed._places), backend.arena.nbytes, backend.arena.address
    for switch in range(50):
        task = switch * 3 % 4
        poison(backend)
        np.testing.assert_array_equal(compiled[task].run(make_image()), outputs[task])
    assert (backend.packed._places, backend.arena.nbytes, backend.arena.address) == held


def test_programs_survive_the_growth_of_the_arena(graph: Graph, make_image: MakeImage) -> None:
    backend = open_backend()
    small = backend.compile(specialise(graph, 1))
    before, wanted = backend.arena.memory, small.run(make_image())
    large = backend.compile(specialise(graph, 1, 3, 48, 80))
    assert backend.arena.nbytes > before.nbytes
    result = large.run(make_image(3, 48, 80))
    before[:] = 255
    np.testing.assert_array_equal(small.run(make_image()), wanted)
    assert (before == 255).all()
    np.testing.assert_array_equal(large.run(make_image(3, 48, 80)), result)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_stats_count_tokens_and_bytes(
    graph: Graph, make_image: MakeImage, expected: Expected, precision: str
) -> None:
    image = make_image(2)
    backend = open_backend(precision)
    compiled = backend.compile(specialise(graph, 3, 2))
    fix_routing(compiled, values := expected(graph, 3, image))
    compiled.run(image)
    stats = compiled.stats
    chosen = 0
    for node in graph.nodes(3):
        if node.operator == "ExpertMixture":
            index = values[f"{node.name[:-8]}.router.expert_index"]
            histogram = np.bincount(index.ravel(), minlength=5)
            assert stats.tokens_per_expert[node.name] == tuple(histogram)
            chosen += np.count_nonzero(histogram)
    assert (stats.expert_hits, stats.expert_misses, stats.moved_bytes) == (chosen, 0, 0)
    # Panels of 16 outputs, lines of inputs: 32 x 32 for 18 x 21 and 21 x 18; biases, scales and
    # corrections are of 32; an expert ends with its page.
    size = {"float32": 4, "bfloat16": 2, "int8": 1}[precision]
    inputs = {"float32": 32, "bfloat16": 32, "int8": 64}[precision]
    expert = 2 * 32 * inputs * size + 2 * 32 * 4 * (3 if precision == "int8" else 1)
    pages = -(-expert // 4096) * 4096
    dense = sum(block.nbytes for block in compiled._plan.blocks.values())
    assert stats.weight_bytes == dense + chosen * pages
    # 4-byte weights with padding, and no less than the program has of them.
    program = specialise(graph, 3, 2)
    exact = sum(s.weight_bytes for s in program.steps if s.kernel != "expert_mixture")
    assert dense > exact * size / 4
    computed = [step for step in program.steps if step.kernel not in ("layer_normalization", "add")]
    assert list(stats.seconds_per_node) == [step.name for step in computed]
    assert 0 < sum(stats.seconds_per_node.values()) <= stats.seconds
    assert (stats.task, stats.backend) == ("edges", f"native {levels()[-1]}")
    assert stats.activation_bytes == backend.arena.nbytes


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


def test_what_has_no_kernel_is_named(graph: Graph) -> None:
    program = specialise(graph, 0)
    unknown = replace(program.steps[1], kernel="fourier")
    other = replace(program, steps=(program.steps[0], unknown, *program.steps[2:]))
    assert open_backend().supports(other) == [
        f"step {unknown.name}: no kernel for fourier on its own"
    ]


def test_experts_on_what_is_not_normalised_are_refused_where_operands_are_narrow(
    graph: Graph, make_image: MakeImage, expected: Expected
) -> None:
    trunk = tuple(
        replace(node, inputs=(node.inputs[0].replace("norm2", "add1"), *node.inputs[1:]))
        if node.operator == "ExpertMixture"
        else node
        for node in graph.trunk
    )
    raw, image = replace(graph, trunk=trunk), make_image()
    program = specialise(raw, 0)
    assert open_backend("bfloat16").supports(program) == [
        "step blocks.1.experts: its input is not a layer normalisation"
    ]
    found = open_backend().compile(program).run(image)
    assert relative(found, expected(raw, 0, image)["output"]) < FLOAT32


def test_options_that_it_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match="native runs float32 or bfloat16 or int8 only, not flo"):
        open_backend("float16")
    with pytest.raises(BackendError, match="approximates nothing, but was asked for gelu"):
        open_backend(approximate=frozenset({"gelu"}))
    monkeypatch.setenv(library.VARIABLE, "abacus")
    with pytest.raises(BackendError, match="backend native: GEARSHIFT_NATIVE_LEVEL is 'abacus'"):
        open_backend()


def test_without_compiled_kernels_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "levels", lambda: ())
    with pytest.raises(BackendError, match="kernels were not compiled: install g"):
        open_backend()


def test_neither_torch_nor_triton_is_imported(artifact: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from gearshift.backends import Options\n"
        "from gearshift.backends.native_backend import NativeBackend\n"
        "from gearshift.graph import read_artifact\n"
        "from gearshift.specialise import specialise\n"
        "folder = Path(sys.argv[1])\n"
        "program = specialise(read_artifact(folder), 0)\n"
        "backend = NativeBackend(Options(folder, 'bfloat16', 1))\n"
        "backend.compile(program).run(np.zeros((1, 3, 24, 40), np.float32))\n"
        "assert not {'torch', 'triton'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(artifact)], check=True)
