"""What the accelerator's integers cost in accuracy, against float32, on rooms never seen before.

The integers are computed by `gearshift_hls.quantise.emulate`, which is bit for bit the golden
model. Tokens are compared with routing fixed to float32's; the figures of the tasks are those of
the accelerator as it is, with its own routing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log10

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from gearshift.graph.card import Card
from gearshift.graph.graph import Graph
from gearshift.pictures import load_pictures
from gearshift.specialise import specialise
from gearshift_bench.accuracy.rooms import batches, does_rooms, predict, true_answers
from gearshift_bench.accuracy.rooms import figures as rooms_figures
from gearshift_export.demo.evaluate import METRIC_NAMES
from gearshift_export.demo.scenes import Scene
from gearshift_hls.build import Build
from gearshift_hls.host import pack_patches
from gearshift_hls.operations import Experts, Linear, Quantised
from gearshift_hls.quantise import emulate, reference
from gearshift_hls.quantise.layers import Model, read_model
from gearshift_hls.quantise.track import RESIDUAL


@dataclass(frozen=True)
class TaskAccuracy:
    """One task over all rooms."""

    task: str
    tokens_db: float
    """Signal-to-noise of the backbone's tokens against float32, routing fixed."""
    alike: dict[str, float]
    """By router, the share of tokens that the accelerator sends to the experts of float32."""
    metric: str = ""
    float32: float = float("nan")
    int8: float = float("nan")
    """Only for models that do the rooms' tasks."""


def measure(
    graph: Graph, quantised: Sequence[Quantised], build: Build, rooms: Sequence[Scene]
) -> list[TaskAccuracy]:
    """All tasks of a model on the rooms."""
    card = graph.card
    pictures = np.stack([room.image for room in rooms])
    runs = []
    for number, task in enumerate(quantised):
        model = read_model(specialise(graph, number, 1, task.height, task.width))
        runs.append(_Comparison(card, build, model, task))
        runs[-1].run(pictures)
    figures: dict[str, tuple[float, float]] = {}
    if does_rooms(card):
        truth = true_answers(rooms)
        float32, int8 = (
            rooms_figures({run.name: run.results[which] for run in runs}, truth)
            for which in ("float32", "int8")
        )
        figures = {name: (float32[name], int8[name]) for name in float32}
    return [
        TaskAccuracy(
            run.name,
            run.tokens_db,
            run.alike,
            *((METRIC_NAMES[run.name], *figures[run.name]) if figures else ()),
        )
        for run in runs
    ]


class _Comparison:
    """Both runs of one task, a batch at a time."""

    def __init__(self, card: Card, build: Build, model: Model, quantised: Quantised) -> None:
        self.name = quantised.task_card.name
        self.results: dict[str, list[NDArray[np.generic]]] = {"float32": [], "int8": []}
        """Predictions, batch by batch."""
        self._card = card
        self._build = build
        self._model = model
        self._quantised = quantised
        self._signal = self._noise = 0.0
        self._alike: dict[str, list[float]] = {}

    @property
    def tokens_db(self) -> float:
        return 10 * log10(self._signal / self._noise)

    @property
    def alike(self) -> dict[str, float]:
        return {name: float(np.mean(shares)) for name, shares in self._alike.items()}

    def run(self, pictures: NDArray[np.uint8]) -> None:
        """uint8 (N, H, W, 3)."""
        parts = [*batches(pictures)]
        with torch.inference_mode():
            for batch in tqdm(parts, desc=self.name, unit="batch", delay=2, leave=False):
                self._batch(load_pictures(batch, self._card))

    def _batch(self, pictures: NDArray[np.float32]) -> None:
        given = self._quantised.input
        shape = self._quantised.tensors[given.tensor].shape
        patches = np.stack([pack_patches(picture, given, *shape) for picture in pictures])
        tokens, chosen = reference.encode(self._model, torch.from_numpy(pictures))
        fixed = {f"{name}.queues": experts for name, experts in chosen.items()}
        held = emulate.run(self._build, _backbone(self._quantised), patches, fixed)
        self._compare(tokens, held.tensors[RESIDUAL])
        free = emulate.run(self._build, self._quantised, patches)
        for name, experts in chosen.items():
            same = free.queues[f"{name}.queues"][0].sort().values == experts.sort().values
            self._alike.setdefault(name, []).append(float(same.all(-1).double().mean()))
        if does_rooms(self._card):
            self._keep(tokens, free)

    def _compare(self, tokens: Tensor, residual: Tensor) -> None:
        """Adds to the signal and to the noise."""
        exact = tokens.double()
        noise = residual[..., : exact.shape[-1]].double() * 2.0**-16 - exact
        self._signal += float((exact**2).sum())
        self._noise += float((noise**2).sum())

    def _keep(self, tokens: Tensor, free: emulate.Emulation) -> None:
        """Both results, as predictions."""
        output, patch = self._quantised.output, self._quantised.input.patch_size
        grid = self._quantised.height // patch, self._quantised.width // patch
        assert self._model.decoder is not None
        float32 = reference.decode(self._model.decoder, tokens, grid)
        int8 = free.tensors[output.tensor][..., : output.channels] * output.scale
        threshold = self._quantised.task_card.threshold
        for which, maps in (("float32", float32), ("int8", int8)):
            self.results[which].append(predict(self.name, maps.float().numpy(), threshold))


def _backbone(quantised: Quantised) -> Quantised:
    """The operations up to the last that changes the residual stream."""
    last = max(
        number
        for number, operation in enumerate(quantised.operations)
        if isinstance(operation, Linear | Experts) and operation.y == RESIDUAL
    )
    return replace(quantised, operations=quantised.operations[: last + 1])
