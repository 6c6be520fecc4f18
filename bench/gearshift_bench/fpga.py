"""What the accelerator takes for a model: simulated cycle by cycle, or estimated if that is long.

Cycles are those of the RTL in simulation, or the compiler's estimate; every figure says which. The
clock is assumed, and so are latency and rate of external memory: nothing was measured on a board.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gearshift.errors import BackendError
from gearshift.graph.card import Card
from gearshift_hls.board import Board
from gearshift_hls.bundle import Bundle, TaskProgram
from gearshift_hls.compile.estimate import ESTIMATE
from gearshift_hls.compile.listing import TaskListing
from gearshift_hls.descriptor import DESCRIPTOR_BYTES, End, Status, encode
from gearshift_hls.host import pack_picture
from gearshift_hls.quantise.pictures import calibration_pictures
from gearshift_hls.rtl_simulation import SIMULATED, RtlRun, RtlSimulation

DECODER = "decoders."
"""How the names of a decoder's nodes begin."""
STALLS = ("array_waits_for_weights", "array_waits_for_data", "memory_waits")


@dataclass(frozen=True)
class Layer:
    """One descriptor."""

    node: str
    command: str
    cycles: float
    array_cycles: float
    """In which a row entered the array."""


@dataclass(frozen=True)
class Figures:
    """One task of a model, or the encoder that all its tasks share."""

    model: str
    task: str
    part: str
    """`task`: all of it; `encoder`: up to the last block."""
    tokens: int
    kind: str
    """`SIMULATED` or `ESTIMATE`."""
    cycles: float
    clock_mhz: float
    weight_bytes: int
    """Read by the weight ports; of an estimate, with all parameters."""
    external_bytes: int
    """Read and written in external memory, weights included."""
    layers: Sequence[Layer]
    stalls: Mapping[str, int] = field(default_factory=dict)
    """Cycles by `STALLS`; an estimate has none."""

    @property
    def milliseconds(self) -> float:
        return self.cycles / (1e3 * self.clock_mhz)

    @property
    def utilisation(self) -> float:
        """Share of the cycles in which the array is busy."""
        return sum(layer.array_cycles for layer in self.layers) / self.cycles


def estimated(bundle: Bundle, listed: TaskListing, part: str) -> Figures:
    """From the compiler's model."""
    lines = listed.lines[: part_length(listed.task, part)]
    return Figures(
        bundle.model,
        listed.task.name,
        part,
        tokens(listed.task),
        ESTIMATE,
        sum(line.estimate.cycles for line in lines),
        listed.clock_mhz,
        sum(line.estimate.weight_bytes for line in lines),
        sum(line.estimate.external_bytes for line in lines),
        [
            Layer(
                line.node,
                type(line.command).__name__.lower(),
                line.estimate.cycles,
                line.estimate.cycles_by_cause["array"],
            )
            for line in lines
        ],
    )


def simulated(
    simulation: RtlSimulation, bundle: Bundle, card: Card, board: Board, task: str, part: str
) -> Figures:
    """From a run of the RTL on the first picture that comes with gearshift.

    Raises:
        BackendError: the program did not end well.
    """
    program = bundle.tasks[task]
    run = _simulate(simulation, bundle, card, program, part_length(program, part))
    counters = run.programs[0].counters
    names = (*program.names, "end")
    return Figures(
        bundle.model,
        task,
        part,
        tokens(program),
        SIMULATED,
        run.descriptors[-1].end if part == "encoder" else counters["cycles"],
        board.clock_mhz,
        sum(run.read_bytes[:-1]),
        sum(run.read_bytes) + run.written_bytes,
        [
            Layer(
                names[one.number],
                one.command.__name__.lower(),
                one.cycles,
                one.counters["array_busy"],
            )
            for one in run.descriptors
        ],
        {name: counters[name] for name in STALLS},
    )


def part_length(program: TaskProgram, part: str) -> int:
    """Descriptors of a part, `End` left out."""
    names = program.names
    if part == "encoder":
        names = tuple(name for name in names if not name.startswith(DECODER))
        assert names == program.names[: len(names)], "a decoder before the last block"
    return len(names)


def tokens(program: TaskProgram) -> int:
    """The class token is one of them."""
    return program.input_place.tensor.shape[0]


def _simulate(
    simulation: RtlSimulation, bundle: Bundle, card: Card, program: TaskProgram, length: int
) -> RtlRun:
    memory = np.zeros(bundle.memory_bytes, np.uint8)
    memory[: bundle.write_base] = bundle.constants
    place = program.program + length * DESCRIPTOR_BYTES
    memory[place : place + DESCRIPTOR_BYTES] = np.frombuffer(encode(End()), np.uint8)
    shown = replace(card, image_height=bundle.height, image_width=bundle.width)
    picture = calibration_pictures(shown, bundle.height, bundle.width)[0]
    patches = pack_picture(picture, program).reshape(-1)
    start = program.input_place.address
    memory[start : start + patches.nbytes] = patches
    run = simulation.run_programs(memory, bundle.write_base, [program.program])
    ending = run.programs[0].ending
    if ending.status is not Status.DONE:
        raise BackendError(
            f"{bundle.model}, task {program.name}: ended with {ending.status.name} at descriptor "
            f"{ending.descriptor}: see gearshift_hls.golden for what it should do"
        )
    return run
