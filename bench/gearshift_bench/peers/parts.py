"""The two parts of a program that are measured: the encoder alone, and the whole task."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

from gearshift.buffers import plan_buffers
from gearshift.errors import InputError
from gearshift.graph.graph import TOKENS
from gearshift.program import Program

Part = Literal["encoder", "task"]
PARTS: tuple[Part, ...] = get_args(Part)


def part_of(program: Program, part: Part) -> Program:
    """The program of a part."""
    return encoder_program(program) if part == "encoder" else program


def encoder_program(program: Program) -> Program:
    """The steps up to the tokens (N,T,D) that leave the last block; the program's if it ends there.

    Raises:
        InputError: no step of this program computes `tokens`.
    """
    last = next(
        (number for number, step in enumerate(program.steps) if TOKENS in step.outputs), None
    )
    if last is None:
        raise InputError(
            f"no step of {program.model} computes {TOKENS!r}: export the model again with gearshift"
        )
    steps = program.steps[: last + 1]
    names = [program.input, *(name for step in steps for name in step.outputs)]
    sizes = {name: program.values[name].nbytes for name in names}
    offsets, arena_bytes = plan_buffers(sizes, steps, program.input, TOKENS)
    weights = dict.fromkeys(name for step in steps for name in step.weights)
    return replace(
        program,
        output=TOKENS,
        values={name: replace(program.values[name], offset=offsets[name]) for name in names},
        steps=steps,
        weights={name: program.weights[name] for name in weights},
        arena_bytes=arena_bytes,
    )
