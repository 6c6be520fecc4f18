"""Finding a backend by name."""

from __future__ import annotations

from pathlib import Path

import pytest

import gearshift.backends as backends
from gearshift.backends import Options, choose_backend, load_backend
from gearshift.errors import BackendError


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEARSHIFT_BACKEND", raising=False)


def without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name in missing else object())


def test_automatic_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend() == "torch"
    without(monkeypatch, "torch")
    assert choose_backend() == "onnxruntime"
    without(monkeypatch, "torch", "onnxruntime")
    with pytest.raises(BackendError, match="no backend is installed: pip install"):
        choose_backend()


def test_the_environment_speaks_for_auto_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARSHIFT_BACKEND", "onnxruntime")
    assert choose_backend() == "onnxruntime"
    assert choose_backend("torch") == "torch"
    monkeypatch.setenv("GEARSHIFT_BACKEND", "auto")
    assert choose_backend() == "torch"
    monkeypatch.setenv("GEARSHIFT_BACKEND", "abacus")
    with pytest.raises(
        BackendError,
        match=r"GEARSHIFT_BACKEND: unknown backend 'abacus': choose from auto, .*torch",
    ):
        choose_backend()


def test_named_but_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch")
    with pytest.raises(BackendError, match="backend torch needs the package torch"):
        choose_backend("torch")


def test_unknown() -> None:
    for find in (choose_backend, lambda name: load_backend(name, Options(Path()))):
        with pytest.raises(BackendError, match="unknown backend 'abacus'"):
            find("abacus")


def test_onnxruntime_has_no_bfloat16() -> None:
    with pytest.raises(BackendError, match="onnxruntime runs float32 only"):
        load_backend("onnxruntime", Options(Path(), "bfloat16"))
