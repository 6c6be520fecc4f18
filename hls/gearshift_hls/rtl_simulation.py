"""RTL simulation: the accelerator's SystemVerilog, cycle by cycle, on a memory image.

Bit-equal to the golden model, and the only source of cycle counts. Verilator compiles the RTL, and
`hls/rtl/harness` gives it external memory whose latency and rate are assumed. Compiled on first use
into the cache folder.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gearshift.errors import BackendError
from gearshift_hls import registers
from gearshift_hls.board import ZCU104, Board
from gearshift_hls.build import Build
from gearshift_hls.compile.cost_model import ASSUMED
from gearshift_hls.descriptor import COMMANDS, Command, Status
from gearshift_hls.golden import Bytes, Ending
from gearshift_hls.verilator import build_literal, compiled, rtl_folders, sources_of

SIMULATED = "simulated cycles at an assumed clock"
"""How every figure of this module is labelled."""
TOP = "accelerator"
LIMIT = 100_000_000
"""Cycles after which a program is given up."""

Counters = Mapping[str, int]
"""By `registers.COUNTER_NAMES`."""


@dataclass(frozen=True)
class MemoryModel:
    """External memory as the simulation assumes it; nothing of it was measured on a board."""

    latency: int
    """Cycles from an address to its first beat, and from a last beat to its acknowledgement."""
    bytes_per_cycle: float
    """What all ports share; one port moves 16 at most."""
    seed: int = 0
    """Of random stalls and longer latencies; 0: none."""


def assumed_memory(board: Board = ZCU104) -> MemoryModel:
    """Latency and share of the peak rate as the compiler's estimate assumes them."""
    rate = board.memory_bytes_per_second * ASSUMED.memory_efficiency
    return MemoryModel(ASSUMED.read_latency, rate / (1e6 * board.clock_mhz))


@dataclass(frozen=True)
class DescriptorRun:
    """What one descriptor took."""

    program: int
    """The place of its program among those that were started."""
    number: int
    command: type[Command]
    start: int
    end: int
    """Cycles since the first program's start."""
    counters: Counters
    """What it added to them."""

    @property
    def cycles(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class ProgramRun:
    """How a program ended."""

    ending: Ending
    end: int
    """Cycles from the first program's start to the interrupt."""
    counters: Counters


@dataclass(frozen=True)
class RtlRun:
    """Programs that ran one after the other, each started while the one before ran."""

    programs: Sequence[ProgramRun]
    descriptors: Sequence[DescriptorRun]
    read_bytes: Sequence[int]
    """Of external memory: by each weight port, then by the port for everything else."""
    written_bytes: int


class RtlSimulation:
    """One build of the accelerator in RTL simulation, reset before every run."""

    def __init__(self, build: Build, memory: MemoryModel | None = None, limit: int = LIMIT) -> None:
        """
        Args:
            build: any with as many input lanes as output lanes, at least 16, and 4 weight ports.
            memory: None: `assumed_memory()`.
            limit: cycles after which a program is given up.

        Raises:
            BackendError: a build that the RTL does not have, no Verilator, or no C++ compiler.
        """
        lanes = build.input_lanes
        if not (lanes == build.output_lanes >= 16 and build.weight_ports == 4):
            raise BackendError(
                f"no RTL of {build}: give it as many input as output lanes, 16 or more, and 4 "
                "weight ports"
            )
        self.build = build
        self.memory = memory or assumed_memory()
        self.last: RtlRun | None = None
        """The last run, for whoever called `run`."""
        self._limit = limit
        self._program = _compiled(build)

    def run(self, memory: Bytes, write_base: int, program: int) -> Ending:
        """Execute the program at address `program`, in place: see `golden.run`.

        Raises:
            BackendError: it does not end, or breaks the rules of its bus.
        """
        return self.run_programs(memory, write_base, [program]).programs[0].ending

    def run_programs(self, memory: Bytes, write_base: int, programs: Sequence[int]) -> RtlRun:
        """Programs at these addresses, each started while the one before runs.

        Args:
            memory: all external memory (bytes), changed from `write_base` on.

        Raises:
            BackendError: one does not end, or breaks the rules of its bus.
        """
        with tempfile.NamedTemporaryFile(suffix=".memory") as file:
            memory.tofile(file)
            file.flush()
            found = self._call(file.name, len(memory), write_base, programs)
            memory[:] = np.fromfile(file.name, np.uint8)
        if found["faults"]:
            raise BackendError("RTL simulation: " + "; ".join(found["faults"]))
        self.last = _run(found)
        return self.last

    def _call(
        self, file: str, memory_bytes: int, write_base: int, programs: Sequence[int]
    ) -> dict[str, Any]:
        model = self.memory
        numbers = (
            memory_bytes,
            write_base,
            model.latency,
            round(1000 * model.bytes_per_cycle),
            model.seed,
            self._limit,
            *programs,
        )
        call = [str(self._program), file, *map(str, numbers)]
        done = subprocess.run(call, capture_output=True, text=True)
        if done.returncode:
            raise BackendError(f"the RTL simulation failed:\n{done.stdout}{done.stderr}")
        return dict(json.loads(done.stdout))


def _run(found: dict[str, Any]) -> RtlRun:
    return RtlRun(
        [
            ProgramRun(_ending(one["result"]), one["end"], _counters(one["counts"]))
            for one in found["programs"]
        ],
        [
            DescriptorRun(
                one["program"],
                one["number"],
                COMMANDS[one["opcode"]],
                one["start"],
                one["end"],
                _counters(one["counts"]),
            )
            for one in found["descriptors"]
        ],
        found["read"],
        found["written"],
    )


def _ending(result: int) -> Ending:
    return Ending(Status(result & 0xFF), result >> 8)


def _counters(counts: Sequence[int]) -> Counters:
    return dict(zip(registers.COUNTER_NAMES, counts, strict=True))


def harness_folder() -> Path:
    """The C++ around the model."""
    return rtl_folders()[0] / "harness"


def _compiled(build: Build) -> Path:
    folder = harness_folder()
    sources = [folder / "harness.vlt", *sources_of(TOP, rtl_folders())]
    headers = sorted(folder.glob("*.h"))
    flags = [f"-I{folder}", *(f"-D{name}={value}" for name, value in _constants().items())]
    arguments = [word for flag in flags for word in ("-CFLAGS", flag)]
    parameters = {"BUILD": build_literal(build)}
    return compiled(TOP, sources, folder / "main.cpp", parameters, arguments, headers)


def _constants() -> dict[str, int]:
    """What the harness knows of the register map."""
    names = ("CONTROL", "GLOBAL_INTERRUPT", "INTERRUPT_ENABLE", "INTERRUPT_STATUS", "RETURN")
    found = {f"REGISTER_{name}": int(getattr(registers, name)) for name in names}
    found |= {f"REGISTER_{name.upper()}": place for name, place in registers.offsets().items()}
    return found | {
        "REGISTER_COUNTERS": registers.COUNTERS,
        "COUNTERS": len(registers.COUNTER_NAMES),
    }
