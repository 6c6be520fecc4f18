"""What several benchmarks' tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gearshift.graph import Graph, write_artifact


@pytest.fixture
def make_artifact(tmp_path: Path) -> Callable[[Graph], Path]:
    """A graph as a folder."""

    def make(graph: Graph) -> Path:
        folder = tmp_path / "random.gs"
        write_artifact(graph, folder)
        return folder

    return make
