"""Better, worse or no difference, of results whose difference is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gearshift_bench.latency.compare import compare, lines
from gearshift_bench.latency.statistics import latency_entry
from gearshift_bench.report.document import check_document


def make_run(scale: float, seed: int, count: int = 200, **changes: Any) -> dict[str, Any]:
    """A run of log-normal latencies around `scale`."""
    seconds = scale * np.random.default_rng(seed).lognormal(0, 0.02, count)
    run: dict[str, Any] = {
        "task": "depth", "backend": "native", "precision": "float32", "batch": 1, "threads": 1,
        "approximate": [], "memory": None, "mode": {"kind": "closed"}, "mix": None, "cold": None,
        "warm_up": {"runs": 2, "seconds": 0.1, "settled": True},
        "latency": latency_entry(seconds.tolist()), "seconds": seconds.tolist(), "tasks": None,
        "throughput": 1.0, "requests_per_second": 1.0, "memory_peak_bytes": None, "work": None,
        "switches": None, "experts": None, "nodes": {}, "energy": {"not_measured": "no meter"},
        "assumed_energy": None,
    }  # fmt: skip
    return run | changes


def make_document(*runs: dict[str, Any], **noise: Any) -> dict[str, Any]:
    return check_document(
        {
            "format": "gearshift-bench", "version": 1,
            "machine": {
                "processor": "one", "cores": 2, "memory_bytes": None, "system": "Linux",
                "governor": None, "clock_mhz": None, "load_before": None,
                "noise": {"spread": 0.01, "noisy": False, "seconds": 0.001} | noise,
                "warnings": [],
            },
            "software": {}, "accuracy": [],
            "model": {
                "name": "demo", "sha256": "0" * 64, "parameters": 1, "image": [3, 8, 8],
                "experts": 8, "top_k": 2, "tasks": ["depth"],
            },
            "roofs": {"threads": 1, "flops": {}, "bytes": None},
            "runs": list(runs),
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "verdict"), [(0.9, "better"), (1.1, "worse"), (1.0, "no difference")]
)
def test_a_change_is_found_and_none_is_not(change: float, verdict: str) -> None:
    found = compare(
        make_document(make_run(0.008, 1)), make_document(make_run(0.008 * change, 2, 300))
    )
    (pair,) = found.pairs
    assert pair.verdict == verdict
    assert pair.comparison.ratio == pytest.approx(change, abs=0.01)


def test_runs_without_a_change_are_hardly_ever_called_different() -> None:
    found = [
        compare(make_document(make_run(1, 2 * seed)), make_document(make_run(1, 2 * seed + 1)))
        for seed in range(60)
    ]
    assert all(one.pairs[0].verdict == "no difference" for one in found)


@pytest.mark.parametrize(
    "noise", [{"spread": 0.2}, {"seconds": 0.00115}, {"seconds": 0.00085}], ids=str
)
def test_a_change_that_the_machine_s_noise_explains_is_none(noise: dict[str, float]) -> None:
    before, after = make_document(make_run(1, 1)), make_document(make_run(0.9, 2), **noise)
    assert compare(before, after).pairs[0].verdict == "no difference"
    assert compare(after, before).pairs[0].verdict == "no difference"


def test_a_change_of_little_size_is_none_however_certain() -> None:
    before = make_document(make_run(1, 1, 20_000), spread=0.0)
    after = make_document(make_run(1.005, 2, 20_000), spread=0.0)
    (pair,) = compare(before, after).pairs
    assert pair.comparison.p_value < 1e-6
    assert pair.verdict == "no difference"


def test_a_few_requests_are_no_evidence() -> None:
    before, after = make_document(make_run(1, 1, 3)), make_document(make_run(0.7, 2, 3))
    assert compare(before, after).pairs[0].verdict == "no difference"


def test_only_equal_runs_are_held_against_each_other() -> None:
    changes: list[dict[str, Any]] = [
        {"task": "edge"}, {"backend": "torch"}, {"precision": "int8"}, {"batch": 2},
        {"threads": None}, {"approximate": ["gelu"]}, {"memory": 5},
        {"mode": {"kind": "open", "rate": 5.0}},
        {"task": None, "mix": {"kind": "markov", "description": "x"}},
    ]  # fmt: skip
    before = make_document(make_run(1, 1))
    after = make_document(*(make_run(1, 2, **change) for change in changes))
    found = compare(before, after)
    assert not found.pairs
    assert len(found.only_before) == 1
    assert len(found.only_after) == len(changes)
    text = "\n".join(lines(before, after))
    assert text.count("only in the second result") == len(changes)
    assert "only in the first result: depth, native float32, batch 1, 1 thread" in text


def test_what_makes_results_incomparable_is_said() -> None:
    before, after = make_document(make_run(1, 1)), make_document(make_run(1, 2), noisy=True)
    after["model"]["sha256"] = "1" * 64
    after["machine"]["processor"] = "another"
    after["machine"]["noise"]["seconds"] = 0.0012
    after["settings"] = {"seconds": 1.0, "seed": 0, "image": "noise"}
    warnings = compare(before, after).warnings
    assert any("model sha256 differs" in one for one in warnings)
    assert "what the requests carry differs: None before, noise after" in warnings
    assert "machine processor differs: one before, another after" in warnings
    assert any("second result was noisy" in one for one in warnings)
    assert any("+20.0% after" in one for one in warnings)
    assert compare(before, before).warnings == ()


def test_the_text_has_verdict_and_evidence() -> None:
    before, after = make_document(make_run(0.01, 1)), make_document(make_run(0.008, 2))
    text = "\n".join(lines(before, after)).splitlines()
    row = next(line for line in text if line.startswith("depth"))
    assert "10.0 ms" in row
    assert row.endswith("better")
    assert any("Mann-Whitney" in line for line in text)
    assert lines(make_document(), make_document()) == ["neither result has a run"]
