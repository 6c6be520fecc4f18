"""Figures and settings in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gearshift_bench.report.scale import rate_unit, time_unit
from gearshift_bench.report.svg import SERIES

Run = Mapping[str, Any]
"""One entry of the document's `runs`."""

SIMULATORS = frozenset({"fpga-sim", "rtl-sim"})
"""Backends whose seconds are this processor's, and say nothing of the accelerator."""
NOT_MEASURED = "not measured"
NOTHING = "\N{EN DASH}"
"""In place of a figure that is not there."""
DASHES = (None, "7 3", "2 3")
"""Of lines, when there are more engines than colours."""


def seconds(value: float | None) -> str:
    """`0.00705` -> `7.05 ms`."""
    if value is None:
        return NOTHING
    unit = time_unit(value)
    return f"{three_digits(value / unit.size)} {unit.name}"


def amount(value: float | None, unit: str) -> str:
    """`216152128, "B"` -> `216 MB`."""
    if value is None:
        return NOTHING
    scaled = rate_unit(value, unit)
    return f"{three_digits(value / scaled.size)} {scaled.name}"


def share(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f} %"


def three_digits(value: float) -> str:
    """Three significant digits, none in the exponent's form."""
    size = abs(value)
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{places}f}"


def subject(run: Run) -> str:
    """What was asked for: a task, or a mix of them."""
    if run["task"] is not None:
        return str(run["task"])
    mix = run["mix"]
    return f"mix {mix['description']}" if mix else "every task"


def engine(run: Run) -> str:
    """What it ran on: backend, precision, approximations and the experts' budget."""
    words = [f"{run['backend']} {run['precision']}"]
    words += [f"approximate {name}" for name in run["approximate"]]
    if run["memory"] is not None:
        words.append(f"experts in {memory(run['memory'])}")
    return ", ".join(words)


def memory(budget: object) -> str:
    """Bytes, or what the user wrote."""
    return amount(budget, "B") if isinstance(budget, int | float) else str(budget)


def loads(run: Run) -> dict[str, str]:
    """How much was asked for at a time, setting by setting; no rate: one after another."""
    mode = run["mode"]
    is_open = mode["kind"] == "open"
    return {
        "batch": f"batch {run['batch']}",
        "threads": count(run["threads"], "thread"),
        "rate": f"{mode['rate']:g}/s" if is_open else "",
    }


def load(run: Run) -> str:
    return _listed(loads(run).values())


def _listed(words: Iterable[str]) -> str:
    return ", ".join(filter(None, words))


def count(number: int | None, thing: str) -> str:
    if number is None:
        return f"{thing}s not set"
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def run_numbers(numbers: Sequence[int]) -> str:
    """`[1, 2, 3, 5]` -> `runs 1 to 3, 5`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    words = [f"{part[0]} to {part[-1]}" if len(part) > 1 else str(part[0]) for part in parts]
    return f"{'run' if len(numbers) == 1 else 'runs'} {', '.join(words)}"


class Names:
    """What runs are called and coloured, the same in every picture."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = list(runs)
        self.varying = [
            setting
            for setting in ("batch", "threads", "rate")
            if len({loads(run)[setting] for run in runs}) > 1
        ]
        """The settings of `loads` in which runs differ."""
        self._engines = list(dict.fromkeys(engine(run) for run in runs))

    def number(self, run: Run) -> int:
        """From 1, as in the table."""
        return next(index for index, one in enumerate(self._runs, 1) if one is run)

    def short(self, run: Run) -> str:
        """Number, task and only the settings in which runs differ."""
        return f"{self.number(run)}  {subject(run)}  {self.setting(run)}"

    def setting(self, run: Run) -> str:
        """Engine and load, without what stands in `shared`."""
        return _listed([engine(run), *(loads(run)[setting] for setting in self.varying)])

    def shared(self) -> str:
        """The load that all runs have, as far as they agree."""
        found = loads(self._runs[0]).items() if self._runs else ()
        return _listed(words for setting, words in found if setting not in self.varying)

    def colour(self, run: Run) -> str:
        """By engine."""
        return f"series-{self._engines.index(engine(run)) % SERIES}"

    def dash(self, run: Run) -> str | None:
        """By engine, when colours come twice."""
        return DASHES[self._engines.index(engine(run)) // SERIES % len(DASHES)]
