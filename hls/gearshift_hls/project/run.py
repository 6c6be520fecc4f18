"""Run the steps of a project, where the vendor's tools are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from gearshift.errors import BackendError
from gearshift_hls.project.register_map import HEADER, check_registers
from gearshift_hls.project.report import newest
from gearshift_hls.project.write import BUILD_FOLDER, project_source

TOOLS = ("v++", "vitis-run", "vivado", "make")
RTL_TOOLS = ("vivado", "make")
"""Without HLS."""


def missing_tools(source: str = "hls") -> list[str]:
    """Tools for a project from this source that are not on PATH."""
    tools = RTL_TOOLS if source == "rtl" else TOOLS
    return [tool for tool in tools if shutil.which(tool) is None]


def run_project(folder: Path) -> None:
    """All steps up to the bitstream; the long ones only if the register map is the driver's.

    Raises:
        BackendError: a step failed; the message says where its log is.
    """
    if project_source(folder) == "rtl":  # its register map is the driver's: both are generated
        for step in ("ip", "block-design", "bitstream"):
            _run(folder, step)
        return
    for step in ("csim", "hls", "cosim", "ip"):
        _run(folder, step)
    header = newest(folder, HEADER)
    if header is None:
        raise BackendError(
            f"HLS left no {HEADER} in {folder / BUILD_FOLDER}: see build/logs/ip.log"
        )
    check_registers(header)
    for step in ("block-design", "bitstream"):
        _run(folder, step)


def _run(folder: Path, step: str) -> None:
    command = ["make", "--no-print-directory", "-C", str(folder), step]
    if subprocess.run(command, check=False).returncode:
        log = folder / BUILD_FOLDER / "logs" / f"{step}.log"
        raise BackendError(f"{step} failed: see {log}, then go on with make -C {folder} bitstream")
