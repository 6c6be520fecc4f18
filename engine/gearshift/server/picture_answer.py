"""What `/v1` answers: a result as a PNG, or as the JSON that people and the playground read."""

from __future__ import annotations

import base64
import io
import json
import math
from typing import Any

from gearshift import presentation
from gearshift.graph.card import TaskKind
from gearshift.results import RAMP, DepthResult, ProbabilityResult, Result

Colour = tuple[int, int, int]

COMPRESSION = 1
"""zlib's level for PNGs: the fastest; higher ones save a tenth of the bytes for twice the time."""


def png(result: Result, size: tuple[int, int] | None) -> bytes:
    """The result's picture at `size` (width, height), or at the result's own.

    Raises:
        InputError: the result has no picture.
    """
    picture = result.picture() if size is None else presentation.picture_at(result, size)
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=COMPRESSION)
    return file.getvalue()


def data_url(encoded: bytes) -> str:
    """A PNG as an `<img>` takes it in place of an address."""
    return "data:image/png;base64," + base64.b64encode(encoded).decode("ascii")


def described(result: Result) -> dict[str, Any]:
    """The result's kind, numbers, legend (segmentation) and scale of colours (others)."""
    numbers = presentation.numbers(result)
    legend = [
        {"label": label, "colour": _css(colour), "share": numbers[label]}
        for label, colour in presentation.legend(result)
    ]
    kind = result.task.kind.value
    return {"kind": kind, "result": numbers, "legend": legend, "scale": _scale(result)}


def to_json(answer: dict[str, Any]) -> bytes:
    """Strict JSON: what is not finite becomes null."""
    return json.dumps(_finite(answer), allow_nan=False, separators=(",", ":")).encode()


def has_picture(kind: TaskKind) -> bool:
    """Tokens have none."""
    return kind is not TaskKind.TOKENS


def _scale(result: Result) -> dict[str, Any] | None:
    """What the picture's colours mean, from left to right of a ramp."""
    if isinstance(result, DepthResult):
        near, far = result.scale()
        colours = [_css(colour) for colour in reversed(RAMP)]
        return {"from": near, "to": far, "unit": result.task.unit, "colours": colours}
    if isinstance(result, ProbabilityResult):
        return {"from": 0.0, "to": 1.0, "unit": "", "colours": ["#000000", "#ffffff"]}
    return None


def _css(colour: Colour) -> str:
    return "#" + bytes(colour).hex()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
