"""Times of several ways to do one thing: rotating inputs, in turns, medians.

A kernel that finds its inputs in the cache looks faster than it is, so that each contender goes
through several input sets, together larger than the L2 cache. Clocks and temperature drift, so
that the contenders take turns, and each round begins with another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch

Sample = Callable[[], float]
"""Runs a contender once on every input set and returns the seconds of one run, on the average."""

CACHES_FILLED = 2
"""How many L2 caches the input sets fill: what is evicted last must be gone as well."""
MOST_SETS = 512
LEAST_RUNS = 20
"""Runs between two events, whose resolution is about half a microsecond (CUDA runtime API,
`cudaEventElapsedTime`)."""


def count_sets(nbytes: int, l2_bytes: int) -> int:
    """Input sets of `nbytes` each that push one another out of the cache; at least two."""
    return min(max(2, 1 + -(-CACHES_FILLED * l2_bytes // max(nbytes, 1))), MOST_SETS)


def turns(
    contenders: Mapping[str, Sample],
    rounds: int,
    after_round: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """The seconds of each contender in each of `rounds`; a round before them warms up, uncounted.

    The same place in two lists is the same round. `after_round` is called after every round, the
    uncounted one too.
    """
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        first = turn % max(len(names), 1)
        for name in names[first:] + names[:first]:
            sample = contenders[name]()
            if turn:
                seconds[name].append(sample)
        after_round()
    return seconds


def take_turns(contenders: Mapping[str, Sample], rounds: int) -> dict[str, float]:
    """The median seconds of each contender over `rounds`: see `turns`."""
    return {name: median(samples) for name, samples in turns(contenders, rounds).items()}


def sample_on_card(runs: Sequence[Callable[[], object]]) -> Sample:
    """A sample of `runs`, one an input set, captured into one CUDA graph and timed by events.

    The graph leaves out what Python and the driver take for a launch. The runs must have been run
    before, so that nothing is compiled while the graph is captured.
    """
    # cuBLAS and the allocator make their workspaces on the stream of the capture.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for run in runs:
            run()
    torch.cuda.current_stream().wait_stream(stream)
    repeats = -(-LEAST_RUNS // len(runs))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(repeats):
            for run in runs:
                run()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def sample() -> float:
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / (repeats * len(runs))

    return sample
