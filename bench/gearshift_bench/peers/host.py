"""The machine that figures are of: processor, what it can do, how busy it is, what is installed."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gearshift_kernels.native.team import usable_processors

FLAGS = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni",
    "amx_tile", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm", "sve",
)  # fmt: skip
"""Of /proc/cpuinfo, those that matrix products live on."""
PACKAGES = ("torch", "onnxruntime", "openvino", "numpy")


@dataclass(frozen=True)
class Host:
    """One machine."""

    cpu: str
    processors: int
    """That this process may use."""
    flags: tuple[str, ...]
    system: str
    packages: dict[str, str]

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        flags = " ".join(self.flags) or "flags not known"
        return f"{self.cpu}, {self.processors} processors, {flags}\n{self.system}; {packages}"


def describe_host(cpuinfo: Path = Path("/proc/cpuinfo")) -> Host:
    """What the system says; the flags are those of Linux."""
    fields: dict[str, str] = {}
    if cpuinfo.exists():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        fields = {name.strip(): value.strip() for name, _, value in reversed(list(lines))}
    words = set((fields.get("flags") or fields.get("Features") or "").split())
    return Host(
        fields.get("model name") or platform.processor() or platform.machine(),
        usable_processors(),
        tuple(flag for flag in FLAGS if flag in words),
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        {name: number for name in PACKAGES if (number := _version(name))},
    )


def load_average() -> float:
    """Runnable processes, on the average of the last minute; NaN where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
