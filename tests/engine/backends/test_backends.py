"""Finding a backend by name."""

from __future__ import annotations

from pathlib import Path

import pytest

import gearshift.backends as backends
from gearshift.backends import Options, choose_backend, load_backend
from gearshift.errors import BackendError
from gearshift_kernels.native import library


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEARSHIFT_BACKEND", raising=False)


def without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name in missing else object())


def test_automatic_choice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backends._tell_once.cache_clear()
    monkeypatch.setattr(backends, "why_slow", lambda: None)
    assert choose_backend() == "native"
    assert not caplog.records
    monkeypatch.setattr(backends, "why_slow", lambda: "this CPU has no AVX2")
    assert choose_backend() == choose_backend() == "torch"
    assert [record.getMessage() for record in caplog.records] == [
        "backend native is not chosen, since this CPU has no AVX2: running on torch"
    ]
    without(monkeypatch, "torch")
    assert choose_backend() == "onnxruntime"
    without(monkeypatch, "torch", "onnxruntime")
    with pytest.raises(BackendError, match="no backend is installed: pip install"):
        choose_backend()


def test_native_is_fast_only_where_it_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    for known, reason in (((), "not compiled"), (("scalar",), "no AVX2")):
        monkeypatch.setattr(library, "levels", lambda known=known: known)
        assert reason in (library.why_slow() or "")
    monkeypatch.setattr(library, "levels", lambda: ("scalar", "avx2"))
    assert library.why_slow() is None


def test_the_environment_speaks_for_auto_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARSHIFT_BACKEND", "onnxruntime")
    assert choose_backend() == "onnxruntime"
    assert choose_backend("torch") == "torch"
    monkeypatch.setattr(backends, "why_slow", lambda: None)
    monkeypatch.setenv("GEARSHIFT_BACKEND", "auto")
    assert choose_backend() == "native"
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


def test_backends_with_a_precision_of_their_own_are_installed() -> None:
    for name in backends.OWN_PRECISION:
        assert choose_backend(name) == name


def test_onnxruntime_has_no_bfloat16() -> None:
    with pytest.raises(BackendError, match="onnxruntime runs float32 only"):
        load_backend("onnxruntime", Options(Path(), "bfloat16"))
