"""A bundle for people: the memory map, then a line a descriptor with its estimated cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill

from gearshift.text import columns, with_unit
from gearshift_hls.board import Board
from gearshift_hls.build import Build
from gearshift_hls.bundle import Bundle, TaskProgram
from gearshift_hls.compile.estimate import AGREEMENT, ESTIMATE, Estimate, estimate_program
from gearshift_hls.descriptor import (
    SCRATCH,
    Attention,
    Command,
    Convolution,
    Experts,
    Format,
    Linear,
    Norm,
    Resize,
    Route,
)
from gearshift_hls.program import commands

Shares = Mapping[str, Sequence[Sequence[float]]]
"""By task: see `gearshift.expert_profile.card_shares`."""

FORMATS = {
    Format.INT8: "int8",
    Format.UINT8: "uint8",
    Format.INT16: "int16",
    Format.RESIDUAL: "residual",
}


@dataclass(frozen=True)
class Line:
    """One descriptor."""

    node: str
    command: Command
    estimate: Estimate


@dataclass(frozen=True)
class TaskListing:
    """One task's descriptors, and their sums."""

    task: TaskProgram
    lines: Sequence[Line]
    clock_mhz: float

    @property
    def cycles(self) -> float:
        return sum(line.estimate.cycles for line in self.lines)

    @property
    def milliseconds(self) -> float:
        return self.cycles / (1e3 * self.clock_mhz)

    @property
    def weight_bytes(self) -> int:
        return sum(line.estimate.weight_bytes for line in self.lines)

    @property
    def external_bytes(self) -> int:
        return sum(line.estimate.external_bytes for line in self.lines)

    @property
    def scratch_bytes(self) -> int:
        return sum(line.estimate.scratch_bytes for line in self.lines)

    @property
    def causes(self) -> dict[str, float]:
        """Cycles by what they go to, most first."""
        causes: dict[str, float] = {}
        for line in self.lines:
            for cause, cycles in line.estimate.cycles_by_cause.items():
                causes[cause] = causes.get(cause, 0.0) + cycles
        return dict(sorted(causes.items(), key=lambda item: -item[1]))


def list_tasks(bundle: Bundle, board: Board, shares: Shares) -> list[TaskListing]:
    """The descriptors of every task.

    Args:
        shares: which experts the tasks use; a task that is not there uses all alike.
    """
    return [_list_task(bundle, task, board, shares) for task in bundle.tasks.values()]


def listing(bundle: Bundle, board: Board, shares: Shares) -> str:
    """The text of `listing.txt`; see `list_tasks`."""
    title = f"{bundle.model} at {bundle.height}x{bundle.width} pixels for the {bundle.board}"
    tasks = [_task_text(task, bundle.build) for task in list_tasks(bundle, board, shares)]
    return "\n\n".join((title, _memory_map(bundle), *tasks, _footnote())) + "\n"


def _list_task(bundle: Bundle, task: TaskProgram, board: Board, shares: Shares) -> TaskListing:
    program = [command for command in commands(bundle, task) if command is not None]
    names = task.names or ("",) * (len(program) - 1)
    estimates = estimate_program(program, board, shares.get(task.name))
    lines = [Line(*line) for line in zip((*names, "end"), program, estimates, strict=True)]
    return TaskListing(task, lines, board.clock_mhz)


def _memory_map(bundle: Bundle) -> str:
    scratch = bundle.build.scratch_bytes
    rows = [
        ("memory", "from", "to", ""),
        ("constants", "0", f"{bundle.write_base:#x}", with_unit(bundle.write_base, "B")),
        (
            "activations",
            f"{bundle.write_base:#x}",
            f"{bundle.memory_bytes:#x}",
            with_unit(bundle.memory_bytes - bundle.write_base, "B"),
        ),
        ("on the chip", f"{SCRATCH:#x}", f"{SCRATCH + scratch:#x}", with_unit(scratch, "B")),
    ]
    for task in bundle.tasks.values():
        for what, place in (("input", task.input_place), ("output", task.output_place)):
            start, nbytes = place.address, place.tensor.nbytes
            rows.append(
                (f"{task.name}: {what}", f"{start:#x}", f"{start + nbytes:#x}", place.tensor.dtype)
            )
    return columns(rows, right=(1, 2))


def _task_text(listed: TaskListing, build: Build) -> str:
    head = ("", "node", "command", "shapes", "reads", "writes", "weights", "cycles", "most of them")
    rows = [
        (
            str(number),
            line.node,
            type(line.command).__name__.lower(),
            shapes(line.command),
            *_places(line.command, build),
            with_unit(line.estimate.weight_bytes, "B"),
            f"{line.estimate.cycles:,.0f}",
            line.estimate.bound,
        )
        for number, line in enumerate(listed.lines)
    ]
    causes = ", ".join(
        f"{cause} {cycles / listed.cycles:.0%}" for cause, cycles in listed.causes.items() if cycles
    )
    title = f"task {listed.task.name}, program at {listed.task.program:#x}"
    totals = (
        f"{listed.task.descriptors} descriptors, {listed.cycles:,.0f} cycles, "
        f"{listed.milliseconds:.2f} ms at {listed.clock_mhz:g} MHz ({ESTIMATE})\n"
        f"weights {with_unit(listed.weight_bytes, 'B')}, "
        f"external memory {with_unit(listed.external_bytes, 'B')}, "
        f"on-chip memory {with_unit(listed.scratch_bytes, 'B')} moved\n"
        f"cycles: {causes}"
    )
    return "\n".join((title, columns([head, *rows], right=(0, 6, 7)), totals))


def shapes(command: Command) -> str:
    """Sizes for people: what goes in, an arrow, what comes out."""
    match command:
        case Norm():
            return f"{command.rows}x{command.channels}"
        case Linear():
            kind = FORMATS[Format(command.format)]
            gelu = " gelu" if command.gelu else ""
            return f"{command.rows}x{command.inputs} -> {command.outputs} {kind}{gelu}"
        case Attention():
            return f"{command.tokens} tokens, {command.heads} heads x {command.head_dim}"
        case Route():
            return f"{command.tokens}x{command.channels} -> {command.top_k} of {command.experts}"
        case Experts():
            sizes = f"{command.tokens}x{command.channels} -> {command.hidden}"
            return f"{sizes}, {command.experts} experts"
        case Convolution():
            enlarged = " enlarged" if command.upsample else ""
            sizes = f"{command.height}x{command.width}x{command.inputs}{enlarged}"
            return f"{sizes} -> {command.outputs}"
        case Resize():
            return f"{command.height}x{command.width}x{command.channels} -> twice"
    return ""


def _footnote() -> str:
    """What the cycles are, in lines of a page's width."""
    text = f"cycles are an {ESTIMATE}; {AGREEMENT}; a card's or equal shares of experts are assumed"
    return fill(text, 100)


def _places(command: Command, build: Build) -> tuple[str, str]:
    """Addresses of the activations that a command reads, and of those that it writes."""
    read, written = (
        " ".join(_address(one.address) for one in command.regions(build) if one.access == access)
        for access in ("read", "write")
    )
    return read, written


def _address(address: int) -> str:
    return f"chip+{address - SCRATCH:#x}" if address >= SCRATCH else f"{address:#x}"
