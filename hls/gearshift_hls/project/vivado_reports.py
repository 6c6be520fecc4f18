"""Vivado's reports after routing: `report_utilization` and `report_timing_summary`.

Source of the layout: AMD, "Vivado Design Suite User Guide: Design Analysis and Closure Techniques"
(UG906): tables of cells between bars, and the design timing summary as columns under their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gearshift.errors import BackendError
from gearshift_hls.project.usage import Usage

SITES = {
    "CLB LUTs": "lut",
    "CLB Registers": "ff",
    "DSPs": "dsp",
    "Block RAM Tile": "bram",
    "URAM": "uram",
}
"""Rows of report_utilization; a trailing asterisk marks a footnote."""

COLUMNS = {
    "Total LUTs": "lut",
    "FFs": "ff",
    "DSP Blocks": "dsp",
    "RAMB36": "ramb36",
    "RAMB18": "ramb18",
    "URAM": "uram",
}
"""Columns of report_utilization -hierarchical."""


@dataclass(frozen=True)
class Timing:
    """The worst slacks of the routed design; negative: the clock is too fast for it."""

    setup_ns: float
    hold_ns: float


@dataclass(frozen=True)
class Instance:
    """A row of the hierarchy."""

    depth: int
    """0: the whole design."""
    usage: Usage


def read_utilization(path: Path) -> Usage:
    """What the whole design takes.

    Raises:
        BackendError: the file is no such report.
    """
    found: dict[str, float] = {}
    for cells in _rows(_text(path)):
        kind = SITES.get(cells[0].strip().rstrip("*"))
        if kind and kind not in found and len(cells) > 1:
            found[kind] = _number(path, cells[1])
    for site, kind in SITES.items():
        if kind not in found:
            raise BackendError(f"{path} has no row {site!r}: run make bitstream again")
    return _usage("design", found)


def read_hierarchy(path: Path) -> list[Instance]:
    """What every instance takes, parents before children.

    Raises:
        BackendError: the file is no such report.
    """
    rows = _rows(_text(path))
    names = next((cells for cells in rows if cells[0].strip() == "Instance"), None)
    if names is None:
        raise BackendError(f"{path} has no table by instance: run make bitstream again")
    places = {name.strip(): index for index, name in enumerate(names)}
    for column in COLUMNS:
        if column not in places:
            raise BackendError(f"{path} has no column {column!r}: run make bitstream again")
    return [_instance(path, cells, places) for cells in rows if len(cells) == len(names)]


def read_timing(path: Path) -> Timing:
    """The worst slacks.

    Raises:
        BackendError: the file is no such report, or nothing was constrained.
    """
    lines = iter(_text(path).splitlines())
    for line in lines:
        names = re.split(r"\s{2,}", line.strip())
        if "WNS(ns)" in names and "WHS(ns)" in names:
            next(lines, "")
            values = dict(zip(names, next(lines, "").split(), strict=False))
            setup, hold = values.get("WNS(ns)", "nothing"), values.get("WHS(ns)", "nothing")
            return Timing(_number(path, setup), _number(path, hold))
    raise BackendError(f"{path} has no design timing summary: run make bitstream again")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BackendError(
            f"{path} cannot be read ({error.strerror}): run make bitstream"
        ) from None


def _rows(text: str) -> Iterator[Sequence[str]]:
    """Cells of every line between bars, with the blanks that indent them."""
    for line in text.splitlines():
        if line.startswith("|") and line.rstrip().endswith("|"):
            yield line.rstrip()[1:-1].split("|")


def _instance(path: Path, cells: Sequence[str], places: dict[str, int]) -> Instance:
    name = cells[places["Instance"]].removeprefix(" ").rstrip()
    depth = (len(name) - len(name.lstrip())) // 2
    counts = {kind: _number(path, cells[places[column]]) for column, kind in COLUMNS.items()}
    counts["bram"] = counts["ramb36"] + counts["ramb18"] / 2
    return Instance(depth, _usage(name.strip(), counts))


def _number(path: Path, cell: str) -> float:
    """A count; a share in brackets may stand behind it."""
    text = cell.split("(")[0].strip()
    try:
        return float(text)
    except ValueError:
        raise BackendError(f"{path}: {text!r} is no number: run make bitstream again") from None


def _usage(name: str, counts: dict[str, float]) -> Usage:
    whole = {kind: int(counts[kind]) for kind in ("lut", "ff", "dsp", "uram")}
    return Usage(name, bram=counts["bram"], **whole)
