"""Builds of the accelerator for one model: cycles from the compiler's model, resources from the
one fitted to Yosys's estimates. Nothing of it was measured on a board."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gearshift.errors import BackendError
from gearshift.graph.graph import Graph
from gearshift_hls.board import Board
from gearshift_hls.build import Build
from gearshift_hls.compile.compiler import compile_bundle
from gearshift_hls.compile.estimate import estimate_program
from gearshift_hls.compile.limits import problems
from gearshift_hls.compile.lower import address, size
from gearshift_hls.compile.placement import place
from gearshift_hls.descriptor import ALIGNMENT, Command, Status
from gearshift_hls.host import pack_picture
from gearshift_hls.operations import Quantised
from gearshift_hls.project.usage import Usage
from gearshift_hls.rtl_simulation import RtlSimulation
from gearshift_hls.synthesis.resources import ResourceModel, beyond, tightest

SIDES = (16, 32, 64)
"""Of the array: the RTL takes square ones, from 16 on."""
CHOICES: Mapping[str, Sequence[int]] = {
    "input_bytes": (128 << 10, 256 << 10, 512 << 10, 1 << 20),
    "hidden_bytes": (64 << 10, 128 << 10, 256 << 10, 512 << 10),
    "scratch_bytes": (256 << 10, 512 << 10, 1 << 20, 2 << 20),
    "max_tokens": (256, 512, 1024, 2048),
}
ROOMY = {
    "input_bytes": 1 << 30,
    "hidden_bytes": 1 << 30,
    "scratch_bytes": 1 << 30,
    "max_tokens": 1 << 16,
    "max_channels": 1 << 16,
}
"""Of a build that holds any model, for what does not depend on buffers."""

Tasks = Mapping[int, Sequence[Quantised]]
"""All tasks of a model by the array's side, which channels are padded to."""
Shares = Mapping[str, Sequence[Sequence[float]]]
"""By task: see `gearshift.expert_profile.card_shares`."""


@dataclass(frozen=True)
class Design:
    """A build and what the models say of it."""

    build: Build
    usage: Usage
    reasons: Sequence[str]
    """Why it cannot be: layers that it does not hold, or more than the board has."""
    cycles: float = 0.0
    """Of the slowest task; 0 when the build does not hold the model."""
    task: str = ""
    """The slowest."""

    @property
    def is_feasible(self) -> bool:
        return not self.reasons

    @property
    def name(self) -> str:
        side, kib = self.build.input_lanes, 1 << 10
        buffers = (self.build.input_bytes, self.build.hidden_bytes, self.build.scratch_bytes)
        sizes = "+".join(str(nbytes // kib) for nbytes in buffers)
        return f"{side}x{side}, {sizes} KiB, {self.build.max_tokens} tokens"


def builds(base: Build) -> Iterator[Build]:
    """All builds of the space; what is not varied is `base`'s."""
    for side, values in product(SIDES, product(*CHOICES.values())):
        sizes = dict(zip(CHOICES, values, strict=True))
        yield replace(base, input_lanes=side, output_lanes=side, **sizes)


def roomy(base: Build, side: int) -> Build:
    """A build with arrays of this side that holds any model."""
    return replace(base, input_lanes=side, output_lanes=side, **ROOMY)


def quantised_tasks(graph: Graph, base: Build, pictures: NDArray[np.float32]) -> Tasks:
    """All tasks for every side of the array. Sizes do not depend on the pictures: one is enough.

    Raises:
        BackendError: the accelerator cannot run the model.
    """
    from gearshift_hls.quantise import quantise_model

    return {side: quantise_model(graph, roomy(base, side), pictures) for side in SIDES}


def explore(
    board: Board, tasks: Tasks, shares: Shares, model: ResourceModel, most: float
) -> list[Design]:
    """Every build of the space.

    Args:
        most: share of each of the board's resources that a design may take.
    """
    space = list(builds(board.build))
    return [
        _design(replace(board, build=build), tasks[build.input_lanes], shares, model, most)
        for build in tqdm(space, desc="designs", delay=2, leave=False)
    ]


def _design(
    board: Board, tasks: Sequence[Quantised], shares: Shares, model: ResourceModel, most: float
) -> Design:
    usage = model.usage(board.build)
    reasons = beyond(usage, board.resources, most)
    unfit = unfitting(tasks, board.build)
    if unfit:
        return Design(board.build, usage, [*unfit, *reasons])
    cycles = {
        task.task_card.name: task_cycles(task, board, shares.get(task.task_card.name))
        for task in tasks
    }
    slowest = max(cycles, key=cycles.__getitem__)
    return Design(board.build, usage, reasons, cycles[slowest], slowest)


def unfitting(tasks: Sequence[Quantised], build: Build) -> list[str]:
    """What of the model the build does not hold: the first problem of each kind of command."""
    found: dict[str, str] = {}
    for task in tasks:
        for operation in task.operations:
            command = size(operation, task.tensors)
            for problem in problems(command, build):
                kind = type(command).__name__
                found.setdefault(kind, f"{kind}: {problem}")
    return list(found.values())


def task_cycles(
    task: Quantised, board: Board, shares: Sequence[Sequence[float]] | None = None
) -> float:
    """Cycles of one picture, by the compiler's model."""
    return sum(one.cycles for one in estimate_program(_placed(task, board), board, shares))


def _placed(task: Quantised, board: Board) -> list[Command]:
    """Its commands; in external memory constants have no size, for nobody asks where they lie."""
    placement = place(task, board.build)
    # Address 0 means that there is no such tensor.
    external = {name: ALIGNMENT + offset for name, offset in placement.external.items()}
    places = {**dict.fromkeys(task.tables, ALIGNMENT), **placement.scratch, **external}
    return [
        address(size(operation, task.tensors), operation, places, {})
        for operation in task.operations
    ]


def pareto(designs: Sequence[Design], board: Board) -> list[Design]:
    """Feasible designs that no other beats in cycles and in the tightest resource, the fastest
    first; of equal ones, the one with the smallest buffers."""

    def cost(design: Design) -> tuple[float, ...]:
        usage, budget = design.usage, board.resources
        taken = (usage.uram / budget.uram, usage.bram / budget.bram, usage.lut / budget.lut)
        return design.cycles, tightest(usage, budget)[1], sum(taken), design.build.input_bytes

    front: list[Design] = []
    for design in sorted((one for one in designs if one.is_feasible), key=cost):
        if not front or cost(design)[1] < cost(front[-1])[1]:
            front.append(design)
    return front


@dataclass(frozen=True)
class Check:
    """A design's slowest task in RTL simulation."""

    design: Design
    simulated: float
    """Cycles."""

    @property
    def difference(self) -> float:
        """Of the model from the simulation, as a share."""
        return self.design.cycles / self.simulated - 1


def check_design(
    design: Design, board: Board, tasks: Sequence[Quantised], picture: NDArray[np.float32]
) -> Check:
    """Compile the RTL of a design and run its slowest task.

    Args:
        picture: (3, height, width) float32, normalised.

    Raises:
        BackendError: Verilator is not installed, or the program did not end well.
    """
    bundle = compile_bundle("model", replace(board, build=design.build), tasks)
    program = bundle.tasks[design.task]
    memory = np.zeros(bundle.memory_bytes, np.uint8)
    memory[: bundle.write_base] = bundle.constants
    patches = pack_picture(picture, program).reshape(-1)
    memory[program.input_place.address :][: patches.nbytes] = patches
    simulation = RtlSimulation(design.build)
    run = simulation.run_programs(memory, bundle.write_base, [program.program]).programs[0]
    if run.ending.status is not Status.DONE:
        raise BackendError(f"{design.name}: the program ended with {run.ending.status.name}")
    return Check(design, run.counters["cycles"])
