"""Whole programs as Triton kernels: against the oracle and torch, poisoned, switched, streamed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gearshift import Session
from gearshift.backends import Options
from gearshift.backends.torch_backend import TorchBackend
from gearshift.backends.triton_backend import TritonBackend
from gearshift.backends.triton_plan import Move, plan_launches
from gearshift.errors import BackendError, InputError
from gearshift.graph import Graph, read_artifact
from gearshift.models import find_model
from gearshift.specialise import specialise
from gearshift.weights import WeightStore
from gearshift_kernels.triton.launch import Launch
from gearshift_kernels.triton.targets import TARGETS

from .programs import FLOAT32, SIZES, gate_ahead, poison, relative

MakeGraph = Callable[..., Graph]
MakeImage = Callable[..., np.ndarray]
Expected = Callable[[Graph, int, np.ndarray], dict[str, np.ndarray]]

SMALL = {"height": 16, "width": 8, "depth": 2, "stages": 2, "patch": 4}


def open_backend(precision: str = "float32", **options: object) -> TritonBackend:
    return TritonBackend(Options(Path(), precision, **options))


@pytest.mark.parametrize(("sizes", "batch"), list(zip(SIZES, (1, 2, 1, 2, 1), strict=True)))
def test_every_task_equals_the_oracle(
    make_graph: MakeGraph, make_image: MakeImage, expected: Expected, sizes: dict, batch: int
) -> None:
    graph = make_graph(**sizes)
    backend, weights = open_backend(), WeightStore(graph.weights)
    image = make_image(batch, graph.card.image_height, graph.card.image_width)
    for task in range(2):
        compiled = backend.compile(specialise(graph, task, batch, weights=weights))
        poison(backend.arena)
        found = compiled.run(image)
        wanted = expected(graph, task, image)["output" if graph.decoders else "tokens"]
        assert found.shape == wanted.shape
        assert relative(found, wanted) < FLOAT32


def test_a_router_ahead_of_its_block(
    make_graph: MakeGraph, make_image: MakeImage, expected: Expected
) -> None:
    graph, image = gate_ahead(make_graph(**SMALL)), make_image(1, 16, 8)
    backend = open_backend()
    compiled = backend.compile(specialise(graph, 1))
    poison(backend.arena)
    assert relative(compiled.run(image), expected(graph, 1, image)["output"]) < FLOAT32


@pytest.mark.parametrize("task", ["semseg", "normals", "edge", "depth"])
def test_the_demo_equals_torch(make_image: MakeImage, task: str) -> None:
    """The whole demo model on a small image, as in the README, at float32."""
    image = make_image(1, 32, 48)
    found = Session("demo", backend="triton").run_normalised(image, task)
    wanted = Session("demo", backend="torch").run_normalised(image, task)
    # Both round at 6e-8 in eight blocks and six convolutions of up to 2,304 terms.
    assert relative(found, wanted) < 5e-5


def test_the_command_line_runs_it(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8), (120, 80, 40)).save(tmp_path / "small.png")
    environment = {**os.environ, "GEARSHIFT_BACKEND": "triton", "TRITON_INTERPRET": "1"}
    code = (
        "import sys; from gearshift import Session; import numpy as np\n"
        "s = Session('demo'); r = s.run(np.zeros((16, 16, 3), np.uint8), 'depth')\n"
        "print(s.stats.backend, r.metres.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "on the CPU, interpreted (1, 16, 16)" in done.stdout


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "int8", "float8"])
def test_lower_precision_follows_torch(
    make_graph: MakeGraph, make_image: MakeImage, expected: Expected, precision: str
) -> None:
    """Routed alike: one expert takes every token, so that nothing can flip."""
    graph = make_graph(**SMALL, experts=1, top_k=1)
    image = make_image(1, 16, 8)
    found = open_backend(precision).compile(specialise(graph, 0)).run(image)
    wanted = expected(graph, 0, image)["output"]
    error = np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean())
    # Some 15 roundings one after another at 2^-12 (float16), 2^-9 (bfloat16), and of weights at
    # 1/254 of the largest (int8) or 2^-5 (float8), of which the residual stream dampens a part.
    step = {"float16": 2**-12, "bfloat16": 2**-9, "int8": 2**-8, "float8": 2**-5}[precision]
    assert step / 50 < error < 4 * step


@pytest.mark.parametrize("approximate", [("gelu",), ("softmax",), ("gelu", "softmax")])
def test_approximations_are_close_and_not_exact(
    make_graph: MakeGraph, make_image: MakeImage, expected: Expected, approximate: tuple[str, ...]
) -> None:
    graph, image = make_graph(**SMALL, experts=1, top_k=1), make_image(1, 16, 8)
    backend = open_backend(approximate=frozenset(approximate))
    found = backend.compile(specialise(graph, 0)).run(image)
    exact = open_backend().compile(specialise(graph, 0)).run(image)
    assert (found != exact).any()
    # An activation is off by 1e-4 at the most; the weights here amplify it less than tenfold.
    assert relative(found, expected(graph, 0, image)["output"]) < 1e-3


def test_results_are_the_callers_own_and_the_same_bit_for_bit(
    make_graph: MakeGraph, make_image: MakeImage
) -> None:
    backend = open_backend()
    compiled = backend.compile(specialise(make_graph(**SMALL), 0))
    first = compiled.run(make_image(1, 16, 8))
    kept = first.copy()
    other = compiled.run(make_image(1, 16, 8, seed=8))
    assert (first != other).any()
    np.testing.assert_array_equal(first, kept)
    poison(backend.arena)
    np.testing.assert_array_equal(compiled.run(make_image(1, 16, 8)), kept)


def test_switching_tasks_shares_weights_and_memory(
    make_graph: MakeGraph, make_image: MakeImage
) -> None:
    graph = make_graph(**SMALL)
    backend, weights = open_backend(), WeightStore(graph.weights)
    compiled = [backend.compile(specialise(graph, task, weights=weights)) for task in range(3)]
    image = make_image(1, 16, 8)
    outputs = [program.run(image) for program in compiled]
    held = backend.arena.nbytes, backend.arena.address, backend.pool
    for task in (2, 0, 1, 1, 2):
        np.testing.assert_array_equal(compiled[task].run(image), outputs[task])
    assert (backend.arena.nbytes, backend.arena.address, backend.pool) == held


def test_streamed_experts_give_identical_results(
    make_graph: MakeGraph, make_image: MakeImage
) -> None:
    graph = make_graph(**{**SMALL, "depth": 4})
    image = make_image(1, 16, 8)
    whole = open_backend()
    compiled = whole.compile(specialise(graph, 0))
    wanted = compiled.run(image)
    assert compiled.stats.moved_bytes == 0
    size = whole.pool.expert_bytes
    for slots in (2, 3, 7, 9):
        backend = open_backend(memory=slots * size + 1)
        streamed = [backend.compile(specialise(graph, task)) for task in (0, 1)]
        poison(backend.arena)
        backend.pool.slots[-2:] = 255
        for _ in range(2):
            np.testing.assert_array_equal(streamed[0].run(image), wanted)
            streamed[1].run(image)
        stats = streamed[0].stats
        assert backend.pool.nbytes == slots * size
        assert stats.moved_bytes == (10 - (slots - 2)) * size
        counts = stats.tokens_per_expert
        assert counts == compiled.stats.tokens_per_expert
        resident = backend.pool.residency.resident
        hits = [bool(n) for name, row in counts.items() for n in row[: resident[name]]]
        misses = [bool(n) for name, row in counts.items() for n in row[resident[name] :]]
        assert (stats.expert_hits, stats.expert_misses) == (sum(hits), sum(misses))
    assert (compiled.stats.expert_hits, compiled.stats.expert_misses) == (
        sum(bool(n) for row in compiled.stats.tokens_per_expert.values() for n in row),
        0,
    )


def test_experts_outside_a_task_s_window_are_not_moved(
    make_graph: MakeGraph, make_image: MakeImage, expected: Expected
) -> None:
    graph = make_graph(**SMALL, biased=True)
    for name, weight in graph.weights.items():
        if name.endswith("router.bias"):
            weight[1] = [-np.inf, 0, -np.inf, -np.inf, 0.5]
    image = make_image(1, 16, 8)
    size = open_backend_pool_size(graph)
    backend = open_backend(memory=2 * size)
    compiled = backend.compile(specialise(graph, 1))
    assert relative(compiled.run(image), expected(graph, 1, image)["output"]) < FLOAT32
    assert compiled.stats.moved_bytes == 2 * size


def open_backend_pool_size(graph: Graph) -> int:
    backend = open_backend()
    backend.compile(specialise(graph, 0))
    return backend.pool.expert_bytes


def test_a_budget_below_two_experts_is_refused(make_graph: MakeGraph) -> None:
    with pytest.raises(InputError, match="holds fewer than 2 experts"):
        open_backend(memory=100).compile(specialise(make_graph(**SMALL), 0))


def test_stats_count_tokens_and_bytes(
    make_graph: MakeGraph, make_image: MakeImage, expected: Expected
) -> None:
    graph = make_graph(**SMALL)
    image = make_image(2, 16, 8)
    compiled = open_backend().compile(specialise(graph, 1, 2))
    compiled.run(image)
    stats, values = compiled.stats, expected(graph, 1, image)
    index = values["blocks.1.router.expert_index"]
    counts = np.bincount(index.ravel(), minlength=5)
    assert stats.tokens_per_expert == {"blocks.1.experts": tuple(counts)}
    torch_program = TorchBackend(Options(Path())).compile(specialise(graph, 1, 2))
    torch_program.run(image)
    # An expert's tensors are padded to cache lines, and phases make a convolution larger.
    assert stats.weight_bytes > torch_program.stats.weight_bytes
    assert stats.activation_bytes > 0
    assert (stats.task, stats.seconds_per_node) == ("depth", None)


def test_other_backends_refuse_what_only_this_one_does(artifact: Path) -> None:
    image = np.zeros((1, 3, 24, 40), np.float32)
    with pytest.raises(
        BackendError, match=r"no budget: choose backend .*torch or triton, or leave"
    ):
        Session(artifact, "onnxruntime", memory="1MB").run_normalised(image, "depth")
    for backend in ("torch", "onnxruntime"):
        with pytest.raises(BackendError, match="approximates nothing, but was asked for gelu"):
            Session(artifact, backend, approximate=["gelu"]).run_normalised(image, "depth")
        with pytest.raises(BackendError, match="only, not int8"):
            Session(artifact, backend, precision="int8").run_normalised(image, "depth")


def test_without_a_gpu_there_is_one_clear_line() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    code = (
        "from gearshift import Session; import numpy as np\n"
        "Session('demo', backend='triton').run(np.zeros((16, 16, 3), np.uint8), 'depth')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "BackendError: backend triton: no GPU that torch can use" in done.stderr
    assert "TRITON_INTERPRET=1" in done.stderr


@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_planning_needs_neither_gpu_nor_weights(target: str, precision: str) -> None:
    graph = read_artifact(find_model("demo"))
    launches = plan_launches(specialise(graph, "depth"), target, precision)
    assert all(isinstance(launch, Launch) for launch in launches)
    assert len({id(launch) for launch in launches}) == len(launches)
    pointers = [a for launch in launches for a in launch.arguments.values() if hasattr(a, "dtype")]
    assert {pointer.device.type for pointer in pointers} == {"meta"}
    # Patches; 4 dense blocks of 5 launches, 4 sparse of 8; norm, 3 convolutions, head, enlarging.
    assert len(launches) == 1 + 4 * 5 + 4 * 8 + 6


def test_moves_take_turns_in_the_two_last_slots(make_graph: MakeGraph) -> None:
    graph = make_graph(**SMALL)
    size = open_backend_pool_size(graph)
    backend = open_backend(memory=3 * size)
    moves = [a for a in backend.compile(specialise(graph, 0))._plan.actions if isinstance(a, Move)]
    assert [move.slot for move in moves] == [2, 1, 2, 1]
    assert [move.row for move in moves] == [0, 1, 2, 3]
