"""The compiled kernels: which instruction sets there are, and the library of one of them."""

from __future__ import annotations

import ctypes
import os
from ctypes import CDLL, c_char_p, c_double, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

LEVELS = ("scalar", "avx2", "avx512", "avx512_bf16", "amx")
"""Instruction sets from the slowest to the fastest."""

VARIABLE = "GEARSHIFT_NATIVE_LEVEL"
"""Environment variable: the instruction set to use instead of the best one."""

FOLDER = Path(__file__).parent


class NativeError(Exception):
    """There are no native kernels to run here; the message says why, in one line."""


def library_path(level: str) -> Path:
    """Where the library of an instruction set is, compiled or not."""
    return FOLDER / f"libgearshift_{level}.so"


def levels() -> tuple[str, ...]:
    """The instruction sets that this CPU has and that were compiled, the fastest last."""
    features = _features()
    if features is None:
        return ()
    return tuple(
        level
        for level in LEVELS
        if library_path(level).exists() and features.gs_has_level(level.encode())
    )


def why_slow() -> str | None:
    """Why another backend is the better choice on this machine; None where native is fastest."""
    known = levels()
    if not known:
        return "its kernels were not compiled (install g++, then gearshift again)"
    if known == ("scalar",):
        return "this CPU has no AVX2"
    return None


def choose_level(level: str | None = None) -> str:
    """The named instruction set, else the one that the environment names, else the fastest.

    Raises:
        NativeError: nothing was compiled, or the named one is not to be had.
    """
    known = levels()
    if not known:
        raise NativeError("the native kernels were not compiled: install g++, then gearshift again")
    wanted = level or os.environ.get(VARIABLE)
    if wanted and wanted not in known:
        source = "the level" if level else VARIABLE
        raise NativeError(f"{source} is {wanted!r}: this machine has {', '.join(known)}")
    return wanted or known[-1]


@cache
def load(path: Path) -> CDLL:
    """The library at `path`, with the types of its functions declared."""
    library = ctypes.CDLL(str(path))
    library.gs_open.argtypes, library.gs_open.restype = (c_int64,), c_void_p
    library.gs_close.argtypes, library.gs_close.restype = (c_void_p,), None
    library.gs_reserve.argtypes = c_void_p, c_void_p, c_int64
    library.gs_reserve.restype = c_int
    library.gs_run.argtypes, library.gs_run.restype = (c_void_p, c_void_p, c_int64, c_void_p), None
    library.gs_level.argtypes, library.gs_level.restype = (), c_char_p
    library.gs_peak_macs.argtypes, library.gs_peak_macs.restype = (c_int64,), c_double
    return library


def peak_macs(precision: int, level: str | None = None) -> float:
    """Multiply-accumulates a second of one thread with operands in the first-level cache.

    Args:
        precision: FLOAT32, BFLOAT16 or INT8 of `gearshift_kernels.native.structures`.
        level: an instruction set, or None for the one in use.

    Raises:
        NativeError: there are no native kernels here.
    """
    return float(load(library_path(choose_level(level))).gs_peak_macs(precision))


@cache
def _features() -> CDLL | None:
    path = FOLDER / "libgearshift_features.so"
    if not path.exists():
        return None
    library = ctypes.CDLL(str(path))
    library.gs_has_level.argtypes, library.gs_has_level.restype = (c_char_p,), c_int
    return library
