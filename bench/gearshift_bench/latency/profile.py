"""Where the time of a request goes, which experts worked, and what was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from gearshift.backends import Stats


@dataclass(frozen=True)
class Profile:
    """Of the last requests; empty or None where the backend does not tell."""

    backend: str
    """Name and version."""
    nodes: Mapping[str, float]
    """Seconds of a request by node: the median; in a mix the mean, since tasks differ."""
    experts: Mapping[str, list[int]] | None
    """By node, the tokens that each expert had; in a mix of all requests together."""
    weight_bytes: float | None
    """Read by a request, on the average."""
    activation_bytes: float | None
    """Of the arena, on the average."""


def profile(stats: Iterable[Stats], is_mix: bool) -> Profile:
    """Sum up what a backend said of at least one request."""
    found = list(stats)
    return Profile(
        found[-1].backend,
        _nodes([one.seconds_per_node or {} for one in found], is_mix),
        _experts(found if is_mix else found[-1:]),
        _mean([one.weight_bytes for one in found]),
        _mean([one.activation_bytes for one in found]),
    )


def _nodes(runs: Sequence[Mapping[str, float]], is_mix: bool) -> dict[str, float]:
    middle = fmean if is_mix else median
    nodes = dict.fromkeys(node for run in runs for node in run)
    return {node: middle([run.get(node, 0.0) for run in runs]) for node in nodes}


def _experts(found: Sequence[Stats]) -> dict[str, list[int]] | None:
    sums: dict[str, list[int]] = {}
    for one in found:
        for node, tokens in (one.tokens_per_expert or {}).items():
            before = sums.setdefault(node, [0] * len(tokens))
            sums[node] = [a + b for a, b in zip(before, tokens, strict=True)]
    return sums or None


def _mean(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
