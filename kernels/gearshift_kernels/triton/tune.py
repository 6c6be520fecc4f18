"""The fastest tiles of each launch, measured on the card at hand, and the file that keeps them.

One file a target and card: what is best on one card says little about another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.errors import TritonError

from gearshift_kernels.triton.launch import Launch, Tiles

FORMAT = 1

Measure = Callable[[Callable[[], None]], float]
"""The time that a function takes, in any unit."""


@dataclass(frozen=True)
class Measurement:
    """What tuning found for one launch."""

    key: str
    tiles: Tiles
    """The fastest."""
    time: float
    """Of the fastest, in the unit of the measure, as `time_before`."""
    time_before: float | None
    """Of the tiles that the launch came with; None if they do not run here."""


def tune(
    launches: Iterable[Launch],
    candidates: Callable[[Launch], Sequence[Tiles]],
    measure: Measure,
    prepare: Callable[[Launch], None],
) -> list[Measurement]:
    """Try every candidate, and the tiles that a launch came with, for each `Launch.key`.

    Candidates that do not compile, or need more of a resource than the card has, are passed over.
    A launch of which none runs is left out. Equal times go to the earlier candidate; the tiles that
    a launch came with are the first.

    Args:
        measure: such as `triton.testing.do_bench`.
        prepare: called once for each launch; puts into its inputs what a real run would.
    """
    found: dict[str, Measurement] = {}
    for launch in launches:
        if launch.key in found or not all(launch.grid(launch.tiles.blocks)):
            continue
        prepare(launch)
        times: list[tuple[float, Tiles]] = []
        for tiles in (launch.tiles, *(t for t in candidates(launch) if t != launch.tiles)):
            time = _time(launch.with_tiles(tiles), measure)
            if time is not None:
                times.append((time, tiles))
        if times:
            best, tiles = min(times, key=lambda pair: pair[0])
            before = times[0][0] if times[0][1] == launch.tiles else None
            found[launch.key] = Measurement(launch.key, tiles, best, before)
    return list(found.values())


def _time(launch: Launch, measure: Measure) -> float | None:
    """None if the launch does not compile or does not fit."""
    try:
        return measure(launch.run)
    except TritonError:
        return None
    except RuntimeError as error:
        # How the compiler's passes fail; anything else is the card's trouble.
        if "PassManager" in str(error):
            return None
        raise


def tuned_file(folder: Path, target: str, card: str) -> Path:
    """Where the tiles of a card are kept under `folder`."""
    return folder / f"{target}-{re.sub(r'[^a-z0-9]+', '-', card.lower()).strip('-')}.json"


def write_tuned(path: Path, target: str, card: str, tiles: Mapping[str, Tiles]) -> None:
    """Write the tiles by `Launch.key` to a `tuned_file`, whole or not at all.

    The folder is made if need be.

    Raises:
        OSError: it cannot be written.
    """
    content = {
        "format": FORMAT,
        "target": target,
        "card": card,
        "triton": triton.__version__,
        "tiles": {
            key: {"blocks": dict(t.blocks), "warps": t.warps, "stages": t.stages}
            for key, t in sorted(tiles.items())
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(json.dumps(content, indent=2) + "\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_tuned(path: Path) -> dict[str, Tiles]:
    """The tiles by `Launch.key`, for `Device.tuned`; none if there is no such file.

    Raises:
        ValueError: the file is damaged, of another format, or of another target or card than its
            name says.
        OSError: it cannot be read.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, not {FORMAT}")
        if path != tuned_file(path.parent, content["target"], content["card"]):
            raise ValueError(f"it is for a {content['card']} ({content['target']})")
        return {str(key): _tiles(value) for key, value in content["tiles"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"tuned tiles {path}: {reason}: delete the file and tune again") from None


def _tiles(value: Any) -> Tiles:
    blocks, warps, stages = value["blocks"], value["warps"], value["stages"]
    for name, size in blocks.items():
        _check(name, size, most=4096)
    _check("warps", warps, most=32)
    if type(stages) is not int or not 1 <= stages <= 16:
        raise ValueError(f"stages are {stages!r}, not from 1 to 16")
    return Tiles(blocks, warps, stages)


def _check(name: str, number: Any, most: int) -> None:
    if type(number) is not int or not 0 < number <= most or number & (number - 1):
        raise ValueError(f"{name} is {number!r}, not a power of two up to {most}")
