"""Programs as Triton kernels on a GPU; with TRITON_INTERPRET=1 on the CPU, slowly, for checking.

On a card a program becomes one CUDA graph at its first run, and switching the task is replaying
another graph. Experts that the memory budget leaves out arrive on a stream of their own while the
expert before them computes.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
import torch
import triton
from numpy.typing import NDArray

from gearshift.backends import Options, Stats
from gearshift.backends.lowering import UnsupportedError, lower
from gearshift.backends.torch_arena import Arena
from gearshift.backends.triton_device import device_name, open_device
from gearshift.backends.triton_move import Mover
from gearshift.backends.triton_plan import NAMES, Memory, Move, Plan, open_pool
from gearshift.backends.triton_weights import PRODUCT_DTYPE, ExpertPool, TritonWeights
from gearshift.program import Program


class TritonBackend:
    """The arena, the weights and the experts that all programs of one session share."""

    def __init__(self, options: Options) -> None:
        self.device = open_device(options.precision)
        self.place = torch.device("cpu" if self.device.interpreted else "cuda")
        self.name = f"triton {triton.__version__} on {device_name(self.device)}"
        self.options = options
        self.arena = Arena(self.place)
        self.weights = TritonWeights(self.place, options.precision)
        self.pool: ExpertPool | None = None

    def supports(self, program: Program) -> list[str]:
        """What has no kernel here."""
        try:
            lower(program, NAMES[PRODUCT_DTYPE[self.options.precision]])
        except UnsupportedError as reason:
            return [str(reason)]
        return []

    def compile(self, program: Program) -> TritonProgram:
        if self.pool is None:
            precision, budget = self.options.precision, self.options.memory
            self.pool = open_pool(program, self.place, precision, budget)
        return TritonProgram(self, program)


class TritonProgram:
    """One program, bound: a run copies the image in, launches, and copies the output out."""

    def __init__(self, backend: TritonBackend, program: Program) -> None:
        self._backend = backend
        self._program = program
        memory = Memory(backend.arena, backend.weights, backend.pool)
        self._plan = Plan(program, backend.device, memory, backend.options.approximate)
        moves = [action for action in self._plan.actions if isinstance(action, Move)]
        self._mover = None
        if moves and backend.pool is not None:
            self._mover = Mover(backend.pool, moves, backend.place)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._graph_place = 0
        """Where the arena was when the graph was captured: a graph holds addresses."""
        self._seconds = 0.0

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Float32 (N,3,H,W), writable and C-contiguous -> the output, the caller's own."""
        start = perf_counter()
        pixels = torch.from_numpy(image)
        with torch.inference_mode():
            if not (self._backend.device.interpreted or self._is_captured):
                self._plan.input.copy_(pixels)
                self._capture()
            self._plan.input.copy_(pixels)
            if self._graph is None:
                self._launch()
            else:
                self._graph.replay()
            result: NDArray[np.float32] = self._plan.output.to("cpu", copy=True).numpy()
        self._seconds = perf_counter() - start
        return result

    @property
    def stats(self) -> Stats:
        plan, pool = self._plan, self._backend.pool
        counts = plan.tokens_per_expert()
        expert_bytes = pool.expert_bytes if pool else 0
        chosen = sum(count > 0 for experts in counts.values() for count in experts)
        resident = pool.residency.resident if pool else {}
        misses = sum(n > 0 for name, row in counts.items() for n in row[resident[name] :])
        return Stats(
            self._backend.name,
            self._program.task_card.name,
            self._seconds,
            tokens_per_expert=counts,
            weight_bytes=plan.dense_bytes + chosen * expert_bytes,
            moved_bytes=len(self._mover.moves) * expert_bytes if self._mover else 0,
            expert_hits=chosen - misses,
            expert_misses=misses,
            activation_bytes=self._backend.arena.nbytes,
        )

    def _launch(self) -> None:
        """All launches in order, each expert's behind the arrival of its weights."""
        if self._mover is not None:
            self._mover.start()
        for action in self._plan.actions:
            if isinstance(action, Move):
                assert self._mover is not None
                self._mover.wait()
                for launch in action.launches:
                    launch.run()
                self._mover.release()
            else:
                action.run()

    @property
    def _is_captured(self) -> bool:
        return self._graph is not None and self._graph_place == self._backend.arena.address

    def _capture(self) -> None:
        """Make the graph of all launches. They run once before, which overwrites the input: what
        no pack holds is compiled and kernels are loaded then, and neither can be captured."""
        self._launch()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._launch()
        self._graph, self._graph_place = graph, self._backend.arena.address
