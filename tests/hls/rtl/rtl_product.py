"""The product unit of the RTL, compiled with memories around it: one command a run."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gearshift_hls import golden
from gearshift_hls.build import Build
from gearshift_hls.descriptor import DESCRIPTOR_BYTES, SCRATCH, Status
from gearshift_hls.verilator import build_literal, compiled, rtl_folders, sources_of

from ..contract.random_programs import Bytes, Program

MAIN = Path(__file__).with_name("product_bench.cpp")


@dataclass(frozen=True)
class Run:
    """What a run of a command took, in cycles; `streams` and `beats` over all weight ports."""

    fault: bool
    cycles: int
    busy: int
    waits_for_weights: int
    waits_for_data: int
    streams: int
    beats: int


class Product:
    """The compiled unit; commands follow each other without a reset between them."""

    def __init__(self, build: Build, arguments: Sequence[str] = ()) -> None:
        self.build = build
        program = compiled(
            "product",
            sources_of("product", rtl_folders()),
            MAIN,
            {"BUILD": build_literal(build)},
            ["--assert", *arguments],
        )
        self._call = [str(program), "+verilator+rand+reset+2", "+verilator+seed+7"]
        self._process: subprocess.Popen[bytes] | None = None

    def run(
        self,
        program: Program,
        memory: Bytes,
        scratch: Bytes,
        seed: int = 0,
        stalls: int = 20,
        latency: int = 7,
        reset_after: int = 0,
    ) -> Run:
        """The first command of `program`, in place.

        Args:
            stalls: per cent of the cycles in which a stream rests.
            latency: cycles from a request to its first answer.
            reset_after: cycles, 2 or more, after which a reset begins it anew; 0: none.
        """
        first = reset_after or int(self._process is None)
        if self._process is None:
            self._process = subprocess.Popen(
                self._call, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        head = (len(memory), len(scratch), self.build.input_lanes, seed, stalls, latency, first)
        descriptor = program.memory[program.address :][:DESCRIPTOR_BYTES].tobytes()
        stdin.write(struct.pack("<7I", *head) + descriptor)
        stdin.write(memory.tobytes() + scratch.tobytes())
        stdin.flush()
        answer = stdout.read(4 * 8 + 96)
        failed, *figures = struct.unpack("<8I", answer[:32])
        problem = answer[32:].split(b"\0")[0].decode()
        memory[:] = np.frombuffer(stdout.read(len(memory)), np.uint8)
        scratch[:] = np.frombuffer(stdout.read(len(scratch)), np.uint8)
        if failed:
            self.close()
        run = Run(bool(figures[0]), *figures[1:])
        assert not failed, f"{problem}, seed {seed}, stalls {stalls}, latency {latency}: {run}"
        return run

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait(20)
            self._process = None


def check_product(
    product: Product,
    program: Program,
    seed: int = 0,
    stalls: int = 20,
    latency: int = 7,
    reset_after: int = 0,
) -> Run:
    """The unit leaves both memories as the golden model does, but for `y` after a bad queue."""
    memory, scratch = program.memory.copy(), program.scratch.copy()
    wanted_memory, wanted_scratch = program.memory.copy(), program.scratch.copy()
    ending = golden.run(
        program.build, wanted_memory, program.write_base, program.address, wanted_scratch
    )
    run = product.run(program, memory, scratch, seed, stalls, latency, reset_after)
    assert run.fault == (ending.status == Status.BAD_QUEUE)
    if run.fault:
        forget_results(program, memory, scratch)
        forget_results(program, wanted_memory, wanted_scratch)
    np.testing.assert_array_equal(memory, wanted_memory)
    np.testing.assert_array_equal(scratch, wanted_scratch)
    return run


def forget_results(program: Program, memory: Bytes, scratch: Bytes) -> None:
    """Zeros where the first command writes: after an error anything may stand there."""
    for region in program.commands[0].regions(program.build):
        if region.access == "write":
            space = scratch if region.address >= SCRATCH else memory
            space[region.address % SCRATCH :][: region.nbytes] = 0
