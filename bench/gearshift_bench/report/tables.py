"""The report's tables, as text that the template escapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gearshift.text import columns
from gearshift_bench.report.words import (
    NOT_MEASURED,
    NOTHING,
    Names,
    Run,
    amount,
    engine,
    run_numbers,
    seconds,
    share,
    subject,
    three_digits,
)


@dataclass(frozen=True)
class Cell:
    """What stands in a table, and the figure by which it sorts (None: by its text)."""

    text: str
    figure: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows as long as `heads`; columns from `first_figure` on stand to the right."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    first_figure: int = 1

    def text(self) -> str:
        """For a terminal, without the caption."""
        rows = [[cell.text for cell in row] for row in self.rows]
        return columns([self.heads, *rows], right=range(self.first_figure, len(self.heads)))


def summary(runs: Sequence[Run], names: Names) -> Table:
    """A row a run: what one looks for first."""
    heads = (
        "run", "task", "backend", *names.varying, "median", "±", "p90", "p99", "max",
        "images/s", "of roof", "peak memory", "energy a request",
    )  # fmt: skip
    shared = names.shared()
    caption = f"Every run: {shared}" if shared else "Every run"
    return Table(caption, heads, [_summary_row(run, names) for run in runs], 3)


def _summary_row(run: Run, names: Names) -> list[Cell]:
    found, work = run["latency"], run["work"] or {}
    half = max(found["median_high"] - found["median"], found["median"] - found["median_low"])
    shares = [one for key in ("share_of_flops", "share_of_bytes") if (one := work.get(key))]
    number = names.number(run)
    return [
        Cell(str(number), number),
        Cell(subject(run)),
        Cell(engine(run)),
        *(_setting(run, setting) for setting in names.varying),
        _time(found["median"]),
        _percent(half / found["median"] if found["median"] else None),
        *(_time(found[key]) for key in ("p90", "p99", "max")),
        Cell(three_digits(run["throughput"]), run["throughput"]),
        _percent(max(shares, default=None)),
        Cell(amount(run["memory_peak_bytes"], "B"), run["memory_peak_bytes"]),
        _joules(run),
    ]


def _setting(run: Run, setting: str) -> Cell:
    figure = run["mode"].get("rate") if setting == "rate" else run[setting]
    words = f"{figure:g}/s" if setting == "rate" and figure else str(figure)
    return Cell(NOTHING, 0) if figure is None else Cell(words, figure)


def _joules(run: Run) -> Cell:
    """Meter by meter: one may hold another. Never an assumption."""
    meters = run["energy"].get("meters") or []
    if not meters:
        return Cell(NOT_MEASURED)
    figures = [(meter["joules_per_request"], meter["name"]) for meter in meters]
    words = [f"{amount(joules, 'J')} {name}" for joules, name in figures]
    return Cell(", ".join(words), figures[0][0])


def starts(runs: Sequence[Run], names: Names) -> Table:
    """Cold starts and warm-ups."""
    heads = ("run", "task", "backend", "open", "first result", "warm-up", "requests", "settled")
    rows = []
    for run in runs:
        cold, warm = run["cold"] or {}, run["warm_up"]
        rows.append(
            [
                *_who(run, names),
                *(_time(cold.get(key)) for key in ("open_seconds", "first_seconds")),
                _time(warm["seconds"]),
                Cell(f"{warm['runs']:,}", warm["runs"]),
                Cell("yes" if warm["settled"] else "no: the median was still moving"),
            ]
        )
    return Table("Cold start and warm-up", heads, rows, 3)


def work(runs: Sequence[Run], names: Names) -> Table:
    """What a request computes and moves, and how fast that went."""
    heads = (
        "run", "task", "backend", "MACs", "weights", "activations", "achieved", "of roof",
        "moved", "of roof",
    )  # fmt: skip
    rows = []
    for run in runs:
        found = run["work"] or {}
        kinds = (("macs", ""), ("weight_bytes", "B"), ("activation_bytes", "B"))
        rows.append(
            [
                *_who(run, names),
                *(Cell(amount(found.get(key), unit), found.get(key)) for key, unit in kinds),
                _rate(found.get("flops_per_second"), "FLOP/s"),
                _percent(found.get("share_of_flops")),
                _rate(found.get("bytes_per_second"), "B/s"),
                _percent(found.get("share_of_bytes")),
            ]
        )
    return Table("Work of one request", heads, rows, 3)


def switches(runs: Sequence[Run], names: Names) -> Table | None:
    """Requests by the task before them; None without mixes."""
    mixes = [run for run in runs if run["switches"]]
    if not mixes:
        return None
    heads = ("run", "mix", "backend", "from", "to", "requests", "median", "of the same task again")
    rows = []
    for run in mixes:
        for pair in run["switches"]["by_pair"]:
            rows.append(
                [
                    *_who(run, names),
                    Cell(str(pair["from"])),
                    Cell(str(pair["to"])),
                    Cell(f"{pair['count']:,}", pair["count"]),
                    _time(pair["median"]),
                    _percent(pair.get("ratio")),
                ]
            )
    return Table("By pair of tasks", heads, rows, 5) if rows else None


def energy(runs: Sequence[Run], names: Names) -> Table | None:
    """What meters said; None when no run had one."""
    heads = (
        "run", "task", "backend", "meter", "a request", "above idle", "idle", "error", "requests",
    )  # fmt: skip
    rows = [
        [
            *_who(run, names),
            Cell(f"{meter['name']} ({meter['kind']})"),
            *(
                Cell(amount(meter[key], unit), meter[key])
                for key, unit in (
                    ("joules_per_request", "J"),
                    ("joules_idle_subtracted", "J"),
                    ("idle_watts", "W"),
                )
            ),
            _percent(meter["error"]),
            Cell(f"{meter['requests']:,}", meter["requests"]),
        ]
        for run in runs
        for meter in run["energy"].get("meters") or []
    ]
    return Table("Energy by meter", heads, rows, 4) if rows else None


def unmeasured_energy(runs: Sequence[Run], names: Names) -> list[tuple[str, str]]:
    """(Reason, runs) of what no meter said."""
    reasons: dict[str, list[int]] = {}
    for run in runs:
        if reason := run["energy"].get("not_measured"):
            reasons.setdefault(reason, []).append(names.number(run))
    return [(reason, run_numbers(numbers)) for reason, numbers in reasons.items()]


def assumed_energy(runs: Sequence[Run], names: Names) -> Table | None:
    """Latency times watts that somebody stated; None when nobody did."""
    rows = [
        [
            *_who(run, names),
            Cell(amount(run["assumed_energy"]["watts"], "W"), run["assumed_energy"]["watts"]),
            Cell(
                amount(run["assumed_energy"]["joules_per_request"], "J"),
                run["assumed_energy"]["joules_per_request"],
            ),
        ]
        for run in runs
        if run["assumed_energy"]
    ]
    heads = ("run", "task", "backend", "assumed power", "would be, a request")
    return Table("An assumption, not a measurement", heads, rows, 3) if rows else None


def environment(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(What, value) of machine, software and model."""
    machine, model, roofs = document["machine"], document["model"], document["roofs"]
    clock = machine["clock_mhz"]
    flops = [f"{name} {amount(r, 'FLOP/s')}" for name, r in roofs["flops"].items() if r]
    noise = machine["noise"]
    facts = [
        ("processor", f"{machine['processor']}, {machine['cores']} cores"),
        ("memory", amount(machine["memory_bytes"], "B")),
        ("system", machine["system"]),
        ("governor", machine["governor"] or "not told by the system"),
        ("clock", f"{clock['min']:g} to {clock['max']:g} MHz" if clock else "not told"),
        ("load before", ", ".join(f"{one:.2f}" for one in machine["load_before"] or []) or NOTHING),
        ("noise", f"the same work took {share(noise['spread'])} longer or shorter"),
        ("roofs", f"{', '.join(flops)}, {amount(roofs['bytes'], 'B/s')}"),
        ("model", f"{model['name']}, {amount(model['parameters'], '')} parameters"),
        ("weights' sha256", model["sha256"]),
        ("image", " x ".join(map(str, model["image"]))),
        ("experts", f"{model['experts']}, top {model['top_k']}"),
        ("tasks", ", ".join(model["tasks"])),
    ]
    return [*facts, *((name, str(version)) for name, version in document["software"].items())]


def _who(run: Run, names: Names) -> list[Cell]:
    number = names.number(run)
    return [Cell(str(number), number), Cell(subject(run)), Cell(names.setting(run))]


def _time(value: float | None) -> Cell:
    return Cell(seconds(value), value)


def _rate(value: float | None, unit: str) -> Cell:
    return Cell(amount(value, unit), value)


def _percent(value: float | None) -> Cell:
    return Cell(share(value), value)
