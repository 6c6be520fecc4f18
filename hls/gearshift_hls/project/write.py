"""Write the vendor project of a board: complete, and whole or not at all."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

import tomli_w

from gearshift.errors import BackendError, InputError
from gearshift.output import whole_folder
from gearshift_hls.board import BOARDS, Board
from gearshift_hls.bundle import Bundle
from gearshift_hls.compile.files import save_bundle
from gearshift_hls.project.rtl_wrapper import NAME, TOP, rtl_wrapper
from gearshift_hls.project.self_test import make_self_test, memory_header
from gearshift_hls.simulation import source_folders
from gearshift_hls.verilator import rtl_folders, sources_of

PROJECT_FILE = "project.toml"
"""What the project is for; a folder with this file is a project."""
BUILD_FOLDER = "build"
"""What the steps leave in a project, but for the overlay's files."""
TEMPLATES = (
    "Makefile",
    "README.md",
    "hls_config.cfg",
    "tcl/hls.tcl",
    "tcl/block_design.tcl",
    "tcl/bitstream.tcl",
    "src/testbench.cpp",
)
"""Files of `hls/BOARD/`: a name between @ and @ is replaced by its value."""
RTL_TEMPLATES = {
    "Makefile": "rtl/Makefile",
    "README.md": "rtl/README.md",
    "tcl/package_ip.tcl": "rtl/tcl/package_ip.tcl",
    "tcl/block_design.tcl": "tcl/block_design.tcl",
    "tcl/bitstream.tcl": "tcl/bitstream.tcl",
}
"""Files of a project from RTL, and where they are in `hls/BOARD/`."""
SOURCES = ("hls", "rtl")
CFLAGS = "-std=c++17"


def write_project(
    folder: Path, bundle: Bundle, listing: str, board: Board, source: str = "hls"
) -> None:
    """Write the project of the accelerator, with a model's bundle beside it.

    Args:
        folder: the project; made if need be. A project that was not built yet is replaced.
        listing: of the bundle, for people.
        source: what the bitstream is made from: `hls`, the C++, or `rtl`, the SystemVerilog.

    Raises:
        InputError: `folder` is something else.
        BackendError: the bundle was compiled for another board.
    """
    if bundle.board != board.name or bundle.build != board.build:
        raise BackendError(
            f"{bundle.model} was compiled for {bundle.board}, not for {board.name}: compile it "
            f"with gearshift synth compile --board {board.name}"
        )
    check_replaceable(folder)
    values, (sources, _) = _values(bundle, board, source), source_folders()
    templates = RTL_TEMPLATES if source == "rtl" else dict(zip(TEMPLATES, TEMPLATES, strict=True))
    with whole_folder(folder) as new:
        for name, template in templates.items():
            target = new / name
            target.parent.mkdir(exist_ok=True)
            text = (sources.parent / board.name / template).read_text(encoding="utf-8")
            target.write_text(_filled(text, values), encoding="utf-8")
        if source == "rtl":
            _write_rtl(new / "src")
        else:
            _write_sources(new / "src", board)
        save_bundle(bundle, listing, new / "overlay" / "bundle")
        record = {"board": board.name, "source": source, "model": bundle.model}
        (new / PROJECT_FILE).write_text(tomli_w.dumps(record), encoding="utf-8")


def project_board(folder: Path) -> Board:
    """The board that the project in `folder` is for.

    Raises:
        InputError: it is no project.
    """
    return _read_record(folder)[0]


def project_source(folder: Path) -> str:
    """What the project's bitstream is made from, one of `SOURCES`.

    Raises:
        InputError: it is no project.
    """
    return _read_record(folder)[1]


def _read_record(folder: Path) -> tuple[Board, str]:
    try:
        record = tomllib.loads((folder / PROJECT_FILE).read_text(encoding="utf-8"))
        return BOARDS[record["board"]], SOURCES[SOURCES.index(record.get("source", "hls"))]
    except (OSError, ValueError, LookupError, TypeError):
        raise InputError(
            f"{folder} is no project (no readable {PROJECT_FILE}): give a folder that "
            "gearshift synth bitstream wrote"
        ) from None


def check_replaceable(folder: Path) -> None:
    """Refuse to replace anything but an empty folder or a project that was not built yet.

    Raises:
        InputError: `folder` is something else.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: choose another name")
    if (folder / BUILD_FOLDER).exists():
        raise InputError(
            f"{folder} holds a project that was built: go on with make -C {folder}, remove what "
            f"was built with make -C {folder} clean, or choose another folder"
        )
    if any(folder.iterdir()) and not (folder / PROJECT_FILE).is_file():
        raise InputError(f"{folder} is not empty and no project: choose another folder")


def _values(bundle: Bundle, board: Board, source: str) -> Mapping[str, str]:
    return {
        "board": board.name,
        "part": board.part,
        "board_part": board.board_part,
        "clock_mhz": f"{board.clock_mhz:g}",
        "period_ns": f"{1000 / board.clock_mhz:.3f}",
        "ip_folder": "ip" if source == "rtl" else "hls",
        "weight_buses": " ".join(f"m_axi_weights_{n}" for n in range(board.build.weight_ports)),
        "weight_ports": " ".join(map(str, range(board.build.weight_ports))),
        "weight_parameters": ", ".join(["Weights"] * board.build.weight_ports),
        "weight_arguments": ", ".join(["memory"] * board.build.weight_ports),
        "cflags": CFLAGS,
        "model": bundle.model,
        "height": str(bundle.height),
        "width": str(bundle.width),
        "tasks": ", ".join(bundle.tasks),
        "task": next(iter(bundle.tasks)),
    }


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub("@([a-z_]+)@", lambda match: values[match[1]], text)


def _write_sources(folder: Path, board: Board) -> None:
    """The C++, the contract's header and the test bench's memory: all that includes name."""
    sources, generated = source_folders()
    for file in [*sources.glob("*.h"), *sources.glob("*.cpp"), *generated.glob("*.h")]:
        shutil.copyfile(file, folder / file.name)
    (folder / "testbench_memory.h").write_text(memory_header(make_self_test(board.build)))


def _write_rtl(folder: Path) -> None:
    """The RTL, the generated package and a top with the pins of HLS."""
    folder.mkdir()
    for file in sources_of(TOP, rtl_folders()):
        shutil.copyfile(file, folder / file.name)
    wrapper = rtl_wrapper(folder / f"{TOP}.sv")
    (folder / f"{NAME}.v").write_text(wrapper, encoding="utf-8")
