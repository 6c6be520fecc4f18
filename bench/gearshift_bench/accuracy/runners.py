"""Runs whose routing can be seen.

No backend tells where each token went. But a backend's memory can be planned so that a router's
choice is not overwritten by what comes later, and then be read: same calls, same bits, other
places.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from gearshift.backends import Options, choose_backend, load_backend
from gearshift.backends.native_backend import NativeProgram
from gearshift.backends.native_plan import Plan, lower_native
from gearshift.buffers import ALIGNMENT
from gearshift.expert_profile import card_shares
from gearshift.graph import read_artifact
from gearshift.program import Program, Value
from gearshift.session import Session
from gearshift.specialise import specialise
from gearshift.weights import WeightStore
from gearshift_bench.latency.configuration import Configuration

WIDEST = 8
"""Bytes of the widest integer that a choice may be."""
Floats = NDArray[np.float32]
Routes = Mapping[str, NDArray[np.int64]]
"""By router: the chosen experts of every token, (N, T, K)."""


@dataclass(frozen=True)
class Answer:
    """What one run gave."""

    output: Floats
    """(N, C, H, W), or tokens (N, T, D)."""
    routes: Routes | None = None
    """None: this runner cannot see them."""
    loads: Mapping[str, tuple[int, ...]] | None = None
    """By router: tokens of each expert; where there are no routes, if the backend tells."""


class Runs(Protocol):
    """One program, ready to run."""

    def run(self, image: Floats) -> Floats:
        """Normalised (N, 3, H, W) -> the output, the caller's own."""
        ...


class Runner(Protocol):
    """Runs any task of one model in one way."""

    def run(self, images: Floats, task: int) -> Answer:
        """Normalised (N, 3, H, W), and the task's number."""
        ...


def open_runner(model: Path, configuration: Configuration) -> Runner:
    """The runner that sees the most.

    Raises:
        BackendError: the backend does not do what the configuration asks for.
    """
    if configuration.backend == "torch":
        return TorchRecorder(model, configuration)
    if configuration.backend == "native":
        return NativeRecorder(model, configuration)
    if configuration.backend == "triton":
        # Not installed everywhere.
        choose_backend("triton")
        from gearshift_bench.accuracy.triton_runner import TritonRecorder

        return TritonRecorder(model, configuration)
    return SessionRunner(model, configuration)


class SessionRunner:
    """Any backend, through the front door; it may tell how many tokens each expert had."""

    def __init__(self, model: Path, configuration: Configuration) -> None:
        # A session loads its backend at the first run; whether it can is to be known now.
        load_backend(configuration.backend, _options(model, configuration))
        self._session = Session(model, **configuration.options())

    def run(self, images: Floats, task: int) -> Answer:
        name = self._session.tasks[task]
        output = self._session.run_normalised(images, name)
        counts = self._session.stats.tokens_per_expert
        if counts is None:
            return Answer(output)
        batch, _, *size = images.shape
        routers = routers_of(self._session.program(name, batch, *size))
        return Answer(output, loads={routers[node]: counts[node] for node in counts})


class Recorder(ABC):
    """Programs of one backend whose routers' choices stay in memory; one a task and size."""

    def __init__(self, model: Path, configuration: Configuration) -> None:
        self._graph = read_artifact(model)
        self._weights = WeightStore(self._graph.weights)
        self._precision = configuration.precision
        options = replace(_options(model, configuration), expert_share=card_shares(self._graph))
        self._backend: Any = load_backend(configuration.backend, options)
        self._compiled: dict[tuple[int, ...], tuple[Runs, dict[str, Value]]] = {}

    def run(self, images: Floats, task: int) -> Answer:
        batch, _, height, width = images.shape
        key = task, batch, height, width
        if key not in self._compiled:
            self._compiled[key] = self._compile(specialise(self._graph, *key, self._weights))
        compiled, choices = self._compiled[key]
        output = compiled.run(images)
        routes = {router: self._read(compiled, value) for router, value in choices.items()}
        return Answer(output, routes)

    @abstractmethod
    def _compile(self, program: Program) -> tuple[Runs, dict[str, Value]]:
        """The program, ready to run, and by router the value that holds its choice."""

    @abstractmethod
    def _read(self, compiled: Runs, value: Value) -> NDArray[np.int64]:
        """A copy of a choice."""


class TorchRecorder(Recorder):
    """Backend `torch`: the program says where its values are."""

    def _compile(self, program: Program) -> tuple[Runs, dict[str, Value]]:
        names = choice_names(program)
        values, end = set_apart(program.values, names.values(), program.arena_bytes)
        kept = replace(program, values=values, arena_bytes=end)
        return self._backend.compile(kept), {router: values[names[router]] for router in names}

    def _read(self, compiled: Runs, value: Value) -> NDArray[np.int64]:
        tensor = self._backend.arena.tensor(value.offset, value.shape, torch.int64)
        found: NDArray[np.int64] = tensor.numpy().copy()
        return found


class NativeRecorder(Recorder):
    """Backend `native`: its lowering says where the values are."""

    def _compile(self, program: Program) -> tuple[Runs, dict[str, Value]]:
        self._backend.compile(program)  # packs and maps the weights
        names = choice_names(program)
        lowering = lower_native(program, self._precision)
        values, end = set_apart(lowering.values, names.values(), lowering.arena_bytes)
        plan = Plan(program, replace(lowering, values=values, arena_bytes=end), self._precision)
        self._backend.arena.reserve(end)
        choices = {router: values[names[router]] for router in names}
        return NativeProgram(self._backend, program, plan), choices

    def _read(self, compiled: Runs, value: Value) -> NDArray[np.int64]:
        return np.asarray(self._backend.arena.view(value), np.int64)


def _options(model: Path, configuration: Configuration) -> Options:
    return Options(
        model,
        configuration.precision,
        configuration.threads,
        configuration.memory,
        frozenset(configuration.approximate),
    )


def choice_names(program: Program) -> dict[str, str]:
    """By router, the value that holds the chosen experts."""
    return {step.name: step.outputs[0] for step in program.steps if step.kernel == "router"}


def routers_of(program: Program) -> dict[str, str]:
    """By expert mixture, the router that chooses for it."""
    routers = {value: router for router, value in choice_names(program).items()}
    return {
        step.name: routers[step.inputs[1]]
        for step in program.steps
        if step.kernel == "expert_mixture"
    }


def set_apart(
    values: Mapping[str, Value], names: Iterable[str], end: int
) -> tuple[dict[str, Value], int]:
    """Values with `names` moved behind `end`, where nothing overwrites them; and the new end."""
    moved = dict(values)
    for name in names:
        moved[name] = replace(values[name], offset=end)
        end += -(-WIDEST * prod(values[name].shape) // ALIGNMENT) * ALIGNMENT
    return moved, end
