"""What tests that compile C++ share: the build module, which lies outside any package, and runs."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "kernels" / "native"


def _load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("native_build", SOURCES / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = _load_build()

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler here")
needs_x86 = pytest.mark.skipif(
    build.levels_here() == ["scalar"], reason="AMX belongs to x86-64 under Linux"
)


def compile_cpp(source: Path, output: Path, *flags: str) -> None:
    """Compile one file as the kernels are compiled, with warnings as errors."""
    common = [flag for flag in build.FLAGS if flag not in ("-shared", "-fPIC")]
    done = subprocess.run(
        [build.compiler(), *common, "-Werror", f"-I{SOURCES}", *flags, source, "-o", output],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def run_program(*command: str | Path, timeout: float = 100) -> tuple[int, str]:
    """A program's return code (minus the signal that ended it), and all that it printed."""
    words: Sequence[str] = [str(word) for word in command]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout
    )
    return done.returncode, done.stdout
