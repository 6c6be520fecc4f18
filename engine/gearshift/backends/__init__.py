"""What runs programs: the interface, and how a backend is found by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from gearshift.errors import BackendError
from gearshift.program import Program

GROUP = "gearshift.backends"
"""Entry points of this group are called with `Options` and return a `Backend`."""
VARIABLE = "GEARSHIFT_BACKEND"
"""Environment variable: the backend that `auto` means."""
AUTOMATIC = ("torch", "onnxruntime")
"""What `auto` means otherwise: the first of these whose package is installed."""
INSTALLED_BY = {"torch": "torch", "onnxruntime": "onnxruntime", "triton": "'gearshift[gpu]'"}
"""What pip installs to bring the package of a backend, which has the backend's name."""

Precision = Literal["float32", "float16", "bfloat16", "int8", "float8"]
"""Of the operands of matrix products. In int8 and float8 (e4m3) it is the weights that are kept in
one byte, with a scale for every output channel; the products then run in bfloat16."""

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
    activation_bytes: int | None = None
    """Memory of the backend's arena: the largest sum of activations alive at a time."""


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
    """For a backend without a memory budget and without approximations.

    Raises:
        BackendError: an option asks for what this backend does not do.
    """
    if options.precision not in precisions:
        known = " or ".join(precisions)
        raise BackendError(
            f"backend {backend} runs {known} only, not {options.precision}: choose another "
            "backend or precision"
        )
    if options.memory is not None:
        raise BackendError(
            f"backend {backend} keeps all experts in memory and takes no budget: "
            "choose backend triton or leave memory out"
        )
    if options.approximate:
        raise BackendError(
            f"backend {backend} approximates nothing, but was asked for "
            f"{', '.join(sorted(options.approximate))}: choose backend triton or leave it out"
        )


def _first_installed() -> str:
    for name in AUTOMATIC:
        if find_spec(name) is not None:
            return name
    raise BackendError(f"no backend is installed: pip install {AUTOMATIC[0]} or {AUTOMATIC[1]}")


def _entry(name: str) -> EntryPoint:
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in known:
        names = ", ".join(("auto", *sorted(known)))
        raise BackendError(f"unknown backend {name!r}: choose from {names}")
    return known[name]


def _not_installed(name: str, package: str) -> str:
    remedy = INSTALLED_BY.get(name, package)
    return f"backend {name} needs the package {package}, which is missing: pip install {remedy}"
