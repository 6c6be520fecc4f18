"""Small graphs, quantised, and the golden model's run of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from gearshift_hls import golden
from gearshift_hls import operations as ops
from gearshift_hls.build import Build
from gearshift_hls.compile import compile_bundle
from gearshift_hls.host import pack_picture, unpack_result
from gearshift_hls.quantise import emulate

from .quantised_models import SMALL_BOARD

Trace = dict[tuple[int, str], np.ndarray]


def run_golden(
    tasks: list[ops.Quantised], number: int, picture: np.ndarray
) -> tuple[np.ndarray, Trace]:
    """The result of one task by the golden model, and its trace."""
    bundle = compile_bundle("random", SMALL_BOARD, tasks)
    program = bundle.tasks[tasks[number].task_card.name]
    memory = np.full(bundle.memory_bytes, 0xA5, np.uint8)
    memory[: bundle.write_base] = bundle.constants
    packed = pack_picture(picture, program).reshape(-1)
    start = program.input_place.address
    memory[start : start + len(packed)] = packed
    trace: Trace = {}

    def tell(descriptor: int, name: str, values: np.ndarray) -> None:
        trace[descriptor, name] = values.copy()

    ending = golden.run(bundle.build, memory, bundle.write_base, program.program, trace=tell)
    assert ending.status == golden.Status.DONE
    start = program.output_place.address
    result = memory[start : start + program.output_place.tensor.nbytes]
    return unpack_result(result, program), trace


def emulated(
    build: Build, task: ops.Quantised, patches: np.ndarray
) -> Callable[[int], emulate.Emulation]:
    """The emulation after operation `number`, called with rising numbers."""
    emulation = emulate.Emulation(build, task.tables)
    emulation.tensors[task.input.tensor] = torch.from_numpy(patches)
    done = 0

    def after(number: int) -> emulate.Emulation:
        nonlocal done
        for operation in task.operations[done : number + 1]:
            emulation.execute(operation, task.tensors)
        done = number + 1
        return emulation

    return after


def signal_to_noise(found: np.ndarray, wanted: np.ndarray) -> float:
    """In decibels."""
    noise = np.square(found - wanted, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(wanted, dtype=np.float64).sum() / noise))


def fixed_routing(values: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The oracle's experts by the names of the quantiser's queues."""
    ending = ".expert_index"
    return {
        f"{name.removesuffix(ending)}.queues": torch.from_numpy(experts)
        for name, experts in values.items()
        if name.endswith(ending)
    }
