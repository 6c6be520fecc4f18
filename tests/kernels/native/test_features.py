"""Which level the features library finds, against what the system says of its processor."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from gearshift_kernels.native.library import LEVELS

from .compiling import build, needs_compiler

NEEDED = {
    "scalar": set(),
    "avx2": {"avx2", "fma", "f16c"},
    "avx512": {"avx512f", "avx512dq", "avx512bw", "avx512vl"},
    "avx512_bf16": {"avx512_vnni", "avx512_bf16"},
    "amx": {"amx_tile", "amx_bf16", "amx_int8"},
}
"""Linux's names of what a level needs beyond the one before it. Linux leaves out what it cannot
save when it changes threads."""


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("features") / build.library_name("features")
    build.compile_features(path)
    library = ctypes.CDLL(str(path))
    library.gs_best_level.restype = ctypes.c_char_p
    library.gs_has_level.argtypes = (ctypes.c_char_p,)
    return library


def system_levels() -> list[str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    words = next((line.split() for line in lines if line.startswith("flags")), [])
    found = []
    for level, needed in NEEDED.items():
        if not needed <= set(words):
            break
        found.append(level)
    return found


@needs_compiler
@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no /proc/cpuinfo here")
def test_levels_are_those_of_the_system(features: ctypes.CDLL) -> None:
    found = system_levels()
    assert [level for level in LEVELS if features.gs_has_level(level.encode())] == found
    assert features.gs_best_level().decode() == found[-1]


@needs_compiler
def test_a_name_that_is_no_level(features: ctypes.CDLL) -> None:
    for name in (b"", b"avx", b"amx_emulated", b"AVX2"):
        assert features.gs_has_level(name) == 0
