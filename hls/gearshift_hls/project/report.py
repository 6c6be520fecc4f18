"""All reports of a project in one: resources by module and clock, held against the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gearshift.errors import BackendError
from gearshift.text import columns
from gearshift_hls.board import Board
from gearshift_hls.project.csynth import Synthesis, read_csynth
from gearshift_hls.project.register_map import HEADER, check_registers
from gearshift_hls.project.usage import KINDS, Usage, over_budget
from gearshift_hls.project.vivado_reports import (
    Instance,
    Timing,
    read_hierarchy,
    read_timing,
    read_utilization,
)
from gearshift_hls.project.write import BUILD_FOLDER, project_board, project_source

SHOWN_DEPTH = 4
"""Levels of the routed design down to the accelerator's units: wrapper, system, core, unit."""
SHOWN_SHARE = 0.01
"""An instance with less of every kind than this share of the budget is left out."""


@dataclass(frozen=True)
class Routed:
    """The design after placement and routing."""

    total: Usage
    instances: Sequence[Instance]
    timing: Timing


@dataclass(frozen=True)
class Report:
    """What is known of a project; None: that step was not run."""

    board: Board
    source: str
    """`hls` or `rtl`; without HLS there is no synthesis of it and no register map to compare."""
    synthesis: Synthesis | None
    registers_compared: bool
    """With the driver's, and they agree."""
    routed: Routed | None


def read_report(folder: Path) -> Report:
    """Read the reports that the steps have left in a project.

    Raises:
        InputError: `folder` is no project.
        BackendError: no step was run, a report is damaged, or the register maps disagree.
    """
    board, source = project_board(folder), project_source(folder)
    csynth, header = newest(folder, "csynth.xml"), newest(folder, HEADER)
    reports = folder / BUILD_FOLDER / "reports"
    if csynth is None and not reports.is_dir():
        step = "bitstream" if source == "rtl" else "hls"
        raise BackendError(f"{folder} has no report yet: run make -C {folder} {step}")
    if header is not None:
        check_registers(header)
    return Report(
        board,
        source,
        read_csynth(csynth) if csynth else None,
        header is not None,
        _read_routed(reports) if reports.is_dir() else None,
    )


def newest(folder: Path, name: str) -> Path | None:
    """The file of this name that was written last among what the steps have built."""
    found = (folder / BUILD_FOLDER).rglob(name)
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def problems(report: Report) -> list[str]:
    """What keeps the design off the board, a phrase each."""
    found = []
    if report.synthesis:
        over = over_budget(report.synthesis.total, report.board.resources)
        found += [f"HLS estimates {each}" for each in over]
    if report.routed:
        over = over_budget(report.routed.total, report.board.resources)
        found += [f"the routed design takes {each}" for each in over]
        timing = report.routed.timing
        found += [
            f"{name} slack {slack:g} ns"
            for name, slack in (("setup", timing.setup_ns), ("hold", timing.hold_ns))
            if slack < 0
        ]
    return found


def report_lines(report: Report) -> list[str]:
    """The report for a person."""
    board = report.board
    lines = [f"{board.name}: {board.part} at {board.clock_mhz:g} MHz", ""]
    if report.source == "rtl":
        return lines + _routed_lines(report.routed, board)
    lines += _synthesis_lines(report.synthesis, board)
    state = "agrees with the driver" if report.registers_compared else "not compared: run make ip"
    lines += [f"register map: {state}", ""]
    return lines + _routed_lines(report.routed, board)


def _read_routed(reports: Path) -> Routed:
    return Routed(
        read_utilization(reports / "utilization.rpt"),
        read_hierarchy(reports / "hierarchy.rpt"),
        read_timing(reports / "timing.rpt"),
    )


def _synthesis_lines(synthesis: Synthesis | None, board: Board) -> list[str]:
    if synthesis is None:
        return ["HLS synthesis: not run"]
    # The top function is the total, and may be listed among the modules too.
    modules = [one for one in synthesis.modules if one.name != synthesis.total.name]
    rows = [(f"  {module.name}", module) for module in modules]
    return [
        "HLS synthesis, estimates:",
        _table([(synthesis.total.name, synthesis.total), *rows], synthesis.total, board),
        f"clock: {synthesis.target_ns:g} ns asked for, {synthesis.estimated_ns:g} ns estimated",
    ]


def _routed_lines(routed: Routed | None, board: Board) -> list[str]:
    if routed is None:
        return ["placement and routing: not run"]
    shown = [each for each in routed.instances if _is_shown(each, board)]
    rows = [("  " * each.depth + each.usage.name, each.usage) for each in shown]
    period = 1000 / board.clock_mhz
    timing = routed.timing
    is_met = timing.setup_ns >= 0 and timing.hold_ns >= 0
    return [
        f"placement and routing (instances of {SHOWN_SHARE:.0%} and more):",
        _table(rows, routed.total, board),
        f"slack: setup {timing.setup_ns:g} ns, hold {timing.hold_ns:g} ns: "
        + ("met" if is_met else "NOT MET"),
        f"the longest path would allow {1000 / (period - timing.setup_ns):.0f} MHz",
    ]


def _table(rows: Sequence[tuple[str, Usage]], total: Usage, board: Board) -> str:
    """Rows of resources, then the budget and the share of it that the total takes."""
    budget = board.resources
    head = ("", *(kind.upper() for kind in KINDS))
    body = [(name, *(f"{getattr(usage, kind):g}" for kind in KINDS)) for name, usage in rows]
    shares = [getattr(total, kind) / getattr(budget, kind) for kind in KINDS]
    return columns(
        [
            head,
            *body,
            ("budget", *(str(getattr(budget, kind)) for kind in KINDS)),
            ("taken", *(f"{share:.0%}" for share in shares)),
        ],
        right=range(1, len(head)),
    )


def _is_shown(instance: Instance, board: Board) -> bool:
    return instance.depth <= SHOWN_DEPTH and any(
        getattr(instance.usage, kind) >= SHOWN_SHARE * getattr(board.resources, kind)
        for kind in KINDS
    )
