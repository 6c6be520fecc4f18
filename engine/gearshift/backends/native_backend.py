"""Programs on the native CPU kernels: one call runs a whole program, on a team of threads.

Weights are packed once into files of the cache folder and mapped; all programs of a session share
them, one arena and one team. Under a memory budget the experts are read into slots instead, and a
run returns to Python before every expert mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from gearshift.backends import Options, Stats, refuse_options
from gearshift.backends.lowering import Lowering, UnsupportedError
from gearshift.backends.native_experts import ExpertSlots, open_slots
from gearshift.backends.native_pack_file import PackedWeights, pack_folder
from gearshift.backends.native_plan import (
    DTYPES,
    PRECISIONS,
    BoundCall,
    Mixture,
    Plan,
    lower_native,
)
from gearshift.errors import BackendError
from gearshift.expert_store import ExpertStore
from gearshift.program import Program, Value
from gearshift_kernels.native.library import NativeError
from gearshift_kernels.native.pack import aligned
from gearshift_kernels.native.structures import Experts
from gearshift_kernels.native.team import CallList, Team, usable_processors


class NativeBackend:
    """The team, the arena, the weights and the experts that all programs of a session share.

    Args:
        options: threads of None are as many as the processors that this process may use.
        level: an instruction set, or None for the best one.

    Raises:
        BackendError: an option that this backend does not have, or no kernels on this machine.
    """

    def __init__(self, options: Options, level: str | None = None) -> None:
        refuse_options("native", options, tuple(PRECISIONS))
        try:
            self.team = Team(options.threads or usable_processors(), level)
        except NativeError as error:
            raise BackendError(f"backend native: {error}") from None
        self.name = f"native {self.team.level}"
        self.options = options
        self.arena = Arena()
        self.packed = PackedWeights(pack_folder(options.folder, options.precision))
        self.streaming: tuple[ExpertSlots, ExpertStore] | None = None
        """Slots and store of the experts, if the budget does not hold all of them."""
        self._is_open = False
        self._lowered: tuple[Program, Lowering] | None = None
        """The program that was asked about last: most often it is compiled next."""

    def supports(self, program: Program) -> list[str]:
        """What has no kernel here."""
        try:
            self._lower(program)
        except UnsupportedError as reason:
            return [str(reason)]
        return []

    def compile(self, program: Program) -> NativeProgram:
        """Bind a supported program; the first time that its weights are met, they are packed.

        Raises:
            InputError: the memory budget holds fewer than two experts.
            GearshiftError: the cache folder cannot be written.
        """
        plan = Plan(program, self._lower(program), self.options.precision)
        if not self._is_open:
            self._open_experts(program, plan)
        self.packed.hold([*plan.blocks.values(), *plan.expert_blocks], program.task_card.name)
        self.arena.reserve(plan.lowering.arena_bytes)
        return NativeProgram(self, program, plan)

    def _lower(self, program: Program) -> Lowering:
        if self._lowered is None or self._lowered[0] is not program:
            self._lowered = program, lower_native(program, self.options.precision)
        return self._lowered[1]

    def _open_experts(self, program: Program, plan: Plan) -> None:
        options = self.options
        self.streaming = open_slots(
            program, plan.mixtures, self.packed, options.memory, options.expert_share
        )
        if self.streaming is not None:
            finalize(self, self.streaming[1].close)
        self._is_open = True


class NativeProgram:
    """One program, bound: a run copies the image in and calls the kernels; the last one writes what
    the caller gets."""

    def __init__(self, backend: NativeBackend, program: Program, plan: Plan) -> None:
        self._backend = backend
        self._program = program
        self._plan = plan
        self._seconds = 0.0
        self._hits = self._misses = self._moves = 0
        # Summed here, since stats are asked for after every run.
        self._dense_bytes = sum(block.nbytes for block in plan.blocks.values())
        self._expert_bytes = {
            name: [block.nbytes for block in mixture.experts]
            for name, mixture in plan.mixtures.items()
        }
        for mixture in plan.mixtures.values():
            for expert, block in enumerate(mixture.experts):
                # Under a budget every run says anew where the chosen experts are.
                is_streamed = backend.streaming is not None
                mixture.place(expert, 0 if is_streamed else backend.packed.address(block))
        self._bind()

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Float32 (N,3,H,W), C-contiguous -> the output, the caller's own.

        Raises:
            BackendError: experts cannot be read from their file any more, or this is a fork of
                the process that opened the session.
        """
        start = perf_counter()
        backend = self._backend
        if self._arena is not backend.arena.memory:
            self._bind()
        self._input[...] = image
        output: NDArray[np.float32] = np.empty(self._shape, np.float32)
        self._last.out = output.ctypes.data
        try:
            self._run_parts()
        except OSError as error:
            raise BackendError(f"backend native cannot read experts: {error}") from error
        except NativeError as error:
            raise BackendError(f"backend native: {error}") from None
        self._seconds = perf_counter() - start
        return output

    @property
    def stats(self) -> Stats:
        plan, backend = self._plan, self._backend
        nodes: dict[str, float] = {}
        for part in self._parts:
            for node, seconds in zip(part.nodes, part.seconds.tolist(), strict=True):
                nodes[node] = nodes.get(node, 0.0) + seconds
        tokens = {name: mixture.tokens for name, mixture in plan.mixtures.items()}
        read = [
            nbytes
            for name, counts in tokens.items()
            for nbytes, count in zip(self._expert_bytes[name], counts, strict=True)
            if count
        ]
        streaming = backend.streaming
        return Stats(
            backend.name,
            self._program.task_card.name,
            self._seconds,
            nodes,
            tokens,
            weight_bytes=self._dense_bytes + sum(read),
            moved_bytes=self._moves * streaming[0].expert_bytes if streaming else 0,
            expert_hits=self._hits if streaming else len(read),
            expert_misses=self._misses,
            activation_bytes=backend.arena.nbytes,
        )

    def _bind(self) -> None:
        """Bind all calls to the arena, wherever it now is."""
        backend, program, values = self._backend, self._program, self._plan.lowering.values
        self._arena = backend.arena.memory
        self._input = backend.arena.view(values[program.input])
        calls = self._plan.bind(backend.arena.address, backend.packed.address)
        self._shape, self._last = values[program.output].shape, calls[-1].arguments
        assert self._last.out == self._plan.pointer(program.output)
        self._parts = self._split(calls)
        for part in self._parts:
            backend.team.reserve(part.calls)

    def _split(self, calls: Sequence[BoundCall]) -> list[Part]:
        """One part for all calls, or, where experts are streamed, parts between the mixtures."""
        if self._backend.streaming is None:
            return [Part(calls)]
        parts: list[Part] = []
        start = 0
        for number, call in enumerate(calls):
            if call.mixture is not None:
                parts.append(Part(calls[start:number]))
                parts.append(StreamedPart(call, self._plan.mixtures[call.mixture]))
                start = number + 1
        return [*parts, Part(calls[start:])]

    def _run_parts(self) -> None:
        team, streaming = self._backend.team, self._backend.streaming
        if streaming is None:
            for part in self._parts:
                part.run(team)
            return
        slots, store = streaming
        store.begin(self._program.task_card.name)
        for part in self._parts:
            if isinstance(part, StreamedPart):
                part.run_groups(team, slots, store)
            else:
                part.run(team)
        self._hits, self._misses, self._moves = store.hits, store.misses, store.moves


class Part:
    """Calls that run one after the other with no Python between them."""

    def __init__(self, calls: Sequence[BoundCall]) -> None:
        self.calls = CallList([(call.arguments, call.precision) for call in calls])
        self.nodes = [call.node for call in calls]

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Of each call in the last run."""
        return self.calls.seconds

    def run(self, team: Team) -> None:
        """Run the calls."""
        team.run(self.calls)


class StreamedPart(Part):
    """The experts of one mixture, computed a group at a time as they arrive in their slots."""

    def __init__(self, call: BoundCall, mixture: Mixture) -> None:
        assert isinstance(call.arguments, Experts)
        super().__init__([call])
        self._name = call.node
        self._mixture = mixture
        self._arguments = call.arguments
        self._chosen: NDArray[np.int64] = np.zeros(len(mixture.experts), np.int64)
        self._arguments.chosen = self._chosen.ctypes.data
        self._total: NDArray[np.float64] = np.zeros(1)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Of all groups together, without the waiting for their weights."""
        return self._total

    def run_groups(self, team: Team, slots: ExpertSlots, store: ExpertStore) -> None:
        """Compute the chosen experts; raises OSError when one cannot be read."""
        self._total[:] = 0
        for group in store.take(self._name, self._mixture.tokens):
            for place, (expert, slot) in enumerate(group):
                self._mixture.place(expert, slots.address(slot))
                self._chosen[place] = expert
            self._arguments.chosen_count = len(group)
            team.run(self.calls)
            self._total += self.calls.seconds


class Arena:
    """One block of memory for the values of all programs; to grow, it becomes another one."""

    def __init__(self) -> None:
        self.memory: NDArray[np.uint8] = aligned(0, np.uint8)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.memory.nbytes

    @property
    def address(self) -> int:
        """Where it begins."""
        return int(self.memory.ctypes.data)

    def reserve(self, nbytes: int) -> None:
        """Have at least so many bytes; what stood in fewer is lost."""
        if nbytes > self.nbytes:
            self.memory = aligned(nbytes, np.uint8)

    def view(self, value: Value) -> NDArray[Any]:
        """A value in its place."""
        return np.ndarray(value.shape, DTYPES[value.dtype], self.memory, value.offset)
