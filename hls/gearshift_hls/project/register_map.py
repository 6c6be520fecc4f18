"""The register map that HLS chose, held against the one that the driver uses.

HLS names its header after the top function: `xgearshift_top_hw.h`, with lines such as
`#define XGEARSHIFT_TOP_CONTROL_ADDR_MEMORY_DATA 0x48` and `..._BITS_MEMORY_DATA 64` (UG1399,
chapters on the C driver files and the s_axilite register map).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from gearshift.errors import BackendError
from gearshift_hls import registers

HEADER = "xgearshift_top_hw.h"

_DEFINE = re.compile(
    r"^#define\s+XGEARSHIFT_TOP_CONTROL_(ADDR|BITS)_(\w+)\s+(0x[0-9a-fA-F]+|\d+)\s*$", re.MULTILINE
)


def expected() -> dict[str, int]:
    """What `registers.py` says, by the names of the header without their prefix."""
    found = {
        "ADDR_AP_CTRL": registers.CONTROL,
        "ADDR_GIE": registers.GLOBAL_INTERRUPT,
        "ADDR_IER": registers.INTERRUPT_ENABLE,
        "ADDR_ISR": registers.INTERRUPT_STATUS,
        "ADDR_AP_RETURN": registers.RETURN,
        "BITS_AP_RETURN": 32,
    }
    offsets = registers.offsets()
    for argument in registers.ARGUMENTS:
        found[f"ADDR_{argument.name.upper()}_DATA"] = offsets[argument.name]
        found[f"BITS_{argument.name.upper()}_DATA"] = argument.bits
    return found


def read_header(path: Path) -> dict[str, int]:
    """The definitions of the header.

    Raises:
        BackendError: it cannot be read, or defines none.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BackendError(f"{path} cannot be read ({error.strerror}): run make hls") from None
    found = {f"{kind}_{name}": int(value, 0) for kind, name, value in _DEFINE.findall(text)}
    if not found:
        raise BackendError(f"{path} defines no register of gearshift: run make hls again")
    return found


def differences(header: Mapping[str, int]) -> list[str]:
    """Where the header and `registers.py` disagree, a phrase each."""
    ours = expected()
    lines = []
    for name in sorted(ours.keys() | header.keys()):
        mine, theirs = ours.get(name), header.get(name)
        if mine != theirs:
            lines.append(f"{name}: {_shown(theirs)} in hardware, {_shown(mine)} in the driver")
    return lines


def check_registers(path: Path) -> None:
    """Hold the header of HLS against `registers.py`.

    Raises:
        BackendError: a register differs; the message lists all that do.
    """
    found = differences(read_header(path))
    if found:
        raise BackendError(
            f"{path} does not agree with the driver's registers ({'; '.join(found)}): correct "
            "gearshift_hls/registers.py, or the arguments of the top function"
        )


def _shown(value: int | None) -> str:
    return "none" if value is None else hex(value)
