"""A random model of other tasks than the rooms', as an artifact, and rooms of its size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from gearshift.graph import Graph, write_artifact
from gearshift.models import find_model
from gearshift_bench.accuracy.rooms import held_out_rooms
from gearshift_export.demo.scenes import Scene

from ...engine.conftest import GraphMaker


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "accuracy-cache"
    monkeypatch.setenv("GEARSHIFT_CACHE", str(folder))
    monkeypatch.delenv("GEARSHIFT_BACKEND", raising=False)


@pytest.fixture(scope="session")
def graph() -> Graph:
    return GraphMaker().make()


@pytest.fixture(scope="session")
def artifact(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accuracy") / "random.gs"
    write_artifact(graph, folder)
    return folder


@pytest.fixture(scope="session")
def rooms(graph: Graph) -> Sequence[Scene]:
    return held_out_rooms(graph.card, 3)


@pytest.fixture(scope="session")
def demo() -> Path:
    return find_model("demo").absolute()


@pytest.fixture
def make_images() -> Callable[..., np.ndarray]:
    def make(batch: int = 3, seed: int = 5) -> np.ndarray:
        random = np.random.default_rng(seed)
        return random.normal(size=(batch, 3, 24, 40)).astype(np.float32)

    return make
