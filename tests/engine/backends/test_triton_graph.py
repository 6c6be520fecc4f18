"""Capture and replay, with a stand-in for CUDA graphs: what a card would do, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from gearshift.backends import Options
from gearshift.backends.triton_backend import TritonBackend
from gearshift.graph import Graph
from gearshift.specialise import specialise
from gearshift_kernels.triton.launch import Device, Launch

SMALL = {"height": 16, "width": 8, "depth": 2, "stages": 2, "patch": 4}


class FakeGraph:
    """Holds launches with the addresses of their capture, and runs them again."""

    made = 0

    def __init__(self) -> None:
        FakeGraph.made += 1
        self.launches: list[tuple[Launch, list[int]]] = []

    def replay(self) -> None:
        for launch, addresses in self.launches:
            assert addresses == pointers(launch), "replayed where its memory no longer is"
            run(launch)


run = Launch.run


def pointers(launch: Launch) -> list[int]:
    return [a.data_ptr() for a in launch.arguments.values() if isinstance(a, torch.Tensor)]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> TritonBackend:
    """One that takes the interpreter for a card."""
    capturing: list[FakeGraph] = []

    @contextmanager
    def capture(graph: FakeGraph) -> Iterator[None]:
        capturing.append(graph)
        yield
        capturing.pop()

    def record(launch: Launch) -> None:
        if capturing:
            capturing[-1].launches.append((launch, pointers(launch)))
        else:
            run(launch)

    monkeypatch.setattr(FakeGraph, "made", 0)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(Launch, "run", record)
    made = TritonBackend(Options(Path(), "float32"))
    monkeypatch.setattr(Device, "interpreted", property(lambda device: False))
    monkeypatch.setattr(Device, "product_precision", "ieee")
    made.device = Device("sm_80")
    return made


def test_a_graph_a_program(
    backend: TritonBackend,
    make_graph: Callable[..., Graph],
    make_image: Callable[..., np.ndarray],
    expected: Callable[..., dict[str, np.ndarray]],
) -> None:
    graph, image = make_graph(**SMALL), make_image(1, 16, 8)
    first, second = (backend.compile(specialise(graph, task)) for task in (0, 1))
    for number, compiled in ((0, first), (1, second), (0, first)):
        wanted = expected(graph, number, image)["output"]
        found = compiled.run(image)
        assert np.abs(found - wanted).max() < 2e-5 * np.abs(wanted).max()
    assert FakeGraph.made == 2


def test_a_graph_is_made_again_when_the_arena_moves(
    backend: TritonBackend,
    make_graph: Callable[..., Graph],
    make_image: Callable[..., np.ndarray],
) -> None:
    graph, image = make_graph(**SMALL, decoders=False), make_image(1, 16, 8)
    small = backend.compile(specialise(graph, 0))
    wanted = small.run(image)
    before = backend.arena.address
    backend.compile(specialise(graph, 0, 1, 64, 64))
    assert backend.arena.address != before
    np.testing.assert_array_equal(small.run(image), wanted)
    assert FakeGraph.made == 2
