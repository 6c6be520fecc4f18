"""Records of `gearshift_bench.serve.plans` as text."""

from __future__ import annotations

from typing import Any

HEAD = ("load", "sent", "answers/s", "refused", "failed", "p50", "p90", "p99", "max", "queue",
        "compute", "outside", "batch")  # fmt: skip
EXPLANATION = """\
Times in ms, from the moment a request was meant to be sent. queue and compute: medians, as the
server says; outside: what is left of a request besides these (transport, client); batch: images
that ran together, on the average."""


def to_text(record: dict[str, Any]) -> str:
    """One plan's result."""
    return _FORMS[record["kind"]](record)


def table(loads: list[tuple[str, dict[str, Any]]]) -> str:
    """A line a load."""
    rows = [HEAD, *[_row(name, load) for name, load in loads]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]))
    return "\n".join(lines + [note for name, load in loads for note in _notes(name, load)])


def _row(name: str, load: dict[str, Any]) -> tuple[str, ...]:
    latency = load["latency"] or {}
    inside = [_ms((load[part] or {}).get("median")) for part in ("queue", "compute", "outside")]
    batch = load["mean_batch"]
    return (
        name,
        str(load["requests"]),
        f"{load['answers_per_second']:.1f}",
        f"{100 * load['refused_share']:.1f}%",
        str(load["failed"]),
        *[_ms(latency.get(part)) for part in ("median", "p90", "p99", "max")],
        *inside,
        "-" if batch is None else f"{batch:.2f}",
    )


def _notes(name: str, load: dict[str, Any]) -> list[str]:
    """What a line has no room for."""
    notes = []
    if refusals := load["refusal_latency"]:
        notes.append(
            f"{name}: a refusal took {_ms(refusals['median'])} ms (median), "
            f"{_ms(refusals['p90'])} (p90), {_ms(refusals['max'])} (longest)"
        )
    if load["late"] and load["late"]["p90"] > 0.001:
        notes.append(
            f"{name}: the client was {_ms(load['late']['p90'])} ms late with a tenth of the "
            "requests: part of the latencies is its own"
        )
    notes += [f"{name}: failed {count} times: {why}" for why, count in load["failures"].items()]
    return notes


def _closed(record: dict[str, Any]) -> str:
    return table([(_clients(record), record)])


def _rate(record: dict[str, Any]) -> str:
    return table([(f"{record['rate']:.1f}/s {record['arrivals']}", record)])


def _capacity(record: dict[str, Any]) -> str:
    steps = table([(_clients(step), step) for step in record["steps"]])
    return f"{steps}\ncapacity: {record['answers_per_second']:.1f} answers a second"


def _overload(record: dict[str, Any]) -> str:
    loaded = record["overloaded"]
    lines = [
        _capacity(record["capacity"]),
        table([("unloaded", record["unloaded"]), (f"at {loaded['rate']:.1f}/s", loaded)]),
    ]
    if record["slower"] is None:
        lines.append("p99 under overload: not measured, too few answers")
    else:
        lines.append(
            f"p99 of accepted requests is {record['slower']:.2f} times the unloaded one "
            f"(target under {record['target']:g}: {_reached(record)})"
            f"{_settled(record['settled'])}"
        )
    return "\n".join(lines)


def _settled(slower: float | None) -> str:
    return "" if slower is None else f"; without the first second {slower:.2f} times"


def _overhead(record: dict[str, Any]) -> str:
    session, server = record["session"], record["server"]
    beside = record["beside_compute"]
    return "\n".join(
        [
            f"session in this process: {_interval(session)}",
            f"behind a bare socket:    {_interval(record['bare'])}",
            f"through the server:      {_interval(server)}",
            f"overhead: {_ms(record['overhead'])} ms between the medians of "
            f"{server['count']} requests each, in turns; between neighbours "
            f"{_ms(record['low'])} to {_ms(record['high'])} "
            f"(target under {_ms(record['target'])}: {_reached(record)})",
            f"of it {_ms(record['floor'])} ms are what the same bytes cost over a bare socket",
            f"beside the computation that the server tells: {_ms((beside or {}).get('median'))} ms",
        ]
    )


def _soak(record: dict[str, Any]) -> str:
    memory = record["memory"]
    if memory["not_measured"]:
        told = f"memory: not measured: {memory['not_measured']}"
    else:
        told = (
            f"memory: {memory['samples'][-1][1] / 1e6:.1f} MB at the end, rose by "
            f"{memory['rise'] / 1e6:+.2f} MB after the first quarter, "
            f"{memory['growth_per_hour'] / 1e6:+.2f} MB an hour"
        )
    return f"{_rate(record)}\n{told}"


def _clients(record: dict[str, Any]) -> str:
    number = record["concurrency"]
    return f"{number} client{'s' if number > 1 else ''}"


def _interval(entry: dict[str, Any]) -> str:
    return (
        f"median {_ms(entry['median'])} ms ({_ms(entry['median_low'])} to "
        f"{_ms(entry['median_high'])}), p90 {_ms(entry['p90'])}, p99 {_ms(entry['p99'])}"
    )


def _reached(record: dict[str, Any]) -> str:
    return "reached" if record["reached"] else "missed"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.2f}"


_FORMS = {
    "closed": _closed,
    "rate": _rate,
    "capacity": _capacity,
    "overload": _overload,
    "overhead": _overhead,
    "soak": _soak,
}
