"""The report of HLS synthesis, `csynth.xml`: estimates of clock, cycles and resources.

Sources of the layout: AMD, "Vitis High-Level Synthesis User Guide" (UG1399), the chapter on the
synthesis report, and the elements that public tools read from the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from gearshift.errors import BackendError
from gearshift_hls.project.usage import Usage


@dataclass(frozen=True)
class Synthesis:
    """What HLS expects of the RTL that it wrote."""

    part: str
    target_ns: float
    """The clock's period that was asked for."""
    estimated_ns: float
    """The longest path as HLS sees it, without the clock's uncertainty."""
    total: Usage
    modules: tuple[Usage, ...]
    """Every function that became a module of its own, callers before what they call."""


def read_csynth(path: Path) -> Synthesis:
    """Read `csynth.xml`.

    Raises:
        BackendError: it cannot be read as such a report.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BackendError(f"{path} cannot be read ({error.strerror}): run make hls") from None
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise BackendError(f"{path} is damaged ({error}): run make hls again") from None
    report = _Report(path)
    return Synthesis(
        report.text(root, "UserAssignments/Part"),
        report.number(root, "UserAssignments/TargetClockPeriod"),
        report.number(root, "PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod"),
        report.usage(root, report.text(root, "UserAssignments/TopModelName")),
        tuple(
            report.usage(module, report.text(module, "Name"))
            for module in root.iterfind("ModuleInformation/Module")
        ),
    )


class _Report:
    """Elements of a file, and errors that name it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self, element: Element, place: str) -> str:
        found = (element.findtext(place) or "").strip()
        if not found:
            raise BackendError(f"{self.path} has no {place}: run make hls again")
        return found

    def number(self, element: Element, place: str) -> float:
        text = self.text(element, place)
        try:
            return float(text)
        except ValueError:
            raise BackendError(
                f"{self.path}: {place} is {text!r}, no number: run make hls again"
            ) from None

    def usage(self, element: Element, name: str) -> Usage:
        def count(kind: str) -> float:
            return self.number(element, f"AreaEstimates/Resources/{kind}")

        return Usage(
            name,
            int(count("LUT")),
            int(count("FF")),
            int(count("DSP")),
            count("BRAM_18K") / 2,
            int(count("URAM")),
        )
