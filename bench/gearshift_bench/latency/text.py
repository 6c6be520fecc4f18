"""A result for a terminal: one table, and what must be known to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gearshift_bench.report import tables
from gearshift_bench.report.words import Names, amount, count, run_numbers, seconds


def lines(document: Mapping[str, Any]) -> list[str]:
    """Machine, table, energy, switches, warnings."""
    runs = document["runs"]
    names = Names(runs)
    found = [_title(document), "", _table(tables.summary(runs, names), names, runs)]
    found += _open_loops(runs, names) + _switches(runs, names) + _energy(runs, names)
    moving = [names.number(run) for run in runs if not run["warm_up"]["settled"]]
    if moving:
        found.append(
            f"warning: the median was still moving after warming up ({run_numbers(moving)})"
        )
    return found + [f"warning: {warning}" for warning in document["machine"]["warnings"]]


def _title(document: Mapping[str, Any]) -> str:
    machine, roofs = document["machine"], document["roofs"]
    flops = ", ".join(
        f"{name} {amount(rate, 'FLOP/s')}" for name, rate in roofs["flops"].items() if rate
    )
    return (
        f"{document['model']['name']} on {machine['processor']}, {machine['cores']} processors; "
        f"the same work took ±{machine['noise']['spread']:.1%}\n"
        f"measured roofs of {count(roofs['threads'], 'thread')}: "
        f"{flops or 'products not measured'}, memory {amount(roofs['bytes'], 'B/s')}"
    )


def _table(table: tables.Table, names: Names, runs: Sequence[Any]) -> str:
    """The report's summary without what is empty in every row."""
    metered = any(run["energy"].get("meters") for run in runs)
    kept = [
        index
        for index, head in enumerate(table.heads)
        if (metered or head != "energy a request")
        and (head != "peak memory" or any(run["memory_peak_bytes"] for run in runs))
    ]
    shown = tables.Table(
        table.caption,
        [table.heads[index] for index in kept],
        [[row[index] for index in kept] for row in table.rows],
        sum(index < table.first_figure for index in kept),
    )
    shared = names.shared()
    return f"{shared}\n{shown.text()}" if shared else shown.text()


def _open_loops(runs: Sequence[Mapping[str, Any]], names: Names) -> list[str]:
    found = []
    for run in runs:
        mode = run["mode"]
        if mode["kind"] != "open":
            continue
        words = (
            f"run {names.number(run)} at {mode['rate']:g}/s: {mode['served']} answered, busy "
            f"{mode['busy']:.0%}, at most {mode['largest_backlog']} waiting"
        )
        if mode["saturated"]:
            words += "; SATURATED: more arrives than can be answered, latencies grow with time"
        if mode["unserved"]:
            words += f", {mode['unserved']} were never begun"
        found.append(words)
    return found


def _switches(runs: Sequence[Mapping[str, Any]], names: Names) -> list[str]:
    found = []
    for run in runs:
        switches = run["switches"]
        if switches and switches["ratio"] is not None:
            found.append(
                f"run {names.number(run)}: {switches['count']} switches; a request after one took "
                f"{seconds(switches['median_after_switch'])}, of the same task again "
                f"{seconds(switches['median_same'])} ({switches['ratio'] - 1:+.1%}, 95 % within "
                f"{switches['ratio_low'] - 1:+.1%} and {switches['ratio_high'] - 1:+.1%})"
            )
    return found


def _energy(runs: Sequence[Mapping[str, Any]], names: Names) -> list[str]:
    found = [
        f"energy not measured: {reason} ({numbers})"
        for reason, numbers in tables.unmeasured_energy(runs, names)
    ]
    assumed: dict[float, list[str]] = {}
    for run in runs:
        if one := run["assumed_energy"]:
            words = f"run {names.number(run)} {amount(one['joules_per_request'], 'J')}"
            assumed.setdefault(one["watts"], []).append(words)
    found += [
        f"assumption, no measurement: at {watts:g} W a request would take {', '.join(words)}"
        for watts, words in assumed.items()
    ]
    return found
