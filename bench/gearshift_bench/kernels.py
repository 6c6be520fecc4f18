"""Every distinct launch of a program: first whether it is right, then how fast it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from gearshift.backends import Precision
from gearshift.backends.lowering import lower
from gearshift.program import Program
from gearshift_bench.case import Bench, Case, Sizes
from gearshift_bench.cases import make_case
from gearshift_bench.roofline import ITEM_BYTES, Work, program_work
from gearshift_bench.timing import count_sets, sample_on_card, take_turns

OURS = "gearshift"
ROUNDS = 30


@dataclass(frozen=True)
class Entry:
    """Steps of a program whose launches are alike."""

    sizes: Sizes
    """Of the first of them."""
    work: Work
    """Of one of them."""
    count: int


@dataclass(frozen=True)
class Result:
    """What was found of an entry."""

    entry: Entry
    error: float
    tolerance: float
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Median, by contender; empty when nothing was timed."""
    input_sets: int = 0

    @property
    def is_right(self) -> bool:
        return self.error <= self.tolerance


def entries(program: Program, precision: Precision) -> list[Entry]:
    """The distinct steps of a program in the order of a run.

    Raises:
        BackendError: a part of the program that no GPU kernel computes.
    """
    works = program_work(program, precision)
    lowering = lower(program, "bfloat16" if ITEM_BYTES[precision] == 1 else precision)
    found: dict[str, Entry] = {}
    for step, work in zip(lowering.steps, works, strict=True):
        sizes = Sizes(program, lowering, step)
        known = found.get(sizes.key, Entry(sizes, work, 0))
        found[sizes.key] = replace(known, count=known.count + 1)
    return list(found.values())


def check(bench: Bench, entry: Entry) -> Result:
    """Run the kernel once on random inputs and compare."""
    case = make_case(bench, entry.sizes)
    case.run()
    return Result(entry, case.error(), case.tolerance)


def measure(bench: Bench, result: Result) -> Result:
    """The times of a kernel and its peers on the current card; only if it is right."""
    if not result.is_right:
        return result
    l2_bytes = int(torch.cuda.get_device_properties().L2_cache_size)
    sets = count_sets(result.entry.work.nbytes, l2_bytes)
    cases = [make_case(replace(bench, seed=seed), result.entry.sizes) for seed in range(sets)]
    # Forget what was compiled for other shapes: there is a limit for one function.
    torch.compiler.reset()
    runs = contenders(cases, partial(torch.compile, dynamic=False))
    samples = {name: sample_on_card(one) for name, one in runs.items()}
    return replace(result, seconds=take_turns(samples, ROUNDS), input_sets=sets)


Compiler = Callable[[Callable[..., object]], Callable[..., object]]


def contenders(cases: Sequence[Case], compiler: Compiler) -> dict[str, list[Callable[[], object]]]:
    """The kernel and its peers, each as one run an input set."""
    first = cases[0]
    runs: dict[str, list[Callable[[], object]]] = {OURS: [case.run for case in cases]}
    if first.plain is not None:
        runs[first.plain_name] = [partial(first.plain, *case.arguments) for case in cases]
        compiled = compiler(first.plain)
        runs["torch.compile"] = [partial(compiled, *case.arguments) for case in cases]
    for name in first.peers:
        runs[name] = [case.peers[name] for case in cases]
    return runs
