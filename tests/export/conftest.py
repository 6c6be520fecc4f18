"""For all tests of the export: independent models, loaded by their path, and a small network."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gearshift_export.config import DecoderConfig, TaskConfig


def _load(name: str) -> ModuleType:
    path = Path(__file__).parent / "model" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"gearshift_tests_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def upstream() -> ModuleType:
    """`model/upstream.py`: M3ViT in float64 numpy, and random state dicts in its layout."""
    return _load("upstream")


@pytest.fixture(scope="session")
def edge_moe_raw() -> ModuleType:
    """`model/edge_moe_raw.py`: Edge-MoE's raw weight files from and to upstream state dicts."""
    return _load("edge_moe_raw")


@pytest.fixture(scope="session")
def fields() -> dict[str, Any]:
    """The fields of a small ModelConfig, to be changed by a test."""
    return {
        "image_height": 32,
        "image_width": 48,
        "patch_size": 16,
        "width": 24,
        "heads": 3,
        "depth": 4,
        "dense_hidden": 40,
        "experts": 6,
        "expert_hidden": 20,
        "top_k": 2,
        "tasks": (TaskConfig("semseg", 5), TaskConfig("depth", 1)),
        "decoder": DecoderConfig(channels=8, stages=4),
    }
