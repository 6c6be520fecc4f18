"""What any build of the RTL would take of a board: a model from two estimates by Yosys.

- The array: its share of the larger estimate, times its multipliers.
- Everything else: a straight line through both estimates, by the array's side.
- The four memories that a build sizes (input, hidden and on-chip buffer, partial sums): by their
  shapes. A block of UltraRAM holds 4,096 words of 72 bits (AMD, UG573); one of block RAM 36 Kib in
  words of 72 bits and more rows of half the width.

Logic that grows with the depth of a memory is left as the estimates have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil

from gearshift_hls.board import Resources
from gearshift_hls.build import Build
from gearshift_hls.project.usage import KINDS, Usage
from gearshift_hls.synthesis.estimate import Synthesis, synthesise
from gearshift_hls.synthesis.passes import ULTRA_BITS, ULTRA_WORDS

ARRAY = "array"
"""The module that grows with the square of the array's side."""
SIDES = (16, 32)
"""Of the arrays that the model is fitted to."""
BLOCK_BITS, BLOCK_WORDS, MOST_BLOCK_WORDS = 72, 512, 32768
"""Of block RAM at its widest, and at its deepest, a bit wide."""

Counts = Mapping[str, float]
"""By `KINDS`."""


@dataclass(frozen=True)
class ResourceModel:
    """See the file's head."""

    builds: tuple[Build, Build]
    """Those that were estimated, the smaller array first."""
    array: Counts
    """Of a multiplier."""
    others: tuple[Counts, Counts]
    """Of each build, without array and memories."""

    def usage(self, build: Build) -> Usage:
        """What the model says of a build with a square array."""
        first, last = (one.input_lanes for one in self.builds)
        part = (build.input_lanes - first) / (last - first)
        counts = {}
        for kind in KINDS:
            low, high = (each[kind] for each in self.others)
            counts[kind] = low + part * (high - low)
            counts[kind] += self.array[kind] * build.input_lanes * build.output_lanes
        memories = memory_blocks(build)
        return Usage(
            "model",
            lut=round(counts["lut"]),
            ff=round(counts["ff"]),
            dsp=round(counts["dsp"]),
            bram=round(2 * (counts["bram"] + memories["bram"])) / 2,
            uram=round(counts["uram"] + memories["uram"]),
        )


def fit_resources(
    base: Build, estimate: Callable[[Build], Synthesis] = synthesise
) -> ResourceModel:
    """Fitted to the estimates of `base` with arrays of both `SIDES`; minutes, then cached.

    Raises:
        BackendError: Yosys is not installed, or cannot read the RTL.
    """
    smaller, larger = (replace(base, input_lanes=side, output_lanes=side) for side in SIDES)
    found = estimate(smaller), estimate(larger)
    multipliers = larger.input_lanes * larger.output_lanes
    array = {kind: count / multipliers for kind, count in _array(found[1]).items()}
    return ResourceModel((smaller, larger), array, (_others(found[0]), _others(found[1])))


def _array(found: Synthesis) -> dict[str, float]:
    (module,) = (one for one in found.modules if one.name == ARRAY)
    return {kind: getattr(module.usage, kind) for kind in KINDS}


def _others(found: Synthesis) -> dict[str, float]:
    array, memories = _array(found), memory_blocks(found.build)
    return {
        kind: getattr(found.total, kind) - array[kind] - memories.get(kind, 0) for kind in KINDS
    }


def memory_blocks(build: Build) -> dict[str, int]:
    """Blocks of the memories that a build sizes; each has two banks."""
    line = 8 * build.input_lanes
    uram = 0
    for nbytes in (build.input_bytes, build.hidden_bytes, build.scratch_bytes):
        words = nbytes // build.input_lanes // 2
        uram += 2 * ceil(line / ULTRA_BITS) * ceil(words / ULTRA_WORDS)
    return {"uram": uram, "bram": 2 * block_ram(32 * build.output_lanes, build.max_tokens)}


def block_ram(bits: int, words: int) -> int:
    """Blocks of 36 Kib for a memory with a port to read and one to write."""
    depth = BLOCK_WORDS
    while depth < min(words, MOST_BLOCK_WORDS):
        depth *= 2
    width = max(1, BLOCK_BITS * BLOCK_WORDS // depth)
    return ceil(bits / width) * ceil(words / depth)


def beyond(usage: Usage, budget: Resources, share: float) -> list[str]:
    """Kinds of which a build takes more than `share` of the board's, a phrase each."""
    return [
        f"{kind.upper()} {getattr(usage, kind):,g} of {getattr(budget, kind):,}"
        for kind in KINDS
        if getattr(usage, kind) > share * getattr(budget, kind)
    ]


def tightest(usage: Usage, budget: Resources) -> tuple[str, float]:
    """The kind of which a build takes the largest share, and that share."""
    shares = {kind: getattr(usage, kind) / getattr(budget, kind) for kind in KINDS}
    kind = max(shares, key=shares.__getitem__)
    return kind, shares[kind]
