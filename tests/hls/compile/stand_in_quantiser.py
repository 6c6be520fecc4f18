"""A quantiser that takes no time and says how often it was asked, and the smallest artifact."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gearshift_hls.quantise as quantise
import gearshift_hls.quantise.pictures as pictures_module
from gearshift.graph import IMAGE, TOKENS, Card, Graph, Node, TaskCard, TaskKind

from ..quantise.quantised_models import ModelMaker


@dataclass
class Quantiser:
    """In the real one's place: random operations that depend on the pictures alone."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def pictures(self, card: Card, height: int, width: int, folder: Path | None) -> np.ndarray:
        seed = 0.0 if folder is None else float((folder / "one.png").read_text())
        return np.full((1, 3, height, width), seed, np.float32)

    def model(self, graph: Graph, build: Any, pictures: np.ndarray) -> Any:
        height, width = pictures.shape[2:]
        self.calls.append((float(pictures.max()), height, width))
        seed = int(pictures.max())
        return ModelMaker(seed, build=build, rows=height // 2, columns=width // 2).make()


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Quantiser:
    """A quantiser in the real one's place, with a cache in `folder`."""
    quantiser = Quantiser()
    monkeypatch.setenv("GEARSHIFT_CACHE", str(folder / "cache"))
    monkeypatch.setattr(quantise, "quantise_model", quantiser.model)
    monkeypatch.setattr(pictures_module, "calibration_pictures", quantiser.pictures)
    return quantiser


def small_graph() -> Graph:
    """Patches of 8 pixels and one task."""
    random = np.random.default_rng(2)
    shapes = {
        "weight": (16, 3, 8, 8),
        "bias": (16,),
        "class": (1, 1, 16),
        "places": (1, 16, 2, 2),
    }
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    inputs = (IMAGE, *shapes)
    embedding = Node("PatchEmbedding", "embedding", inputs, (TOKENS,), {"patch_size": 8})
    card = Card("random", 16, 16, (TaskCard("depth", TaskKind.TOKENS, 16),))
    return Graph(card, (embedding,), (), weights)
