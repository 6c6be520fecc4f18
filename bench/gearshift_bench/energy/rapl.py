"""The energy of processor packages and their memory, as the processor counts it (RAPL).

Linux shows it in the power capping framework: `energy_uj` counts microjoules up to
`max_energy_range_uj` and begins again ("Power Capping Framework", kernel documentation).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from gearshift_bench.energy.counter import Counter
from gearshift_bench.energy.meter import Clock, MeterError, Sleep

DOMAINS = ("package", "dram")
"""Beginnings of the names that count: cores and the like are parts of a package."""
TWICE = "intel-rapl-mmio"
"""Shows the same package again, through another register."""


def find_counters(root: Path, clock: Clock, sleep: Sleep) -> tuple[list[Counter], list[str]]:
    """Counters of packages and memory, and why others cannot be read."""
    folder = root / "class" / "powercap"
    domains = {
        place.parent: place.read_text().strip()
        for place in sorted(folder.glob("*/name"))
        if (place.parent / "energy_uj").exists() and not place.parent.name.startswith(TWICE)
    }
    counters: list[Counter] = []
    reasons: list[str] = []
    if not domains:
        reasons.append(f"no RAPL on this machine: {folder} has no intel-rapl")
    for domain, name in domains.items():
        if not name.startswith(DOMAINS):
            continue
        try:
            counters.append(_open(domain, _unique(domain, name, domains), clock, sleep))
        except PermissionError:
            file = domain / "energy_uj"
            reasons.append(f"{name} may be read by root only: sudo chmod a+r {file}")
        except (OSError, ValueError) as error:
            reasons.append(f"{name} cannot be read: {domain}: {error}")
        except MeterError as error:
            reasons.append(str(error))
    if domains and not counters and not reasons:
        reasons.append(f"RAPL in {folder} counts neither a package nor memory")
    return counters, reasons


def _unique(domain: Path, name: str, domains: dict[Path, str]) -> str:
    """Memory has the same name in every package: say which."""
    if list(domains.values()).count(name) == 1:
        return name
    return f"{name} of {domain.name}"


def _open(domain: Path, name: str, clock: Clock, sleep: Sleep) -> Counter:
    largest = int((domain / "max_energy_range_uj").read_text())
    count = partial(_read, domain / "energy_uj")
    counter = Counter(name, "RAPL counter", count, 1e-6, largest, clock)
    counter.learn_step(sleep)
    return counter


def _read(file: Path) -> int:
    return int(file.read_text())
