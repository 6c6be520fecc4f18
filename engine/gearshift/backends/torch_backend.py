"""Programs in eager torch: runs wherever torch does, on the CPU.

Weights are views of the artifact's memory map; all programs of a session share one arena, and a
program is a list of calls bound to places in it. In bfloat16 each weight of a matrix product is
converted once, and values that only matrix products read stay bfloat16. Under a memory budget the
experts stand in slots of their own memory instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gearshift.backends import Options, Stats, refuse_options
from gearshift.backends.torch_arena import Arena, Scratch
from gearshift.backends.torch_experts import ExpertSlots, open_slots
from gearshift.backends.torch_kernels import KERNELS, Run
from gearshift.errors import BackendError
from gearshift.graph.graph import Array
from gearshift.program import Program, Step, Value

NAME = f"torch {torch.__version__}"
BFLOAT16_FEATURES = ("amx_bf16", "avx512_bf16", "bf16")
"""CPU capabilities, as torch names them, one of which makes bfloat16 products worth while."""

_DTYPES = {"float32": torch.float32, "int64": torch.int64}
_FLOAT32_KERNELS = frozenset({"layer_normalization", "router"})
_NARROW_OUTPUTS = frozenset({"attention", "mlp", "feature_map", "upsample_conv"})
_NARROW_INPUTS = frozenset({("add", 1), ("upsample_conv", 0), ("head", 0)})
"""Kernel and input that take bfloat16 as it is."""


class TorchBackend:
    """The arena and the weights that all programs of one session share."""

    def __init__(self, options: Options) -> None:
        refuse_options("torch", options, ("float32", "bfloat16"))
        if options.precision == "bfloat16" and not _has_bfloat16():
            raise BackendError(
                f"this CPU has no bfloat16 products ({', '.join(BFLOAT16_FEATURES)}): "
                "choose precision float32"
            )
        self.dtype = torch.bfloat16 if options.precision == "bfloat16" else torch.float32
        self.threads = options.threads
        self.arena = Arena()
        self.slots: ExpertSlots | None = None
        self._options = options
        self._weights: dict[str, Tensor] = {}

    def supports(self, program: Program) -> list[str]:
        """What keeps a program from running here: kernels that this backend does not know."""
        unknown = {step.kernel for step in program.steps} - KERNELS.keys()
        return [f"unknown kernel {kernel}" for kernel in sorted(unknown)]

    def compile(self, program: Program) -> TorchProgram:
        if self.slots is None and self._options.memory is not None:
            self.slots = open_slots(program, self.dtype, self._options)
        return TorchProgram(self, program)

    def weight(
        self, name: str, array: Array, dtype: torch.dtype, layout: torch.memory_format
    ) -> Tensor:
        """A weight as its kernels want it, made once; a view of `array` if that is it already."""
        tensor = self._weights.get(name)
        if tensor is None:
            tensor = torch.from_numpy(array).to(dtype, memory_format=layout)
            self._weights[name] = tensor
        return tensor


class TorchProgram:
    """One program, bound: a run copies the image in, calls the steps, copies the output out."""

    def __init__(self, backend: TorchBackend, program: Program) -> None:
        self._backend = backend
        self._program = program
        self._narrow = _narrow_values(program) if backend.dtype == torch.bfloat16 else set()
        self._tensors = {value.name: self._place(value) for value in program.values.values()}
        self._counts: dict[str, list[int]] = {}
        self._expert_bytes: dict[str, int] = {}
        self._dense_bytes = 0
        self._moves = 0
        self._misses = 0
        self._calls = [self._bind(step) for step in program.steps]
        self._marks = [0.0] * (len(self._calls) + 2)
        self._seconds = 0.0

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Float32 (N,3,H,W), writable and C-contiguous -> the output, the caller's own."""
        marks = self._marks
        slots = self._backend.slots
        if slots is not None:
            slots.store.begin(self._program.task_card.name)
        with torch.inference_mode(), _threads(self._backend.threads):
            marks[0] = perf_counter()
            self._tensors[self._program.input].copy_(torch.from_numpy(image))
            marks[1] = perf_counter()
            for number, call in enumerate(self._calls, 2):
                call()
                marks[number] = perf_counter()
            output = self._tensors[self._program.output]
            owned = output.clone(memory_format=torch.contiguous_format)
            self._seconds = perf_counter() - marks[0]
            result: NDArray[np.float32] = owned.numpy()
        if slots is not None:
            self._misses, self._moves = slots.store.misses, slots.store.moves
        return result

    @property
    def stats(self) -> Stats:
        marks = self._marks[1:]
        chosen = {name: sum(n > 0 for n in counts) for name, counts in self._counts.items()}
        sizes = self._expert_bytes
        return Stats(
            NAME,
            self._program.task_card.name,
            self._seconds,
            {
                step.name: after - before
                for step, before, after in zip(self._program.steps, marks, marks[1:], strict=False)
            },
            {name: tuple(counts) for name, counts in self._counts.items()},
            self._dense_bytes + sum(sizes[name] * number for name, number in chosen.items()),
            # What is moved has slots, which are of one size.
            moved_bytes=self._moves * max(sizes.values(), default=0),
            expert_hits=sum(chosen.values()) - self._misses,
            expert_misses=self._misses,
            activation_bytes=self._backend.arena.nbytes,
        )

    def _place(self, value: Value) -> Tensor:
        dtype = self._backend.dtype if value.name in self._narrow else _DTYPES[value.dtype]
        is_map = len(value.shape) == 4 and value.name != self._program.input
        place = self._backend.arena.map if is_map else self._backend.arena.tensor
        return place(value.offset, value.shape, dtype)

    def _weights(self, step: Step) -> list[Tensor]:
        """A step's weights in the precision and layout of their use."""
        tensors = []
        for place, name in enumerate(step.weights):
            # The embedding's table is added to the residual stream, which is float32.
            is_table = step.kernel == "patch_embedding" and place == 1
            exact = is_table or step.kernel in _FLOAT32_KERNELS
            dtype = torch.float32 if exact else self._backend.dtype
            array = self._program.weights[name]
            # torch lays a convolution's weight out like its maps: once here, or in every call.
            is_filter = step.kernel == "upsample_conv" and array.ndim == 4
            layout = torch.channels_last if is_filter else torch.preserve_format
            tensors.append(self._backend.weight(name, array, dtype, layout))
        return tensors

    def _bind(self, step: Step) -> Run:
        values = [self._tensors[name] for name in (*step.inputs, *step.outputs)]
        attributes: dict[str, object] = dict(step.attributes)
        slots = self._backend.slots
        if step.kernel == "expert_mixture" and slots is not None:
            weights = list(chain.from_iterable(slots.tensors))
            attributes["take"] = partial(slots.store.take, step.name)
        else:
            weights = self._weights(step)
        if step.kernel == "expert_mixture":
            counts = [0] * int(step.attributes["experts"])
            attributes["counts"] = self._counts[step.name] = counts
            self._expert_bytes[step.name] = sum(weight.nbytes for weight in weights[:4])
        else:
            self._dense_bytes += sum(weight.nbytes for weight in weights)
        scratch = Scratch(self._backend.arena, self._program.arena_bytes)
        return KERNELS[step.kernel](*values, *weights, **attributes, scratch=scratch)


def _narrow_values(program: Program) -> set[str]:
    """Values that a bfloat16 run may keep in bfloat16: only products and their adds read them."""
    written = {
        name for step in program.steps if step.kernel in _NARROW_OUTPUTS for name in step.outputs
    }
    read_wide = {
        name
        for step in program.steps
        for place, name in enumerate(step.inputs)
        if (step.kernel, place) not in _NARROW_INPUTS
    }
    return written - read_wide - {program.output}


def _has_bfloat16() -> bool:
    # torch 2.10 and later tell; what an older one runs on is not known to be fast.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(feature) for feature in BFLOAT16_FEATURES)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """torch's thread count is the process's: set for the time of a run, then given back."""
    before = torch.get_num_threads()
    if number is None or number == before:
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
