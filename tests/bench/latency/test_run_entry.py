"""What becomes of statistics and series: sums, rates and shares with known answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gearshift.backends import Stats
from gearshift_bench.latency.configuration import Configuration
from gearshift_bench.latency.loops import Opened, Series
from gearshift_bench.latency.profile import profile
from gearshift_bench.latency.roofs import Roof
from gearshift_bench.latency.run_entry import Findings, run_entry
from gearshift_bench.latency.warm_up import WarmUp
from gearshift_bench.latency.workload import Workload, single

ROOF = Roof(2, {"float32": 1000.0, "int8": None}, 50.0)
MIX = Workload("weights", "a:1,b:1", ("a", "b"))


def stats(task: str = "a", **changes: Any) -> Stats:
    return Stats("fake", task, 1.0, **changes)


def entry(
    workload: Workload,
    seconds: dict[str, list[float]],
    configuration: Configuration | None = None,
    told: list[Stats] | None = None,
    watts: float | None = None,
    opened: Opened | None = None,
) -> dict[str, Any]:
    """A run of requests that took `seconds` by task, one task after the other."""
    series, before = Series(), None
    for task, found in seconds.items():
        for one in found:
            series.add(task, before, one, one)
            before = task
    contender = SimpleNamespace(
        configuration=configuration or Configuration("native", "float32", 1, 2),
        workload=workload,
        macs=lambda: {"a": 100, "b": 400},
    )
    found = Findings(contender, series)  # type: ignore[arg-type]
    found.warm = WarmUp(3, 0.5, True)
    found.profile = profile(told or [stats()], workload.task is None)
    found.energy = {"not_measured": "no meter"}
    if opened:
        found.opened, found.series = opened, opened.series
        found.mode = opened.mode(4.0, "fixed")
    return run_entry(found, ROOF, watts)


def test_rates_and_shares_are_of_the_median_request() -> None:
    told = [stats(weight_bytes=30, activation_bytes=10)]
    run = entry(single("a"), {"a": [1.0, 2.0, 6.0]}, told=told)
    work = run["work"]
    assert (work["macs"], work["flops"], work["bytes"]) == (100, 200, 40)
    assert work["flops_per_second"] == 100
    assert work["bytes_per_second"] == 20
    assert work["share_of_flops"] == pytest.approx(0.1)
    assert work["share_of_bytes"] == pytest.approx(0.4)
    assert run["requests_per_second"] == run["throughput"] == pytest.approx(3 / 9)
    assert (run["switches"], run["tasks"], run["mix"]) == (None, None, None)


def test_rates_of_a_mix_are_of_all_its_requests() -> None:
    run = entry(MIX, {"a": [1.0, 1.0, 1.0], "b": [5.0]})
    assert run["task"] is None
    assert run["work"]["macs"] == 175
    assert run["work"]["flops_per_second"] == pytest.approx(2 * 700 / 8)
    assert run["tasks"] == ["a", "a", "a", "b"]
    assert run["switches"]["count"] == 1


def test_images_are_more_than_requests_in_a_batch() -> None:
    run = entry(single("a"), {"a": [0.5, 0.5]}, Configuration("torch", "float32", 3, 1))
    assert run["requests_per_second"] == pytest.approx(2)
    assert run["throughput"] == pytest.approx(6)


@pytest.mark.parametrize(
    ("backend", "precision", "has_roof"),
    [("native", "float32", True), ("native", "int8", False), ("native", "float16", False),
     ("triton", "float32", False), ("rtl-sim", "int8", False)],
)  # fmt: skip
def test_shares_are_of_roofs_that_were_measured_for_them(
    backend: str, precision: Any, has_roof: bool
) -> None:
    told = [stats(weight_bytes=1, activation_bytes=1)]
    run = entry(single("a"), {"a": [1.0]}, Configuration(backend, precision, 1, 2), told)
    assert (run["work"]["share_of_flops"] is not None) == has_roof
    assert (run["work"]["share_of_bytes"] is not None) == (backend == "native")


def test_what_a_backend_does_not_tell_stays_unknown() -> None:
    run = entry(single("a"), {"a": [1.0]}, told=[stats(weight_bytes=5)])
    assert run["work"]["weight_bytes"] == 5
    assert run["work"]["activation_bytes"] is None
    assert run["work"]["bytes"] is run["work"]["bytes_per_second"] is None
    assert run["experts"] is None
    assert run["nodes"] == {}


def test_an_assumed_power_flows_while_requests_run_and_not_while_they_wait() -> None:
    series = Series([3.0, 5.0], [1.0, 2.0], ["a", "a"], [None, "a"])
    opened = Opened(series, 8.0, 0, 1)
    run = entry(single("a"), {"a": [1.0]}, watts=10.0, opened=opened)
    assert run["assumed_energy"] == {"watts": 10.0, "joules_per_request": 15.0}
    assert run["requests_per_second"] == pytest.approx(0.25)
    assert run["latency"]["median"] == pytest.approx(4.0)
    assert run["work"]["flops_per_second"] == pytest.approx(200 / 1.5)
    assert run["mode"]["busy"] == pytest.approx(3 / 8)


def test_nodes_of_one_task_are_medians_and_of_a_mix_means() -> None:
    told = [stats(seconds_per_node={"x": one, "y": 1.0}) for one in (1.0, 2.0, 9.0)]
    told.append(stats("b", seconds_per_node={"x": 0.0, "z": 8.0}))
    assert profile(told[:3], False).nodes == {"x": 2.0, "y": 1.0}
    assert profile(told, True).nodes == {"x": 3.0, "y": 0.75, "z": 2.0}


def test_experts_of_one_task_are_of_a_request_and_of_a_mix_of_all() -> None:
    told = [
        stats(tokens_per_expert={"x": (1, 0, 3)}),
        stats("b", tokens_per_expert={"x": (2, 2, 0)}),
    ]
    assert profile(told[:1] * 3, False).experts == {"x": [1, 0, 3]}
    assert profile(told, True).experts == {"x": [3, 2, 3]}
