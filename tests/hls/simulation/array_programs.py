"""Programs of one command of the array, with sizes and constants that the test chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gearshift_hls import golden
from gearshift_hls.build import Build
from gearshift_hls.descriptor import (
    DESCRIPTOR_BYTES,
    SCRATCH,
    Command,
    End,
    Status,
    align,
    check,
    encode,
    queue_bytes,
    queue_offset,
)
from gearshift_hls.records import CHANNEL, ENTRY, HEAD, pack_stream
from gearshift_hls.simulation import Simulation

from ..contract.random_programs import Bytes, Program

GAP = 64
"""Poison between two regions."""


class ProgramMaker:
    """Random constants, and their place and that of the activations in one memory image."""

    def __init__(self, build: Build, seed: int) -> None:
        self.build = build
        self.random = np.random.default_rng(seed)

    def stream(self, inputs: int, outputs: int, extreme: bool = False) -> Bytes:
        """A product's weight streams, port by port, as one array (ports, bytes).

        Extreme: weights and parameters that saturate every format and shift by nothing at times.
        """
        random, channels = self.random, np.zeros(outputs, CHANNEL)
        channels["unused"] = 0xEE
        if extreme:
            weights = random.choice(np.array([-128, 127], np.int8), (outputs, inputs))
            channels["bias"] = random.choice(np.array([-(2**31), 2**31 - 1, 0], "<i4"), outputs)
            channels["multiplier"] = random.choice(np.array([0, 1, 65535], "<u2"), outputs)
            channels["shift"] = random.choice(np.array([0, 1, 20, 33, 62, 63, 255], "u1"), outputs)
        else:
            weights = random.integers(-128, 128, (outputs, inputs), dtype=np.int8)
            channels["bias"] = random.integers(-9999, 9999, outputs)
            channels["multiplier"] = random.integers(1 << 15, 1 << 16, outputs)
            channels["shift"] = 21 + int(np.log2(inputs) / 2)
        packed = np.frombuffer(pack_stream(self.build, weights, channels), np.uint8)
        return packed.reshape(self.build.weight_ports, -1)

    def experts(self, count: int, channels: int, hidden: int, extreme: bool = False) -> Bytes:
        """The streams of several experts."""
        pairs = [
            np.concatenate(
                [
                    self.stream(channels, hidden, extreme),
                    self.stream(hidden, channels, extreme),
                ],
                axis=1,
            )
            for _ in range(count)
        ]
        return np.stack(pairs)

    def queues(self, tokens: int, lists: Sequence[Sequence[int]]) -> Bytes:
        """The expert queues with these tokens and random gate scores; poison behind the entries."""
        data = np.full(queue_bytes(len(lists), tokens), 0xEE, np.uint8)
        counts = np.array([len(each) for each in lists], "<u4")
        data[: counts.nbytes] = counts.view(np.uint8)
        for expert, each in enumerate(lists):
            entries = np.zeros(len(each), ENTRY)
            entries["token"] = each
            entries["score"] = self.random.integers(0, 1 << 16, len(each))
            place = queue_offset(expert, len(lists), tokens)
            data[place : place + entries.nbytes] = entries.view(np.uint8)
        return data

    def heads(self, count: int) -> Bytes:
        """Parameters of heads whose scores spread over several powers of two."""
        heads = np.zeros(count, HEAD)
        heads["score_multiplier"] = self.random.integers(1 << 12, 1 << 16, count)
        heads["score_shift"] = self.random.integers(16, 22, count)
        heads["output_multiplier"] = self.random.integers(1 << 15, 1 << 16, count)
        heads["output_shift"] = 24
        return heads.view(np.uint8)

    def program(
        self, command: Command, data: Mapping[str, Any], scratch: Sequence[str] = ()
    ) -> Program:
        """`command` with addresses, then `End`.

        Args:
            data: bytes of the constants, and of what must not be random, by field.
            scratch: the regions that lie in on-chip memory; an address that the command has
                already is kept.
        """
        constant_end, place, on_chip = 2 * DESCRIPTOR_BYTES, 0, SCRATCH
        regions = sorted(command.regions(self.build), key=lambda each: each.access != "constant")
        for region in regions:
            if region.access == "constant":
                command = replace(command, **{region.field: constant_end})
                constant_end = place = align(constant_end + region.nbytes)
            elif region.field in scratch:
                command = replace(command, **{region.field: on_chip})
                on_chip = align(on_chip + region.nbytes) + GAP
            elif region.address == 0:
                command = replace(command, **{region.field: place + GAP})
                place = align(place + GAP + region.nbytes)
        program = Program(
            self.build,
            self.random.integers(0, 256, place + GAP, np.uint8),
            self.random.integers(0, 256, self.build.scratch_bytes, np.uint8),
            constant_end,
            0,
            [command, End()],
        )
        words = b"".join(map(encode, program.commands))
        program.memory[: len(words)] = np.frombuffer(words, np.uint8)
        for name, given in data.items():
            put(program, getattr(command, name), np.ascontiguousarray(given).reshape(-1))
        assert check(command, self.build, len(program.memory), constant_end) == Status.DONE
        return program


def put(program: Program, address: int, data: Bytes) -> None:
    """Bytes into either memory."""
    memory = program.scratch if address >= SCRATCH else program.memory
    memory[address % SCRATCH :][: len(data)] = data


def check_equal(simulation: Simulation, program: Program) -> golden.Ending:
    """The simulation leaves both memories and the ending exactly as the golden model does."""
    memory, scratch = program.memory.copy(), program.scratch.copy()
    wanted_memory, wanted_scratch = program.memory.copy(), program.scratch.copy()
    wanted = golden.run(
        program.build, wanted_memory, program.write_base, program.address, wanted_scratch
    )
    ending = simulation.run(memory, program.write_base, program.address, scratch)
    assert ending == wanted
    np.testing.assert_array_equal(memory, wanted_memory)
    np.testing.assert_array_equal(scratch, wanted_scratch)
    if ending.status == Status.DONE:
        changed = (memory != program.memory).any() or (scratch != program.scratch).any()
        assert changed, "the command wrote nothing"
    return ending
