"""Quantised tasks -> bundle: constants, activations, and one descriptor program a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gearshift.errors import BackendError
from gearshift_hls.board import Board
from gearshift_hls.build import Build
from gearshift_hls.bundle import Bundle, Place, TaskProgram
from gearshift_hls.compile.constants import ConstantImage
from gearshift_hls.compile.limits import problems
from gearshift_hls.compile.lower import address, size
from gearshift_hls.compile.placement import Placement, place
from gearshift_hls.descriptor import (
    DESCRIPTOR_BYTES,
    SCRATCH,
    Command,
    End,
    Status,
    check,
    encode,
)
from gearshift_hls.operations import Quantised


def compile_bundle(model: str, board: Board, tasks: Sequence[Quantised]) -> Bundle:
    """All tasks of a model for the build of a board.

    Memory, from address 0: the programs, constants in the order in which the tasks first need them
    (what several tasks share lies there once), activations, whose place all tasks share.

    Args:
        tasks: of one image size, in the card's order.

    Raises:
        BackendError: layers that the build cannot hold, all of them listed; or more memory than
            the board has.
    """
    build = board.build
    commands = _size_all(model, board, tasks)
    image = ConstantImage(build)
    programs = [image.reserve((len(task.operations) + 1) * DESCRIPTOR_BYTES) for task in tasks]
    constants = [[image.share(operation) for operation in task.operations] for task in tasks]
    tables = [
        {name: image.share_table(name, table) for name, table in task.tables.items()}
        for task in tasks
    ]
    placements = [place(task, build) for task in tasks]
    write_base = image.end
    memory_bytes = write_base + max(placement.external_bytes for placement in placements)
    _check_memory(model, board, write_base, memory_bytes)
    compiled: dict[str, TaskProgram] = {}
    for number, task in enumerate(tasks):
        places = {**_addresses(placements[number], write_base), **tables[number]}
        program = [
            address(command, operation, places, where)
            for command, operation, where in zip(
                commands[number], task.operations, constants[number], strict=True
            )
        ]
        _check_program(program, build, memory_bytes, write_base)
        encoded = b"".join(encode(command) for command in (*program, End()))
        image.fill(programs[number], np.frombuffer(encoded, np.uint8))
        compiled[task.task_card.name] = _task_program(task, programs[number], places)
    return Bundle(
        model=model,
        board=board.name,
        build=build,
        height=tasks[0].height,
        width=tasks[0].width,
        memory_bytes=memory_bytes,
        write_base=write_base,
        constants=image.image(),
        tasks=compiled,
    )


def _size_all(model: str, board: Board, tasks: Sequence[Quantised]) -> list[list[Command]]:
    """The commands of all tasks without addresses. Raises BackendError: see `compile_bundle`."""
    commands = [[size(one, task.tensors) for one in task.operations] for task in tasks]
    found: dict[str, None] = {}
    for task, its_commands in zip(tasks, commands, strict=True):
        for name, command in zip(task.names, its_commands, strict=True):
            for problem in problems(command, board.build):
                found[f"{name} ({type(command).__name__}): {problem}"] = None
    if found:
        size_text = f"{tasks[0].height}x{tasks[0].width}"
        raise BackendError(
            f"{model} at {size_text} pixels does not fit the {board.name}'s build; give a smaller "
            "image or model, or a board with a larger build: " + "; ".join(found)
        )
    return commands


def _check_memory(model: str, board: Board, write_base: int, memory_bytes: int) -> None:
    available = min(board.memory_bytes, SCRATCH)
    if memory_bytes > available:
        raise BackendError(
            f"{model} needs {memory_bytes:,} bytes of memory ({write_base:,} constants, "
            f"{memory_bytes - write_base:,} activations) and the {board.name} gives {available:,}; "
            "give a smaller image or model"
        )


def _addresses(placement: Placement, write_base: int) -> Mapping[str, int]:
    external = {name: write_base + offset for name, offset in placement.external.items()}
    return {**placement.scratch, **external}


def _check_program(
    program: Sequence[Command], build: Build, memory_bytes: int, write_base: int
) -> None:
    for number, command in enumerate(program):
        status = check(command, build, memory_bytes, write_base)
        assert status == Status.DONE, f"descriptor {number} is {status.name}: {command}"


def _task_program(task: Quantised, program: int, places: Mapping[str, int]) -> TaskProgram:
    def placed(name: str) -> Place:
        return Place(task.tensors[name], places[name])

    return TaskProgram(
        name=task.task_card.name,
        program=program,
        descriptors=len(task.operations) + 1,
        input=task.input,
        input_place=placed(task.input.tensor),
        output=task.output,
        output_place=placed(task.output.tensor),
        names=task.names,
    )
