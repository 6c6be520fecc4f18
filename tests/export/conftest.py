"""Independent models for all tests of the export, loaded as modules by their path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


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
