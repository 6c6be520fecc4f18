"""Tables of records that are no runs: what precisions cost in accuracy, what others published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from gearshift_bench.published import NOT_FOUND, Published, published
from gearshift_bench.report.tables import Cell, Table
from gearshift_bench.report.words import (
    NOT_MEASURED,
    NOTHING,
    SIMULATORS,
    Names,
    Run,
    amount,
    engine,
    seconds,
    subject,
    three_digits,
)

Record = Mapping[str, Any]
"""One entry of the document's `accuracy`."""

ROUTING = {
    "routed_alike": "Tokens that go to the same experts as in float32, by router",
    "loads_alike": "Where the backend tells only how many tokens each expert had: at most alike",
}
"""The entries of a record that hold a share for each router, and what they are."""


def accuracy(found: Sequence[Record]) -> Table | None:
    """A row a trade; None without any."""
    heads = (
        "task", "backend", "precision", "approximate", "figure", "energy a request", "latency",
        "value", "float32", "change", "output change", "routed alike",
    )  # fmt: skip
    rows = [
        [
            *_setting(record),
            Cell(record["metric"] or NOTHING),
            # Why not stands below the table.
            Cell(NOT_MEASURED if _is_unmeasured(record) else record["energy"]),
            _time(record["latency_ms"]),
            _figure(record["value"], "z.4f"),
            _figure(record["value_float32"], "z.4f"),
            _figure(record["change_percent"], "+z.2f", " %"),
            _figure(record["output_change_percent"], "z.2f", " %"),
            _worst(record),
        ]
        for record in found
    ]
    return Table("Accuracy beside speed", heads, rows, 6) if rows else None


def routing(found: Sequence[Record]) -> list[Table]:
    """A column a router, for each entry of `ROUTING` that any record has."""
    tables = []
    for key, caption in ROUTING.items():
        told = [record for record in found if record.get(key)]
        routers = list(dict.fromkeys(router for record in told for router in record[key]))
        rows = [
            [*_setting(record), *(_share(record[key].get(router)) for router in routers)]
            for record in told
        ]
        heads = ("task", "backend", "precision", "approximate", *map(_short, routers))
        if rows:
            tables.append(Table(caption, heads, rows, 4))
    return tables


def unmeasured(found: Sequence[Record]) -> list[str]:
    """Why trades have no energy, each reason once."""
    words = (str(record["energy"]) for record in found if _is_unmeasured(record))
    return list(dict.fromkeys(one.removeprefix(NOT_MEASURED).lstrip(": ") for one in words))


def beside_published(document: Mapping[str, Any], names: Names) -> tuple[Table, list[str]]:
    """Own runs, then what others published, with the work of a frame made equal; and a note a row.

    Work is made equal to the mean of the model's tasks; without their multiply-accumulates, and for
    designs whose work is not known, nothing is.
    """
    macs = document["model"].get("macs")
    work = fmean(macs.values()) if macs else None
    figures = [*_own(document, names), *published()]
    heads = (
        "note", "design", "model", "platform", "precision", "tokens", "GMAC", "clock", "power",
        "latency", "energy", "latency at equal work", "energy at equal work",
    )  # fmt: skip
    rows = [_published_row(number, one, work) for number, one in enumerate(figures, 1)]
    return Table("Published figures", heads, rows, 5), [_note(one) for one in figures]


def _own(document: Mapping[str, Any], names: Names) -> Iterator[Published]:
    """Runs of one task and one picture at a time, once for each meter; simulators take their own
    time, not the accelerator's."""
    model, platform = document["model"]["name"], document["machine"]["processor"]
    for run in document["runs"]:
        alone = run["task"] is not None and run["batch"] == 1 and run["mode"]["kind"] == "closed"
        if not alone or run["backend"] in SIMULATORS:
            continue
        for joules, meter in _joules(run):
            yield Published(
                f"gearshift {run['backend']}",
                f"{model}, {subject(run)}",
                platform,
                f"the whole task: {engine(run)}",
                f"run {names.number(run)} of this page",
                run["precision"],
                macs=(run["work"] or {}).get("macs"),
                milliseconds=1e3 * run["latency"]["median"],
                joules=joules,
                joules_from=meter,
            )


def _joules(run: Run) -> list[tuple[float | None, str | None]]:
    """By meter; without one, a single pair of nothing."""
    meters = run["energy"].get("meters") or []
    if not meters:
        return [(None, None)]
    return [(one["joules_per_request"], f"{one['name']} ({one['kind']})") for one in meters]


def _published_row(number: int, one: Published, work: float | None) -> list[Cell]:
    return [
        Cell(str(number), number),
        *map(Cell, (one.design, one.model, one.platform, one.precision or NOTHING)),
        _figure(one.tokens, ",d"),
        Cell(NOTHING) if one.macs is None else Cell(three_digits(one.macs / 1e9), one.macs),
        _figure(one.clock_mhz, ".0f", " MHz"),
        _amount(one.watts, "W"),
        _time(one.milliseconds),
        _amount(one.joules, "J"),
        _time(one.at_work(one.milliseconds, work)),
        _amount(one.at_work(one.joules, work), "J"),
    ]


def _note(one: Published) -> str:
    joules = f"Joules: {one.joules_from}. " if one.joules_from else ""
    note = f"{_sentence(one.note)} " if one.note else ""
    is_found = one.includes != NOT_FOUND
    time = f"The time is of: {one.includes}." if is_found else "What the time is of was not found."
    return f"{one.design} on {one.platform}. {time} {joules}{note}Source: {one.source}."


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _setting(record: Record) -> list[Cell]:
    return [Cell(record[name]) for name in ("task", "backend", "precision", "approximate")]


def _worst(record: Record) -> Cell:
    """Of the router that agrees least."""
    for key, words in (("routed_alike", ""), ("loads_alike", "at most ")):
        if shares := record.get(key):
            router = min(shares, key=lambda name: shares[name])
            alike = shares[router]
            return Cell(f"{words}{_percent(alike)} in {_short(router)}", alike)
    return Cell(NOTHING)


def _short(router: str) -> str:
    """`blocks.3.router` -> `block 3`."""
    name = router.removesuffix(".router")
    return f"block {name.removeprefix('blocks.')}" if name.startswith("blocks.") else name


def _is_unmeasured(record: Record) -> bool:
    return str(record["energy"]).startswith(NOT_MEASURED)


def _figure(value: float | None, how: str, unit: str = "") -> Cell:
    return Cell(NOTHING if value is None else f"{value:{how}}{unit}", value)


def _share(value: float | None) -> Cell:
    return Cell(NOTHING if value is None else _percent(value), value)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _time(milliseconds: float | None) -> Cell:
    value = None if milliseconds is None else milliseconds / 1e3
    return Cell(seconds(value), value)


def _amount(value: float | None, unit: str) -> Cell:
    return Cell(amount(value, unit), value)
