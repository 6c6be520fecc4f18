"""Passes of Yosys, in a process of its own: an error of Yosys ends its process.

The `pyosys` package carries Yosys with its SystemVerilog front, slang.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from gearshift.errors import BackendError

RUN = """\
import sys
from pyosys import libyosys
for line in sys.stdin.read().splitlines():
    libyosys.run_pass(line)
"""


def need_yosys() -> None:
    """Raises BackendError where it is not installed."""
    if find_spec("pyosys") is None:
        raise BackendError(
            "the estimate of resources needs pyosys, which is not installed: "
            "pip install 'gearshift[fpga]'"
        )


def run_passes(passes: Sequence[str]) -> None:
    """Run these commands of Yosys one after the other on one design.

    Raises:
        BackendError: Yosys is not installed, or one of them failed.
    """
    need_yosys()
    call = [sys.executable, "-c", RUN]
    done = subprocess.run(call, input="\n".join(passes), capture_output=True, text=True)
    if done.returncode:
        last = "\n".join(f"{done.stdout}{done.stderr}".strip().splitlines()[-10:])
        raise BackendError(f"Yosys failed:\n{last}")


def read_passes(top: str, sources: Sequence[Path], parameters: Sequence[str] = ()) -> list[str]:
    """Passes that read a design and keep its hierarchy.

    Args:
        sources: SystemVerilog, packages first.
        parameters: of `top`, NAME=VALUE.
    """
    settings = " ".join(f"-G {each}" for each in parameters)
    files = " ".join(map(str, sources))
    return [f"read_slang --best-effort-hierarchy {settings} --top {top} {files}"]
