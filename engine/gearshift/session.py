"""The front door: open a model, run one task of it on a picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from gearshift.backends import (
    OWN_PRECISION,
    Approximation,
    Backend,
    Compiled,
    Options,
    Precision,
    Stats,
    choose_backend,
    load_backend,
)
from gearshift.errors import BackendError, InputError
from gearshift.expert_profile import card_shares
from gearshift.experts import parse_memory
from gearshift.graph import read_artifact, verify_artifact
from gearshift.graph.card import Card
from gearshift.graph.graph import Graph
from gearshift.models import find_model
from gearshift.pictures import Picture, load_pictures
from gearshift.program import Program
from gearshift.results import Result, make_result
from gearshift.specialise import specialise, task_index
from gearshift.weights import WeightStore

MOST_THREADS = 1024
"""Of one operator; a library that cannot have as many as it is told to ends the process."""

MOST_PROGRAMS = 64
"""Kept by a session, one a task and size; beyond that, the least recently used goes."""


class Session:
    """One model, any of its tasks, one at a time.

    Opening maps the model's file and reads no weights. The first run checks the weights against
    the card's hash (remembered between processes) and loads the backend; the first run of a task
    at a size makes its program; every later one only walks it, whatever task ran in between.
    Safe to share between threads: runs take turns.

    Args:
        model: a folder `NAME.gs`, or a known name such as `demo`.
        backend: `native`, `torch`, `onnxruntime`, `triton`, `fpga-sim`, `rtl-sim`, `zcu104`,
            another one, or `auto`: what the environment variable GEARSHIFT_BACKEND says, else
            native where its kernels were compiled and the CPU has AVX2, else torch if installed,
            else onnxruntime.
        precision: of the matrix products: `float32`, and where backend and hardware have it
            `float16`, `bfloat16`, `int8` or `float8`. None is the backend's own: float32, but int8
            on the accelerator (`fpga-sim`, `rtl-sim`, `zcu104`), which has no other.
        threads: threads of one operator for the time of a run; None leaves the backend's setting.
        memory: fast memory for the experts' weights, as bytes or such as `"64MB"`, at least two
            experts; those that do not fit are moved in while others compute, which ones being
            learnt from the runs. Results are the same. None keeps all of them there.
        approximate: of `gelu` and `softmax`, what may be computed approximately.

    Raises:
        ArtifactError: no such model, or a damaged one (on opening, or at the first run when it
            is the weights that are damaged).
        BackendError: the backend is unknown, not installed, or lacks the precision.
        InputError: an option that means nothing.
    """

    def __init__(
        self,
        model: str | Path,
        backend: str = "auto",
        precision: Precision | None = None,
        threads: int | None = None,
        memory: str | int | None = None,
        approximate: Iterable[Approximation] = (),
    ) -> None:
        if precision is not None and precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise InputError(f"precision {precision!r} is not known: choose from {known}")
        if threads is not None and not (isinstance(threads, int) and 1 <= threads <= MOST_THREADS):
            raise InputError(
                f"threads {threads!r}: give at least 1, at most {MOST_THREADS}, or None"
            )
        budget = None if memory is None else parse_memory(memory)
        approximations = frozenset(approximate)
        if unknown := approximations - set(get_args(Approximation)):
            known = " and ".join(get_args(Approximation))
            raise InputError(f"nothing approximates {sorted(unknown)[0]!r}: {known} are known")
        # The backend opens files at the first run, when the process may stand in another folder.
        self.model = find_model(model).absolute()
        self.backend = choose_backend(backend)
        self._graph: Graph = read_artifact(self.model)
        precision = precision or OWN_PRECISION.get(self.backend, "float32")
        shares = card_shares(self._graph)
        self._options = Options(self.model, precision, threads, budget, approximations, shares)
        self._weights = WeightStore(self._graph.weights)
        self._loaded: Backend | None = None
        self._compiled: dict[tuple[int, int, int, int], Compiled] = {}
        self._stats: Stats | None = None
        self._lock = Lock()

    @property
    def card(self) -> Card:
        """What the model says about itself: tasks, labels, pre-processing, metrics."""
        return self._graph.card

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks' names, in the card's order."""
        return tuple(task.name for task in self.card.tasks)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width to which pictures are resized: the size of the training images."""
        return self.card.image_height, self.card.image_width

    @property
    def stats(self) -> Stats:
        """What the last run did.

        Raises:
            InputError: nothing has run yet.
        """
        if self._stats is None:
            raise InputError("stats are of the last run, and nothing has run yet")
        return self._stats

    def run(self, image: Picture, task: str | None = None) -> Result:
        """One task of one picture, or of a batch; see `gearshift.pictures` for what is taken.

        Args:
            image: a PIL picture or a file's path, resized to `image_size`; or a numpy array or
                torch tensor, (H,W,3), (3,H,W) or a batch of them, taken at its size.
            task: its name; not needed when the model has one task only.

        Raises:
            InputError: an image that cannot be run, or an unknown task.
        """
        index = self._task(task)
        normalised = load_pictures(image, self.card)
        return make_result(self._run(normalised, index), self.card.tasks[index])

    def run_normalised(
        self, image: NDArray[np.float32], task: str | None = None
    ) -> NDArray[np.float32]:
        """The raw output, the caller's own, for float32 (N,3,H,W) normalised as the card says.

        Raises:
            InputError: another shape or dtype, an empty batch, NaN, or an unknown task.
        """
        index = self._task(task)
        if not isinstance(image, np.ndarray) or image.dtype != np.float32 or image.ndim != 4:
            kind = getattr(image, "dtype", type(image).__name__)
            raise InputError(
                f"normalised image is {kind} {getattr(image, 'shape', '')}: "
                "give a float32 numpy array (N, 3, H, W)"
            )
        if image.shape[1] != 3:
            raise InputError(f"normalised image {image.shape} has no 3 channels on its second axis")
        if not np.isfinite(image).all():
            raise InputError("normalised image holds NaN or infinity")
        return self._run(image, index)

    def run_checked(self, image: NDArray[np.float32], task: str) -> NDArray[np.float32]:
        """`run_normalised` for a caller that has made sure of the image itself: float32 (N,3,H,W),
        finite.

        Raises:
            InputError: a size that cannot be run, or an unknown task.
        """
        return self._run(image, self._task(task))

    def program(
        self,
        task: str | None = None,
        batch: int = 1,
        height: int | None = None,
        width: int | None = None,
    ) -> Program:
        """What a run of this task at this size computes, step by step; reads no weights."""
        with self._lock:
            index = self._task(task)
            return specialise(self._graph, index, batch, height, width, self._weights)

    def _task(self, task: str | None) -> int:
        if task is None and len(self.tasks) > 1:
            raise InputError(f"name a task: {self.card.name} has {', '.join(self.tasks)}")
        return task_index(self._graph, 0 if task is None else task)

    def _run(self, image: NDArray[np.float32], task: int) -> NDArray[np.float32]:
        # torch wants writable memory even where it only reads, and all backends want C order.
        if not image.flags.carray:
            image = np.require(image, requirements=["C", "W"])
        batch, _, height, width = image.shape
        with self._lock:
            key = task, batch, height, width
            compiled = self._compiled.pop(key) if key in self._compiled else self._compile(key)
            # Behind all others: the first is the one to go.
            self._compiled[key] = compiled
            output = compiled.run(image)
            self._stats = compiled.stats
        return output

    def _compile(self, key: tuple[int, int, int, int]) -> Compiled:
        program = specialise(self._graph, *key, weights=self._weights)
        if self._loaded is None:
            verify_artifact(self.model)
            self._loaded = load_backend(self.backend, self._options)
        if reasons := self._loaded.supports(program):
            raise BackendError(
                f"backend {self.backend} cannot run task {program.task_card.name}: "
                + "; ".join(reasons)
            )
        if len(self._compiled) == MOST_PROGRAMS:
            del self._compiled[next(iter(self._compiled))]
        return self._loaded.compile(program)
