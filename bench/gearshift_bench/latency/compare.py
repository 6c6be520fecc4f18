"""Two results, run by run: better, worse or no difference, and the evidence.

A run is better (or worse) when three things hold at once:

- the bootstrap interval of the ratio of the medians leaves out 1;
- the Mann-Whitney test says that the two series are not from one distribution, at `LEVEL` divided
  by the number of runs compared (Bonferroni);
- the medians differ by more than the machines' noise (`threshold`).

With many requests the first two see differences that no one would notice; the third asks for more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gearshift.text import columns
from gearshift_bench.latency.statistics import Comparison, compare_series
from gearshift_bench.report.words import engine, load, seconds, subject

LEVEL = 0.01
LEAST_THRESHOLD = 0.01
"""A smaller difference is never called one: two processes place their memory differently."""

Verdict = Literal["better", "worse", "no difference"]
Document = Mapping[str, Any]
Run = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """The same run in both results."""

    before: Run
    after: Run
    comparison: Comparison
    verdict: Verdict


@dataclass(frozen=True)
class Compared:
    """All that can be said of two documents."""

    pairs: tuple[Pair, ...]
    only_before: tuple[Run, ...]
    only_after: tuple[Run, ...]
    threshold: float
    warnings: tuple[str, ...]


def compare(before: Document, after: Document) -> Compared:
    """Pair the runs of two checked documents and judge each pair by its latencies."""
    first = {_key(run): run for run in before["runs"]}
    second = {_key(run): run for run in after["runs"]}
    limit = threshold(before, after)
    shared = [key for key in first if key in second]
    pairs = []
    for key in shared:
        found = compare_series(first[key]["seconds"], second[key]["seconds"])
        verdict = judge(found, limit, LEVEL / len(shared))
        pairs.append(Pair(first[key], second[key], found, verdict))
    return Compared(
        tuple(pairs),
        tuple(run for key, run in first.items() if key not in second),
        tuple(run for key, run in second.items() if key not in first),
        limit,
        tuple(_warnings(before, after)),
    )


def threshold(before: Document, after: Document) -> float:
    """The share by which medians must differ.

    The largest of 1 %, the noise of both machines, and how much the same work, which no backend has
    a part in, differs between them.
    """
    noise = [document["machine"]["noise"] for document in (before, after)]
    drift = work_ratio(before, after)
    return max(LEAST_THRESHOLD, *(one["spread"] for one in noise), max(drift, 1 / drift) - 1)


def work_ratio(before: Document, after: Document) -> float:
    """How much longer the fixed work between the rounds took; 1 where that was not kept."""
    one, other = (document["machine"]["noise"].get("seconds") for document in (before, after))
    return other / one if one and other else 1.0


def judge(found: Comparison, limit: float, level: float) -> Verdict:
    """The verdict on latencies: less is better."""
    if found.p_value >= level or found.low <= 1 <= found.high:
        return "no difference"
    if found.ratio < 1 / (1 + limit):
        return "better"
    return "worse" if found.ratio > 1 + limit else "no difference"


def lines(before: Document, after: Document) -> list[str]:
    """The comparison for a terminal."""
    found = compare(before, after)
    text = [f"warning: {warning}" for warning in found.warnings]
    if found.pairs:
        text += [_table(found), "", _legend(found)]
    for runs, where in ((found.only_before, "first"), (found.only_after, "second")):
        text += [f"only in the {where} result: {_name(run)}" for run in runs]
    return text or ["neither result has a run"]


def _table(found: Compared) -> str:
    head = ("task", "backend", "load", "before", "after", "change", "95 % interval", "p", "verdict")
    rows = [
        (
            subject(pair.before),
            engine(pair.before),
            load(pair.before),
            seconds(pair.before["latency"]["median"]),
            seconds(pair.after["latency"]["median"]),
            f"{pair.comparison.ratio - 1:+.1%}",
            f"{pair.comparison.low - 1:+.1%} to {pair.comparison.high - 1:+.1%}",
            f"{pair.comparison.p_value:.1g}",
            pair.verdict,
        )
        for pair in found.pairs
    ]
    return columns([head, *rows], right=(3, 4, 5, 6, 7))


def _legend(found: Compared) -> str:
    level = LEVEL / len(found.pairs)
    return (
        "change of the median latency with its bootstrap interval; p of the Mann-Whitney test. "
        f"A difference: the interval leaves out 0, p below {level:.2g}, and a change above "
        f"{found.threshold:.1%}, which these machines' noise may explain"
    )


def _name(run: Run) -> str:
    return f"{subject(run)}, {engine(run)}, {load(run)}"


def _key(run: Run) -> tuple[Any, ...]:
    """What must be equal for two runs to be compared."""
    mix, mode = run["mix"] or {}, run["mode"]
    return (
        run["task"],
        mix.get("kind"),
        mix.get("description"),
        run["backend"],
        run["precision"],
        run["batch"],
        run["threads"],
        tuple(sorted(run["approximate"])),
        run["memory"],
        mode["kind"],
        mode.get("rate"),
        mode.get("arrivals"),
    )


def _warnings(before: Document, after: Document) -> list[str]:
    found = []
    for part, key in (
        ("model", "name"),
        ("model", "sha256"),
        ("machine", "processor"),
        ("machine", "cores"),
        ("machine", "governor"),
    ):
        one, other = before[part][key], after[part][key]
        if one != other:
            found.append(f"{part} {key} differs: {one} before, {other} after")
    one, other = (document.get("settings", {}).get("image") for document in (before, after))
    if one != other:
        found.append(f"what the requests carry differs: {one} before, {other} after")
    for document, which in ((before, "first"), (after, "second")):
        if document["machine"]["noise"]["noisy"]:
            spread = document["machine"]["noise"]["spread"]
            found.append(f"the machine of the {which} result was noisy: ±{spread:.1%}")
    if abs(drift := work_ratio(before, after) - 1) > LEAST_THRESHOLD:
        found.append(f"the machine itself changed: the same work took {drift:+.1%} after")
    return found
