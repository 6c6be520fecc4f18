"""What the service is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gearshift.backends import Approximation, Precision
from gearshift.errors import InputError
from gearshift.graph.card import Card, TaskCard
from gearshift.scheduler import SchedulerSettings

ModelState = Literal["LOADING", "READY", "UNAVAILABLE"]
"""As the repository index of the Open Inference Protocol has them."""


@dataclass(frozen=True)
class ModelSpec:
    """A model to serve, and how its session is opened: see `gearshift.Session`."""

    name: str
    """By which clients ask for it."""
    model: str | Path
    backend: str = "auto"
    precision: Precision | None = None
    threads: int | None = None
    memory: str | int | None = None
    approximate: tuple[Approximation, ...] = ()


@dataclass(frozen=True)
class ServiceSettings:
    """Of one service.

    Raises:
        InputError: a number that means nothing.
    """

    scheduler: SchedulerSettings = field(default_factory=SchedulerSettings)
    """Bounds of the queues; `scheduler.most_batch` is also the most images of one request."""
    most_pixels: int | None = None
    """Of one image of a request: nothing else can run while it is computed. None: four times as
    many as the model's own size has."""
    most_sizes: int = 8
    """Image sizes of one model beside its own, first come: each keeps some memory."""
    default_timeout: float | None = None
    """Seconds that a request may wait which does not say so itself; None: as long as it takes."""

    def __post_init__(self) -> None:
        if self.most_pixels is not None and self.most_pixels < 1:
            raise InputError(f"most_pixels {self.most_pixels}: give at least 1")
        if self.most_sizes < 0:
            raise InputError(f"most_sizes {self.most_sizes}: give 0 or more")
        if self.default_timeout is not None and not self.default_timeout > 0:
            raise InputError(f"default_timeout {self.default_timeout}: give more than 0 seconds")


@dataclass(frozen=True)
class InferRequest:
    """One task of one image or a few."""

    model: str
    task: str | None
    """None: the model's only one."""
    image: NDArray[np.float32]
    """(N, 3, H, W), normalised as the card says. Not to be changed until the answer is there."""
    version: str | None = None
    """None: the one that is served."""
    priority: int = 0
    """1 is the most urgent level, 0 stands for the default one (as Triton has it)."""
    timeout: float | None = None
    """Seconds from now after which it is not begun any more."""
    id: str = ""
    """For logs and traces."""


@dataclass(frozen=True)
class InferAnswer:
    """What a request got, and what it took. Times in seconds."""

    output: NDArray[np.float32]
    """(N, C, H, W), or tokens (N, T, D): the raw output, which `gearshift.results` reads."""
    model: str
    version: str
    task: TaskCard
    queue_seconds: float
    """From its arrival to the start of its batch."""
    compute_seconds: float
    """Of the whole batch."""
    batch: int
    """Images in the batch."""
    experts: Mapping[str, tuple[int, ...]] | None
    """Tokens that each expert had in the batch, by mixture; None when the backend cannot tell."""
    switched: bool
    """Another task ran before."""


@dataclass(frozen=True)
class ModelInfo:
    """A model as the service knows it."""

    name: str
    version: str | None
    """`1`, counted up by every reload; None when nothing is served."""
    state: ModelState
    reason: str = ""
    """Why it is not READY, or why the last reload failed."""
    card: Card | None = None
    backend: str | None = None
    precision: str | None = None
    patch_size: int | None = None
    """Image height and width are multiples of it."""
