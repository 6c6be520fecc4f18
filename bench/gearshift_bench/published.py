"""Others' figures, from `published.toml`: latency and joules a frame, with where they stand."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

WATTS_TIMES_LATENCY = "the table's power times its latency (computed)"
NOT_FOUND = "not found"
"""Of `includes`: the source does not say."""
FPGAS = ("ZCU", "Alveo")
"""Beginnings of the names of boards with an FPGA."""


@dataclass(frozen=True)
class Published:
    """One design on one platform; None: not found in the source."""

    design: str
    model: str
    platform: str
    includes: str
    """What the latency is of."""
    source: str
    precision: str | None = None
    clock_mhz: float | None = None
    tokens: int | None = None
    """The class token is one of them."""
    macs: float | None = None
    """Multiply-accumulates of a frame: given by the source, or counted from the model's shape."""
    milliseconds: float | None = None
    watts: float | None = None
    joules: float | None = None
    """Of a frame."""
    joules_from: str | None = None
    """How the authors got them, or that they are computed here."""
    note: str | None = None

    @property
    def is_fpga(self) -> bool:
        return self.platform.startswith(FPGAS)

    def at_work(self, value: float | None, macs: float | None) -> float | None:
        """Latency or energy if it grew with the work: no machine is that simple, so it is no
        measurement."""
        if value is None or macs is None or self.macs is None:
            return None
        return value * macs / self.macs


@cache
def published() -> tuple[Published, ...]:
    """All figures, in the file's order."""
    text = files("gearshift_bench").joinpath("published.toml").read_text("utf-8")
    table = tomllib.loads(text)
    return tuple(_figure(dict(entry), table["shapes"]) for entry in table["figures"])


def encoder_macs(
    *,
    tokens: int,
    width: int,
    layers: int,
    dense_hidden: int,
    experts: int,
    expert_hidden: int,
    top_k: int,
    patch_values: int,
) -> int:
    """Of the matrix products of an encoder, every second block of which has experts instead of an
    MLP; each token computes `top_k` of them. Norms, softmax and GELU are not counted."""
    attention = 4 * tokens * width**2 + 2 * tokens**2 * width
    dense = 2 * tokens * width * dense_hidden
    sparse = tokens * width * experts + top_k * 2 * tokens * width * expert_hidden
    embedding = (tokens - 1) * patch_values * width
    mixtures = layers // 2
    return embedding + layers * attention + (layers - mixtures) * dense + mixtures * sparse


def _figure(entry: dict[str, Any], shapes: Mapping[str, Mapping[str, int]]) -> Published:
    shape = entry.pop("shape", None)
    if shape is not None:
        entry |= {"tokens": shapes[shape]["tokens"], "macs": encoder_macs(**shapes[shape])}
    if "joules" not in entry and {"watts", "milliseconds"} <= entry.keys():
        entry["joules"] = entry["watts"] * entry["milliseconds"] / 1e3
        entry["joules_from"] = WATTS_TIMES_LATENCY
    return Published(**entry)
