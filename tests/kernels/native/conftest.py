"""Teams of every instruction set that this machine has; the slow ones are tested too."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gearshift_kernels.native.library import levels
from gearshift_kernels.native.team import Team

TeamOf = Callable[[str, int], Team]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "level" in metafunc.fixturenames:
        metafunc.parametrize("level", levels())


@pytest.fixture(scope="session")
def team_of() -> TeamOf:
    """`team_of(level, threads)`: made once."""
    teams: dict[tuple[str, int], Team] = {}

    def make(level: str, threads: int = 1) -> Team:
        return teams.setdefault((level, threads), Team(threads, level))

    return make
