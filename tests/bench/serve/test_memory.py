"""Memory over time: slopes that are known, and what is read where."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from gearshift.errors import InputError
from gearshift_bench.serve.memory import Memory, of_metrics, of_process, trend


def samples(resident: np.ndarray, every: float = 2.0) -> list[Memory]:
    return [Memory(every * i, float(value)) for i, value in enumerate(resident)]


def test_a_leak_is_its_slope_though_single_samples_jump() -> None:
    rng = np.random.default_rng(3)
    times = 2.0 * np.arange(200)
    resident = 50e6 + 1000 * times + rng.normal(0, 200, 200)
    resident[rng.choice(200, 20, replace=False)] += 40e6
    found = trend(samples(resident))
    assert found["growth_per_hour"] == pytest.approx(3.6e6, rel=0.02)
    assert found["rise"] == pytest.approx(1000 * 200, rel=0.1)


def test_what_is_made_once_at_the_beginning_is_no_growth() -> None:
    resident = np.full(100, 80e6)
    resident[:20] = 30e6
    found = trend(samples(resident))
    assert found["growth_per_hour"] == 0.0
    assert found["rise"] == 0.0


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_few_samples_make_no_trend(count: int) -> None:
    found = trend(samples(np.full(count, 1e6)))
    assert found["growth_per_hour"] is None
    assert found["not_measured"]


def test_metrics_tell_resident_memory_with_and_without_labels() -> None:
    assert of_metrics("x 1\nprocess_resident_memory_bytes 1.5e+08\n") == 1.5e8
    assert of_metrics('process_resident_memory_bytes{pod="a"} 7\n') == 7.0
    with pytest.raises(InputError, match="--pid"):
        of_metrics("not_process_resident_memory_bytes 1\n")


def test_the_system_tells_resident_memory_of_this_process() -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert of_process(os.getpid()) == pytest.approx(page * pages, rel=0.2)


def test_a_process_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--pid 77"):
        of_process(77, tmp_path)
