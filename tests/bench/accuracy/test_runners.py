"""What runners see is what the backends do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gearshift import Session
from gearshift.errors import BackendError
from gearshift.graph import Graph, write_artifact
from gearshift_bench.accuracy.runners import (
    Recorder,
    SessionRunner,
    TorchRecorder,
    open_runner,
    set_apart,
)
from gearshift_bench.latency.configuration import Configuration

from ...engine.conftest import GraphMaker, oracle_values

MakeImages = Callable[..., np.ndarray]
SEEN = [
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("native", "float32"),
    ("native", "bfloat16"),
    ("native", "int8"),
]


def open_or_skip(model: Path, backend: str, precision: str) -> Recorder:
    try:
        runner = open_runner(model, Configuration(backend, precision, 1, 1))
    except BackendError as error:
        pytest.skip(str(error))
    assert isinstance(runner, Recorder)
    return runner


@pytest.mark.parametrize(("backend", "precision"), SEEN)
def test_a_watched_run_is_the_sessions_run(
    artifact: Path, make_images: MakeImages, backend: str, precision: str
) -> None:
    """The same bits, and routes that add up to the session's own counts, in any order of tasks."""
    runner = open_or_skip(artifact, backend, precision)
    session = Session(artifact, backend=backend, precision=precision, threads=1)
    for task, batch in ((0, 3), (2, 1), (0, 3), (1, 2)):
        images = make_images(batch)
        found = runner.run(images, task)
        wanted = session.run_normalised(images, session.tasks[task])
        np.testing.assert_array_equal(found.output, wanted)
        counts = session.stats.tokens_per_expert
        assert found.routes is not None
        assert counts is not None
        assert found.routes.keys() == {"blocks.1.router", "blocks.3.router"}
        for router, experts in found.routes.items():
            assert experts.shape[0] == batch
            load = counts[router.replace("router", "experts")]
            np.testing.assert_array_equal(np.bincount(experts.ravel(), minlength=5), load)


def test_triton_with_approximations_is_watched_too(tmp_path: Path, make_images: MakeImages) -> None:
    pytest.importorskip("triton", reason="pip install 'gearshift[gpu]'")
    folder = tmp_path / "small.gs"
    write_artifact(GraphMaker(depth=2).make(), folder)
    images, asked = make_images(1), Configuration("triton", "float32", 1, None, ("softmax",))
    found = open_runner(folder, asked).run(images, 1)
    session = Session(folder, backend="triton", approximate=["softmax"])
    wanted = session.run_normalised(images, session.tasks[1])
    np.testing.assert_array_equal(found.output, wanted)
    counts = session.stats.tokens_per_expert
    assert counts is not None
    assert found.routes is not None
    (experts,) = found.routes.values()
    np.testing.assert_array_equal(
        np.bincount(experts.ravel(), minlength=5), counts["blocks.1.experts"]
    )


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_routes_of_float32_are_the_oracles(
    artifact: Path, graph: Graph, make_images: MakeImages, backend: str
) -> None:
    images = make_images()
    found = open_or_skip(artifact, backend, "float32").run(images, 1)
    wanted = oracle_values(graph, 1, images)
    assert found.routes is not None
    for router, experts in found.routes.items():
        np.testing.assert_array_equal(experts, wanted[f"{router}.expert_index"])


def test_another_backend_tells_loads_or_nothing(artifact: Path, make_images: MakeImages) -> None:
    images = make_images()
    silent = open_runner(artifact, Configuration("onnxruntime", "float32", 1, 1)).run(images, 0)
    assert (silent.routes, silent.loads) == (None, None)
    configuration = Configuration("torch", "float32", 1, 1)
    told = SessionRunner(artifact, configuration).run(images, 0)
    seen = TorchRecorder(artifact, configuration).run(images, 0)
    assert told.routes is None
    assert told.loads is not None
    assert seen.routes is not None
    for router, load in told.loads.items():
        np.testing.assert_array_equal(np.bincount(seen.routes[router].ravel(), minlength=5), load)


def test_what_a_backend_cannot_do_is_said(artifact: Path) -> None:
    with pytest.raises(BackendError, match="approximates nothing"):
        open_runner(artifact, Configuration("torch", "float32", 1, None, ("gelu",)))


def test_values_set_apart_overlap_nothing(artifact: Path) -> None:
    program = Session(artifact).program("normals", 3)
    names = [step.outputs[0] for step in program.steps if step.kernel == "router"]
    values, end = set_apart(program.values, names, program.arena_bytes)
    places = sorted((values[name].offset, values[name].nbytes) for name in names)
    assert places[0][0] >= program.arena_bytes
    for (start, nbytes), (following, _) in zip(places, [*places[1:], (end, 0)], strict=True):
        assert start + nbytes <= following
    assert {name for name in values if values[name] != program.values[name]} == set(names)
