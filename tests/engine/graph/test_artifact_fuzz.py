"""Random damage to `model.onnx`, with its hash put right: one clear error, or the same graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gearshift.errors import ArtifactError
from gearshift.graph import Graph, read_artifact


def damage(content: bytes, random: np.random.Generator) -> bytes:
    """A few bytes changed, cut out, or repeated, or the end missing."""
    damaged = bytearray(content)
    for _ in range(random.integers(1, 4)):
        place = int(random.integers(len(damaged)))
        length = int(random.integers(1, 64))
        match random.integers(5):
            case 0:
                damaged[place] ^= 1 << int(random.integers(8))
            case 1:
                damaged[place] = int(random.integers(256))
            case 2:
                del damaged[place : place + length]
            case 3:
                damaged[place:place] = damaged[place : place + length]
            case 4:
                del damaged[max(place, 1) :]
    return bytes(damaged)


def same(a: Graph, b: Graph) -> bool:
    """Equal but for the weights' bytes."""
    return (a.card, a.trunk, a.decoders) == (b.card, b.trunk, b.decoders) and [
        (name, weight.shape) for name, weight in a.weights.items()
    ] == [(name, weight.shape) for name, weight in b.weights.items()]


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes(seed: int, folder: Path, put_model: Callable[[bytes], None]) -> None:
    random = np.random.default_rng(seed)
    graph = read_artifact(folder)
    content = (folder / "model.onnx").read_bytes()
    refused = 0
    for _ in range(100):
        damaged = damage(content, random)
        put_model(damaged)
        try:
            found = read_artifact(folder)
        except ArtifactError:
            refused += 1
        else:
            # A changed attribute, or a name changed everywhere, is another graph, not damage.
            assert damaged == content or not same(found, graph)
    assert refused > 90
