"""Contenders are opened, checked, reduced to their fastest form, and then timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gearshift_bench.peers.agreement import Agreement, Reference
from gearshift_bench.peers.entry import Entry, Match, Profile, Run
from gearshift_bench.timing import Sample, take_turns, turns

TRIAL_ROUNDS = 10
"""Of the forms of one entry, to find the fastest."""
LONG_TRIAL_ROUNDS = 2
"""Of forms that take longer than `WARMED_BELOW`, where a single run tells much."""
HOPELESS = 1.2
"""Such a form is not tried again if it takes so many times as long as the fastest in one run."""
WARMED_BELOW = 0.1
"""Seconds: a shorter run is run once uncounted in each turn, since the other contenders have just
thrown its weights out of the caches; in a longer one that makes no difference."""
SETTLE = 0.005
"""Seconds before a run of several threads: those of the run before it may still be spinning."""


@dataclass(frozen=True)
class Trial:
    """What became of one form of an entry."""

    form: str
    agreement: Agreement | None
    failure: str | None
    """Why it could not be opened or run."""

    @property
    def is_right(self) -> bool:
        return self.agreement is not None and self.agreement.is_right


@dataclass(frozen=True)
class Contender:
    """An entry after its forms were tried."""

    entry: Entry
    trials: tuple[Trial, ...]
    form: str | None
    """The fastest that is right. None: there is none, and nothing is timed."""

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def trial(self) -> Trial:
        """Of the form that is timed; of the last one, if none is."""
        return next((one for one in self.trials if one.form == self.form), self.trials[-1])

    @property
    def profile(self) -> Profile | None:
        """Of the form that is timed."""
        return None if self.form is None else self.entry.forms[self.form].profile


def enter(entry: Entry, match: Match, reference: Reference) -> tuple[Contender, Run | None]:
    """Open all forms of an entry, check them, and find the fastest by a short trial in turns."""
    trials: list[Trial] = []
    runs: dict[str, Run] = {}
    for name, form in entry.forms.items():
        try:
            run = form.open(match)
            agreement = reference.agreement(run(), entry.precision)
        # A library of other people's may raise anything; what it said is reported.
        except Exception as error:
            trials.append(Trial(name, None, _first_line(error)))
            continue
        trials.append(Trial(name, agreement, None))
        if agreement.is_right:
            runs[name] = run
    if not runs:
        return Contender(entry, tuple(trials), None), None
    fastest = _fastest(runs, match.threads)
    return Contender(entry, tuple(trials), fastest), runs[fastest]


def _fastest(runs: Mapping[str, Run], threads: int) -> str:
    samples = {name: timed(run, threads) for name, run in runs.items()}
    once = {name: sample() for name, sample in samples.items()}
    rounds = TRIAL_ROUNDS
    if min(once.values()) >= WARMED_BELOW:
        rounds, limit = LONG_TRIAL_ROUNDS, HOPELESS * min(once.values())
        samples = {name: samples[name] for name in samples if once[name] <= limit}
    if len(samples) == 1:
        return next(iter(samples))
    medians = take_turns(samples, rounds)
    return min(medians, key=medians.__getitem__)


def race(
    runs: Mapping[str, Run], threads: int, rounds: int, after_round: Callable[[], object]
) -> dict[str, list[float]]:
    """The seconds of each run in each round, in turns."""
    return turns({name: timed(run, threads) for name, run in runs.items()}, rounds, after_round)


def timed(run: Run, threads: int, clock: Callable[[], float] = time.perf_counter) -> Sample:
    """A sample of one run; see `WARMED_BELOW` and `SETTLE`."""
    last = 0.0

    def sample() -> float:
        nonlocal last
        if threads > 1:
            time.sleep(SETTLE)
        if last < WARMED_BELOW:
            run()
        start = clock()
        run()
        last = clock() - start
        return last

    return sample


def _first_line(error: Exception) -> str:
    lines: Sequence[str] = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
