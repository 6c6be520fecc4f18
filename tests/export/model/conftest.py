"""Helpers that load upstream weights into the reference model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gearshift_export.config import ModelConfig
from gearshift_export.model import MultiTaskModel

Array = NDArray[Any]
State = dict[str, Array]


@pytest.fixture(scope="session")
def load() -> Callable[[ModelConfig, State], MultiTaskModel]:
    """The reference model in evaluation mode with a state dict; every key must be at home."""

    def load(config: ModelConfig, state: State) -> MultiTaskModel:
        model = MultiTaskModel(config)
        tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
        model.load_state_dict(tensors, strict=True)
        return model.eval().requires_grad_(False)

    return load


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Array]:
    """Normalised pictures (batch,3,H,W) float32 for a configuration."""

    def pictures(config: ModelConfig, batch: int = 1, seed: int = 0) -> Array:
        shape = (batch, 3, config.image_height, config.image_width)
        return np.random.default_rng(seed).normal(size=shape).astype(np.float32)

    return pictures


@pytest.fixture(scope="session")
def relative_error() -> Callable[[Any, Array], float]:
    """The largest difference from a reference, against the reference's largest value."""

    def relative_error(actual: Any, expected: Array) -> float:
        actual = np.asarray(actual)
        assert actual.shape == expected.shape
        return float(np.abs(actual - expected).max() / np.abs(expected).max())

    return relative_error
