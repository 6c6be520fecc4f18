"""A model that is open and warm, and the runs of its batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gearshift.backends import OWN_PRECISION, Stats
from gearshift.graph.card import TaskCard
from gearshift.scheduler import Key
from gearshift.server.errors import InvalidRequest, NotFound, TooLarge
from gearshift.server.requests import InferRequest, ModelInfo, ModelSpec, ServiceSettings
from gearshift.server.statistics import VersionStatistics
from gearshift.session import Session

WARM_SECONDS = 2.0
"""Where the batches of one task would take longer, no larger ones are tried beforehand."""
LARGEST = 4
"""Times the pixels of the model's own size, that an image may have unless the settings say so."""
TIMED_RUNS = 4
"""Of each batch size, after the first one, which also makes its program; the fastest counts."""
SLOW_SECONDS = 20.0
"""A first run of so long is not repeated."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class WarmRun:
    """What a batch took before the first request."""

    key: Key
    images: int
    seconds: float


@dataclass(frozen=True)
class BatchResult:
    """Of one batch."""

    outputs: list[Floats | Exception]
    """One a request."""
    seconds: float
    stats: Stats | None
    """Of the run; None when it failed."""
    error: Exception | None
    """Why the batch failed as a whole; its requests then ran one by one."""


class ServedModel:
    """One version of a model; its session is run by one thread at a time."""

    def __init__(self, spec: ModelSpec, version: str) -> None:
        """Opens the session; see `gearshift.Session` for the errors."""
        self.spec = spec
        self.version = version
        self.statistics = VersionStatistics(version)
        self._session = Session(
            spec.model,
            spec.backend,
            spec.precision,
            spec.threads,
            spec.memory,
            spec.approximate,
        )
        self.card = self._session.card
        backend = self._session.backend
        first_step = self._session.program(self.card.tasks[0].name).steps[0]
        self.patch_size = int(first_step.attributes["patch_size"])
        self.info = ModelInfo(
            spec.name,
            version,
            "READY",
            card=self.card,
            backend=backend,
            precision=spec.precision or OWN_PRECISION.get(backend, "float32"),
            patch_size=self.patch_size,
        )
        self._tasks = {task.name: task for task in self.card.tasks}
        self._sizes = {(self.card.image_height, self.card.image_width)}

    def warm(self, most_batch: int) -> Iterator[WarmRun]:
        """Run every task at the card's size, in batches of 1, 2, 4, ... images."""
        height, width = self.card.image_height, self.card.image_width
        for task in self._tasks:
            key = Key(self.spec.name, self.version, task, height, width)
            seconds = self._timed_batches(task, most_batch)
            yield from (WarmRun(key, images, least) for images, least in seconds.items())

    def _timed_batches(self, task: str, most_batch: int) -> dict[int, float]:
        """The least seconds that a batch took, by its number of images."""
        shape = 3, self.card.image_height, self.card.image_width
        random = np.random.default_rng(0)
        batches: list[Floats] = []
        least: dict[int, float] = {}
        images, spent = 1, 0.0
        while not batches or (images <= most_batch and spent < WARM_SECONDS):
            batches.append(random.standard_normal((images, *shape), np.float32))
            least[images] = self._seconds(batches[-1], task)
            spent += (1 + TIMED_RUNS) * least[images]
            images *= 2
        # In turns: the sizes are compared with each other, and what disturbs one disturbs all.
        for _ in range(TIMED_RUNS if least[1] < SLOW_SECONDS else 0):
            for batch in batches:
                least[len(batch)] = min(least[len(batch)], self._seconds(batch, task))
        return least

    def warm_switch(self) -> float:
        """Seconds that a run of one image takes longer because another task ran before it: the
        median over the tasks. After `warm`."""
        height, width = self.card.image_height, self.card.image_width
        image = np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32)
        extra: list[float] = []
        begun = time.perf_counter()
        for task in TIMED_RUNS * list(self._tasks):
            if len(self._tasks) == 1 or time.perf_counter() - begun >= WARM_SECONDS:
                break
            switched = self._seconds(image, task)
            extra.append(switched - self._seconds(image, task))
        return float(np.median(extra)) if extra else 0.0

    def _seconds(self, image: Floats, task: str) -> float:
        begun = time.perf_counter()
        self._session.run_checked(image, task)
        return time.perf_counter() - begun

    def task(self, name: str | None) -> TaskCard:
        """The task that a request names.

        Raises:
            NotFound: there is no such task.
            InvalidRequest: none is named, and there are several.
        """
        choice = ", ".join(self._tasks)
        if name is None:
            if len(self._tasks) > 1:
                raise InvalidRequest(f"name a task: model {self.spec.name} has {choice}")
            name = next(iter(self._tasks))
        if name not in self._tasks:
            raise NotFound(
                f"model {self.spec.name} has no task {name[:80]!r}: choose from {choice}"
            )
        return self._tasks[name]

    def check(self, request: InferRequest, settings: ServiceSettings) -> None:
        """Whether image, priority and timeout are ones that can be run, if `check_finite` finds
        nothing.

        Raises:
            InvalidRequest: they are not.
            TooLarge: too many images or pixels.
        """
        _check_shape(request.image, self.patch_size, settings)
        levels = settings.scheduler.priority_levels
        if not 0 <= request.priority <= levels:
            raise InvalidRequest(
                f"priority {request.priority}: give 1 (urgent) to {levels}, or 0 for the default"
            )
        # Written so that NaN is refused as well.
        if request.timeout is not None and not 0 < request.timeout < float("inf"):
            raise InvalidRequest(f"timeout {request.timeout}: give more than 0 seconds, or none")
        _, _, height, width = request.image.shape
        self._check_size(height, width, settings)

    def _check_size(self, height: int, width: int, settings: ServiceSettings) -> None:
        own = self.card.image_height * self.card.image_width
        most = LARGEST * own if settings.most_pixels is None else settings.most_pixels
        if height * width > most:
            raise TooLarge(
                f"the image is {height}x{width} = {height * width:,} pixels, over the limit of "
                f"{most:,}: resize it, best to {self.card.image_height}x{self.card.image_width}, "
                "or start the server with a larger --max-tensor-pixels"
            )
        if (height, width) in self._sizes:
            return
        if len(self._sizes) > settings.most_sizes:
            sizes = ", ".join(f"{height}x{width}" for height, width in sorted(self._sizes))
            raise TooLarge(
                f"an image of {height}x{width} would be one more size than are served: resize it "
                f"to one of {sizes}"
            )
        self._sizes.add((height, width))

    def run(self, task: str, images: Sequence[Floats]) -> BatchResult:
        """The batch of one array or more, each checked, and finite; raises nothing.

        When a batch of several fails, each of them runs alone, so that none suffers from another.
        """
        begun = time.perf_counter()
        outputs: list[Floats | Exception]
        stats, error = None, None
        try:
            together = images[0] if len(images) == 1 else np.concatenate(images)
            output = self._session.run_checked(together, task)
            stats = self._session.stats
            if len(images) == 1:
                outputs = [output]
            else:
                ends = np.cumsum([len(image) for image in images])[:-1]
                outputs = list(np.split(output, ends))
        except Exception as caught:
            error = caught
            outputs = [caught] if len(images) == 1 else [self._alone(task, one) for one in images]
        return BatchResult(outputs, time.perf_counter() - begun, stats, error)

    def _alone(self, task: str, image: Floats) -> Floats | Exception:
        try:
            return self._session.run_checked(image, task)
        except Exception as error:
            return error


def check_finite(image: Floats) -> None:
    """Raises InvalidRequest."""
    if not np.isfinite(image).all():
        raise InvalidRequest("the image holds NaN or infinity")


def _check_shape(image: Floats, patch_size: int, settings: ServiceSettings) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.float32 or image.ndim != 4:
        kind = getattr(image, "dtype", type(image).__name__)
        shape = getattr(image, "shape", "")
        raise InvalidRequest(f"the image is {kind} {shape}: give float32 (N, 3, H, W), normalised")
    number, channels, height, width = image.shape
    if channels != 3 or number < 1:
        raise InvalidRequest(f"the image has shape {image.shape}: give (N, 3, H, W) with N > 0")
    most = settings.scheduler.most_batch
    if number > most:
        raise TooLarge(
            f"{number} images in one request, over the limit of {most}: send fewer at a time, "
            "or start the server with a larger --max-batch"
        )
    if height < patch_size or width < patch_size or height % patch_size or width % patch_size:
        raise InvalidRequest(
            f"the image is {height}x{width} (H x W): make both multiples of the patch size "
            f"{patch_size}"
        )
