"""What was found, for a person."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from gearshift.text import columns, with_unit
from gearshift_bench.peers.entry import Entry
from gearshift_bench.peers.figures import Cell, NodeTimes, Spread, paired, spread
from gearshift_bench.peers.floor import Peaks, node_floors
from gearshift_bench.peers.host import Host
from gearshift_bench.peers.race import Contender
from gearshift_bench.peers.switching import Switch

LEGEND = (
    "error: root mean square of the difference to float64, over that of float64's output; allowed: "
    "what rounding and near ties of the routers explain",
    "ours/peer: seconds of our fastest over the peer's, in the same round: below 1, ours is "
    "faster; ranges hold 80 % of the rounds",
    "floor: multiply-accumulates at the rate of the cores in registers, nothing else counted; "
    "Winograd's convolution multiplies less than is counted, and may go below it",
)


def heading(host: Host, peaks: Peaks | None) -> list[str]:
    """The machine, its peaks, and how to read the tables."""
    if peaks is None:
        rates = "peak of a core: not known, since there are no native kernels here"
    else:
        each = (f"{precision} {with_unit(rate, 'MAC/s')}" for precision, rate in peaks.items())
        rates = f"peak of a core, measured in registers: {', '.join(each)}"
    return [str(host), rates, *LEGEND]


def cell_lines(cell: Cell, peaks: Peaks | None) -> list[str]:
    """One race: who agrees, how fast each is, what ours is to it, and where the time goes."""
    plural = "" if cell.threads == 1 else "s"
    image = "x".join(map(str, cell.program.values[cell.program.input].shape))
    lines = [
        "",
        f"{cell.model}, {_part(cell)}, image {image}, {cell.threads} thread{plural}: "
        f"{with_unit(cell.program.macs, '')} MACs, load {cell.load[0]:.1f} to {cell.load[1]:.1f}",
    ]
    head = ("contender", "form", "error", "allowed", "median ms", "range", "of floor",
            "ours/peer", "range")  # fmt: skip
    ours = cell.ours()
    rows = [_contender_row(cell, contender, ours, peaks) for contender in cell.contenders]
    lines.append(columns([head, *rows], right=(2, 3, 4, 5, 6, 7, 8)))
    lines += _failures(cell.contenders)
    best, ratio = cell.best_peer(), cell.ratio()
    if ours and best and ratio:
        lines.append(
            f"{ours.name} takes {ratio.median:.2f} ({_range(ratio)}) of the time of the best peer, "
            f"{best.name}"
        )
    if cell.nodes:
        lines += ["", *node_lines(cell, peaks)]
    return lines


def _part(cell: Cell) -> str:
    return f"task {cell.task}" if cell.part == "task" else f"encoder of task {cell.task}"


def _contender_row(
    cell: Cell, contender: Contender, ours: Entry | None, peaks: Peaks | None
) -> tuple[str, ...]:
    agreement = contender.trial.agreement
    checked = ("", "") if agreement is None else (
        f"{agreement.error:.1e}", f"{agreement.allowed:.1e}"
    )  # fmt: skip
    if contender.form is None:
        status = "not run" if agreement is None else "WRONG"
        return contender.name, contender.trial.form, *checked, status, "", "", "", ""
    figures = cell.seconds[contender.name]
    time = spread(figures)
    floor = total_floor(cell, contender.entry, peaks)
    reached = "" if floor is None else f"{floor / time.median:.0%}"
    compared = ("", "")
    if ours is not None and not contender.entry.is_ours:
        ratio = paired(cell.seconds[ours.name], figures)
        compared = f"{ratio.median:.2f}", _range(ratio)
    milliseconds = f"{1e3 * time.median:.2f}", _range(time, 1e3)
    return contender.name, contender.form, *checked, *milliseconds, reached, *compared


def _range(figures: Spread, factor: float = 1.0) -> str:
    return f"{factor * figures.low:.2f}-{factor * figures.high:.2f}"


def _failures(contenders: Iterable[Contender]) -> list[str]:
    """What did not run, and what ran and was wrong, form by form."""
    lines = []
    for contender in contenders:
        for trial in contender.trials:
            if trial.failure is not None:
                lines.append(f"not run: {contender.name}, {trial.form}: {trial.failure}")
            elif trial.agreement is not None and not trial.agreement.is_right:
                lines.append(
                    f"wrong, and not timed: {contender.name}, {trial.form}: error "
                    f"{trial.agreement.error:.1e}, allowed {trial.agreement.allowed:.1e}"
                )
    return lines


def total_floor(cell: Cell, entry: Entry, peaks: Peaks | None) -> float | None:
    """Seconds of all nodes' floors in the precision of an entry."""
    if peaks is None or entry.precision not in peaks:
        return None
    return sum(node_floors(cell.program, entry.precision, peaks, cell.threads).values())


def node_lines(cell: Cell, peaks: Peaks | None) -> list[str]:
    """A line for all nodes that differ only in the number of their block, in the order of a run."""
    floors = [_kinds(_floors(cell, times, peaks)) for times in cell.nodes]
    seconds = [_kinds(times.seconds) for times in cell.nodes]
    macs = _kinds({step.name: step.macs for step in cell.program.steps})
    counts = _kinds({step.name: 1 for step in cell.program.steps})
    kinds = dict.fromkeys([*macs, *(kind for one in seconds for kind in one)])
    head = ["node", "steps", "MACs", "floor ms"]
    for times in cell.nodes:
        head += [f"{times.entry.library.split(',')[0]} {times.entry.precision} ms", "of floor"]
    rows = []
    for kind in kinds:
        row = [kind, f"{counts.get(kind, 0):.0f}", with_unit(macs.get(kind, 0), "")]
        row.append(_milliseconds(floors[0].get(kind)))
        for one, floor in zip(seconds, floors, strict=True):
            row += [_milliseconds(one.get(kind)), _share(floor.get(kind), one.get(kind))]
        rows.append(row)
    total = ["all", "", with_unit(sum(macs.values()), ""), _milliseconds(sum(floors[0].values()))]
    for one, floor in zip(seconds, floors, strict=True):
        whole = sum(one.values())
        total += [_milliseconds(whole), _share(sum(floor.values()), whole)]
    table = columns([head, *rows, total], right=range(1, len(head)))
    return [
        f"where the time goes; the floor is that of {cell.nodes[0].entry.name}, its share that of "
        "each in its own precision; runs are slower while their nodes are timed",
        table,
    ]


def _floors(cell: Cell, times: NodeTimes, peaks: Peaks | None) -> dict[str, float]:
    if peaks is None:
        return {}
    return node_floors(cell.program, times.entry.precision, peaks, cell.threads)


def _kinds(figures: Mapping[str, float]) -> dict[str, float]:
    """`blocks.3.mlp` and its like added up as `blocks.*.mlp`."""
    total: dict[str, float] = {}
    for node, figure in figures.items():
        kind = re.sub(r"\.\d+(?=\.)", ".*", node)
        total[kind] = total.get(kind, 0.0) + figure
    return total


def _milliseconds(seconds: float | None) -> str:
    return f"{1e3 * seconds:.3f}" if seconds else ""


def _share(floor: float | None, seconds: float | None) -> str:
    return f"{floor / seconds:.0%}" if floor and seconds else ""


def switch_lines(model: str, threads: int, switches: Sequence[Switch | str]) -> list[str]:
    """The first request after a switch of task beside the ones that follow."""
    if not switches:
        return []
    head = ("", "first ms", "steady ms", "first/steady", "range")
    rows = [
        (
            one.setting,
            f"{1e3 * one.first.median:.2f}",
            f"{1e3 * one.steady.median:.2f}",
            f"{one.ratio.median:.2f}",
            _range(one.ratio),
        )
        for one in switches
        if isinstance(one, Switch)
    ]
    plural = "" if threads == 1 else "s"
    lines = ["", f"{model}, whole tasks, {threads} thread{plural}: first request after a switch"]
    if rows:
        lines.append(columns([head, *rows], right=(1, 2, 3, 4)))
    return [*lines, *(one for one in switches if isinstance(one, str))]
