"""Results: a task's raw output, what it means, and a picture of it."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gearshift.errors import InputError
from gearshift.graph.card import TaskCard, TaskKind

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

RAMP = ((8, 8, 38), (66, 18, 108), (146, 36, 110), (220, 78, 66), (250, 158, 38), (253, 246, 178))
"""sRGB anchors of the depth colours, far to near: each is lighter than the one before."""


@dataclass(frozen=True)
class Result:
    """One run's output. Every array has a batch axis, also when one picture was given."""

    raw: Floats
    """The model's output as it is: (N,C,H,W), or tokens (N,T,D)."""
    task: TaskCard

    def picture(self, index: int = 0) -> Image.Image:
        """Image number `index` of the batch as an RGB picture.

        Raises:
            InputError: no such image in the batch, or the result cannot be shown.
        """
        if not 0 <= index < len(self.raw):
            raise InputError(f"no image {index} in a batch of {len(self.raw)}")
        return Image.fromarray(self._colours(index))

    def _colours(self, index: int) -> Bytes:
        """uint8 (H,W,3)."""
        raise InputError(f"the {self.task.kind} of task {self.task.name} have no picture")


class TokensResult(Result):
    """The encoder's tokens, of a model without decoders: no picture."""

    @property
    def tokens(self) -> Floats:
        """(N,T,D), the class token first."""
        return self.raw


class SegmentationResult(Result):
    """A label a pixel."""

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,H,W): the channel with the largest logit, equal ones to the lower."""
        return np.asarray(self.raw.argmax(axis=1), np.int64)

    @property
    def label_names(self) -> tuple[str, ...]:
        """A name a label; `label 0` and so on when the card has none."""
        return self.task.labels or tuple(f"label {i}" for i in range(self.raw.shape[1]))

    @property
    def colours(self) -> Bytes:
        """(C,3): sRGB a label, from the card or a default palette."""
        return np.array(self.task.colours or default_palette(self.raw.shape[1]), np.uint8)

    def _colours(self, index: int) -> Bytes:
        return np.asarray(self.colours[self.labels[index]])


class DepthResult(Result):
    """A distance a pixel."""

    @property
    def values(self) -> Floats:
        """(N,H,W), in the card's unit if it has one."""
        return self.raw[:, 0]

    @property
    def metres(self) -> Floats:
        """(N,H,W) in metres.

        Raises:
            InputError: the model's card does not say that depths are metres.
        """
        if self.task.unit != "metre":
            raise InputError(
                f"the card gives task {self.task.name} the unit {self.task.unit or 'unknown'}, "
                "not metre: use .values"
            )
        return self.values

    def scale(self, index: int = 0) -> tuple[float, float]:
        """The depths that the picture shows brightest and darkest: nearest and farthest pixel."""
        return float(self.values[index].min()), float(self.values[index].max())

    def picture(self, index: int = 0) -> Image.Image:
        """Near is bright; the scale stands in the picture's `info["scale"]`."""
        picture = super().picture(index)
        near, far = self.scale(index)
        picture.info["scale"] = f"{near:.3g} (bright) to {far:.3g} (dark) {self.task.unit}".strip()
        return picture

    def _colours(self, index: int) -> Bytes:
        near, far = self.scale(index)
        nearness = (far - self.values[index]) / max(far - near, np.finfo(np.float32).tiny)
        return ramp_colours(nearness)


class NormalsResult(Result):
    """A direction a pixel."""

    @cached_property
    def vectors(self) -> Floats:
        """(N,3,H,W), each of length one; a zero vector stays zero."""
        length = np.sqrt(np.square(self.raw).sum(axis=1, keepdims=True))
        return np.asarray(self.raw / np.maximum(length, np.finfo(np.float32).tiny))

    def _colours(self, index: int) -> Bytes:
        return _to_bytes(np.moveaxis(self.vectors[index] + 1, 0, -1) / 2)


class ProbabilityResult(Result):
    """A yes or no a pixel: edges, saliency."""

    @cached_property
    def probability(self) -> Floats:
        """(N,H,W) in 0..1: the logit's sigmoid, by tanh so that nothing overflows."""
        half = np.float32(0.5)
        return np.asarray(half * (1 + np.tanh(half * self.raw[:, 0])))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(N,H,W): the probability reaches the card's threshold."""
        return self.probability >= self.task.threshold

    def _colours(self, index: int) -> Bytes:
        return np.repeat(_to_bytes(self.probability[index])[..., None], 3, axis=-1)


_RESULTS: dict[TaskKind, type[Result]] = {
    TaskKind.SEGMENTATION: SegmentationResult,
    TaskKind.DEPTH: DepthResult,
    TaskKind.NORMALS: NormalsResult,
    TaskKind.PROBABILITY: ProbabilityResult,
    TaskKind.TOKENS: TokensResult,
}


def make_result(raw: Floats, task: TaskCard) -> Result:
    """The result of the task's kind."""
    return _RESULTS[task.kind](raw, task)


def ramp_colours(brightness: Floats) -> Bytes:
    """0..1 (H,W) -> sRGB (H,W,3), linear between the anchors of RAMP."""
    anchors = np.array(RAMP, np.float32)
    places = np.linspace(0, 1, len(anchors))
    channels = [np.interp(brightness, places, channel) for channel in anchors.T]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def default_palette(labels: int) -> tuple[tuple[int, int, int], ...]:
    """Colours for labels without any: hues a golden ratio apart, in four alternating tones."""
    tones = ((0.55, 0.95), (0.85, 0.6), (0.35, 0.75), (0.9, 0.9))
    colours = []
    for label in range(labels):
        saturation, value = tones[label % len(tones)]
        rgb = colorsys.hsv_to_rgb(label * 0.618034 % 1, saturation, value)
        colours.append((round(255 * rgb[0]), round(255 * rgb[1]), round(255 * rgb[2])))
    return tuple(colours)


def _to_bytes(unit: Floats) -> Bytes:
    return (unit.clip(0, 1) * 255).round().astype(np.uint8)
