"""What runs programs: the interface, and how a backend is found by name."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from gearshift.entries import find_entries
from gearshift.errors import BackendError
from gearshift.expert_profile import Shares
from gearshift.program import Program
from gearshift_kernels.native.library import why_slow

GROUP = "gearshift.backends"
"""Entry points of this group are called with `Options` and return a `Backend`."""
VARIABLE = "GEARSHIFT_BACKEND"
"""Environment variable: the backend that `auto` means."""
AUTOMATIC = ("native", "torch", "onnxruntime")
"""What `auto` means otherwise: the first that is installed, native only where it is the fastest."""
TAKES_A_BUDGET = ("native", "torch", "triton")
"""Backends that keep only as many experts in fast memory as they are told to."""
INSTALLED_BY = {"torch": "torch", "onnxruntime": "onnxruntime", "triton": "'gearshift[gpu]'"}
"""What pip installs to bring the package of a backend, which has the backend's name."""

Precision = Literal["float32", "float16", "bfloat16", "int8", "float8"]
"""Of the operands of matrix products. In int8 and float8 (e4m3) the weights are kept in one byte,
with a scale for every output channel; triton computes with them in bfloat16, native rounds every
row of the other operand to int8 as well, on the accelerator every operand was quantised before."""

OWN_PRECISION: Mapping[str, Precision] = {
    "fpga-sim": "int8",
    "rtl-sim": "int8",
    "zcu104": "int8",
}
"""Of backends with one arithmetic: what they run in when no precision is asked for. The others
have float32."""

Approximation = Literal["gelu", "softmax"]
"""What may be computed approximately when asked: see `gearshift_kernels.approximations`."""


@dataclass(frozen=True)
class Options:
    """How a backend is to run the programs of one session."""

    folder: Path
    """The artifact."""
    precision: Precision = "float32"
    """Of the matrix products; the router, the norms and the residual stream stay float32."""
    threads: int | None = None
    """Threads of one operator, or None for the backend's own choice."""
    memory: int | None = None
    """Bytes of fast memory for the experts' weights, or None to keep all of them there."""
    approximate: frozenset[Approximation] = frozenset()
    expert_share: Shares = field(default_factory=dict)
    """How often each task chooses which expert, as far as the model's card says."""


@dataclass(frozen=True)
class Stats:
    """What the last run did. None: this backend cannot tell."""

    backend: str
    """Name and version."""
    task: str
    seconds: float
    seconds_per_node: Mapping[str, float] | None = None
    tokens_per_expert: Mapping[str, tuple[int, ...]] | None = None
    """By node: how many tokens each of its experts had. Its sum is tokens x top_k."""
    weight_bytes: int | None = None
    """Bytes of weights read, in the precision of the run: of the experts only the chosen ones."""
    moved_bytes: int | None = None
    """Bytes of experts' weights that the run moved into fast memory."""
    expert_hits: int | None = None
    """Chosen experts that were there, or on their way, when their mixture began."""
    expert_misses: int | None = None
    """Chosen experts that were not. Hits and misses together are the chosen experts."""
    activation_bytes: int | None = None
    """Memory of the backend's arena: the largest sum of activations alive at a time."""
    cycles: Mapping[str, int] | None = None
    """Clock cycles of a simulated accelerator, by what they went to; `seconds` are the simulator's.
    """
    busy_cycles: int | None = None
    """Of those, cycles in which its array multiplied."""
    clock_mhz: float | None = None
    """The clock that these cycles are assumed to have."""


class Compiled(Protocol):
    """One program, ready to run."""

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised image (N,3,H,W), C-contiguous -> the program's output, the caller's own."""
        ...

    @property
    def stats(self) -> Stats:
        """Of the last run; only after one."""
        ...


class Backend(Protocol):
    """Runs all programs of one session, which share its weights and its memory.

    Not thread-safe: a session lets one thread in at a time.
    """

    def supports(self, program: Program) -> list[str]:
        """Why this program cannot run here; empty when it can."""
        ...

    def compile(self, program: Program) -> Compiled:
        """Bind a supported program to weights and memory."""
        ...


def choose_backend(name: str = "auto") -> str:
    """The name of the backend to load: `auto` asks the environment, then what is installed.

    Imports no backend.

    Raises:
        BackendError: unknown (the message lists the known names), or its package is missing.
    """
    asked = os.environ.get(VARIABLE) if name == "auto" else None
    if asked:
        name = asked
    if name == "auto":
        name = _first_installed()
    try:
        _entry(name)
    except BackendError as error:
        raise BackendError(f"{VARIABLE}: {error}" if asked else str(error)) from None
    if name in INSTALLED_BY and find_spec(name) is None:
        raise BackendError(_not_installed(name, name))
    return name


def load_backend(name: str, options: Options) -> Backend:
    """Open the backend `name` (not `auto`: see `choose_backend`) for one session.

    Raises:
        BackendError: unknown, not installed, or it cannot work with these options.
    """
    entry = _entry(name)
    try:
        open_backend = cast(Callable[[Options], Backend], entry.load())
    except ModuleNotFoundError as error:
        raise BackendError(_not_installed(name, str(error.name))) from error
    return open_backend(options)


def refuse_options(
    backend: str, options: Options, precisions: tuple[Precision, ...] = ("float32",)
) -> None:
    """For a backend without approximations; only one of `TAKES_A_BUDGET` takes a memory budget.

    Raises:
        BackendError: an option asks for what this backend does not do.
    """
    if options.precision not in precisions:
        known = " or ".join(precisions)
        raise BackendError(
            f"backend {backend} runs {known} only, not {options.precision}: choose another "
            "backend or precision"
        )
    if options.memory is not None and backend not in TAKES_A_BUDGET:
        raise BackendError(
            f"backend {backend} keeps all experts in memory and takes no budget: "
            f"choose backend {', '.join(TAKES_A_BUDGET[:-1])} or {TAKES_A_BUDGET[-1]}, "
            "or leave memory out"
        )
    if options.approximate:
        raise BackendError(
            f"backend {backend} approximates nothing, but was asked for "
            f"{', '.join(sorted(options.approximate))}: choose backend triton or leave it out"
        )


def _first_installed() -> str:
    reason = why_slow()
    if reason is None:
        return "native"
    for name in AUTOMATIC[1:]:
        if find_spec(name) is not None:
            _tell_once(f"backend native is not chosen, since {reason}: running on {name}")
            return name
    raise BackendError(
        f"no backend is installed: pip install {' or '.join(AUTOMATIC[1:])}; native is not "
        f"chosen, since {reason}"
    )


@cache
def _tell_once(message: str) -> None:
    logging.getLogger("gearshift").warning(message)


def _entry(name: str) -> EntryPoint:
    known = find_entries(GROUP)
    if name not in known:
        names = ", ".join(("auto", *sorted(known)))
        raise BackendError(f"unknown backend {name!r}: choose from {names}")
    return known[name]


def _not_installed(name: str, package: str) -> str:
    remedy = INSTALLED_BY.get(name, package)
    return f"backend {name} needs the package {package}, which is missing: pip install {remedy}"
