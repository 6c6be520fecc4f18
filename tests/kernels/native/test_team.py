"""The team of threads: many of them, forked processes, and levels that are not there."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

from gearshift_kernels.native.library import VARIABLE, NativeError, choose_level, levels, peak_macs
from gearshift_kernels.native.structures import BFLOAT16, FLOAT32, INT8, Combine
from gearshift_kernels.native.team import CallList, Team

from .calls import Kept, run
from .conftest import TeamOf


def combine(kept: Kept, rows: int) -> tuple[Combine, np.ndarray, np.ndarray]:
    answers = np.random.default_rng(rows).normal(size=(rows, 2, 5)).astype(np.float32)
    out = kept.output((rows, 5))
    return (
        Combine(kept.at(answers), None, out.ctypes.data, rows, 2, 5),
        out,
        answers.sum(axis=1),
    )


def test_more_threads_than_rows_and_processors(team_of: TeamOf, level: str) -> None:
    for rows in (1, 3, 100):
        kept = Kept()
        arguments, out, wanted = combine(kept, rows)
        run(team_of(level, 7), FLOAT32, kept, arguments, arguments, arguments)
        np.testing.assert_allclose(out, wanted, rtol=1e-6, atol=1e-6)


def test_a_forked_process_is_told() -> None:
    team, kept = Team(2), Kept()
    calls = CallList([(combine(kept, 4)[0], FLOAT32)])
    team.reserve(calls)
    team.run(calls)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            team.run(calls)
        except NativeError as error:
            code = 0 if "after the fork" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    team.run(calls)


def test_the_level_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert choose_level() == levels()[-1]
    monkeypatch.setenv(VARIABLE, "scalar")
    assert Team(1).level == "scalar"
    monkeypatch.setenv(VARIABLE, "sse9")
    with pytest.raises(NativeError, match=f"{VARIABLE} is 'sse9': this machine has scalar"):
        choose_level()
    with pytest.raises(NativeError, match="the level is 'sse9'"):
        Team(1, "sse9")


def test_peaks_are_of_this_world(level: str) -> None:
    """Between what a CPU of thirty years ago did and what tiles do in one clock tick."""
    for precision in (FLOAT32, BFLOAT16, INT8):
        assert 1e8 < peak_macs(precision, level) < 2e13
