"""Runs of backend `triton` whose routing can be seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gearshift.backends.triton_plan import DTYPES, Memory, Move, Plan
from gearshift.program import Program, Value
from gearshift_bench.accuracy.runners import Floats, Recorder, Runs, choice_names


class TritonRecorder(Recorder):
    """The launches of a program, one after the other and without a CUDA graph."""

    def _compile(self, program: Program) -> tuple[_Launches, dict[str, Value]]:
        launches = _Launches(self._backend, program)
        names = choice_names(program)
        values = launches.plan.lowering.values
        return launches, {router: values[name] for router, name in names.items()}

    def _read(self, compiled: Runs, value: Value) -> NDArray[np.int64]:
        assert isinstance(compiled, _Launches)
        return np.asarray(compiled.plan.apart[value.name].cpu().numpy(), np.int64)


class _Launches:
    """One program, bound."""

    def __init__(self, backend: Any, program: Program) -> None:
        backend.compile(program)  # opens the pool of experts
        memory = Memory(backend.arena, backend.weights, backend.pool)
        self.plan = _PlanApart(program, backend, memory)

    def run(self, image: Floats) -> Floats:
        with torch.inference_mode():
            self.plan.input.copy_(torch.from_numpy(image))
            for action in self.plan.actions:
                assert not isinstance(action, Move), "without a budget every expert is there"
                action.run()
            output: Floats = self.plan.output.to("cpu", copy=True).numpy()
        return output


class _PlanApart(Plan):
    """Whose routers' choices have memory of their own, which nothing overwrites."""

    def __init__(self, program: Program, backend: Any, memory: Memory) -> None:
        self.apart: dict[str, Tensor] = {}
        self._choices = set(choice_names(program).values())
        super().__init__(program, backend.device, memory, backend.options.approximate)

    def _place(self, value: Value) -> Tensor:
        if value.name not in self._choices:
            return super()._place(value)
        place = self._memory.weights.place
        tensor = torch.empty(value.shape, dtype=DTYPES[value.dtype], device=place)
        self.apart[value.name] = tensor
        return tensor
