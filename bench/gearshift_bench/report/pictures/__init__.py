"""The pictures of one document, by the section of the report that they stand in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gearshift_bench.report.pictures.experts import heat_maps
from gearshift_bench.report.pictures.latency import distributions, history, overview
from gearshift_bench.report.pictures.nodes import node_times
from gearshift_bench.report.pictures.roofline import roofline
from gearshift_bench.report.pictures.switches import switch_costs
from gearshift_bench.report.svg import Picture
from gearshift_bench.report.words import Names


@dataclass(frozen=True)
class Pictures:
    """Everything that a document has figures for; empty or None where it has none."""

    latency: Sequence[Picture]
    distributions: Sequence[Picture]
    histories: Sequence[Picture]
    roofline: Picture | None
    nodes: Sequence[Picture]
    experts: Sequence[Picture]
    switches: Picture | None

    def every(self) -> list[Picture]:
        """In the order of the report."""
        single = [one for one in (self.roofline, self.switches) if one]
        many = (self.latency, self.distributions, self.histories, self.nodes, self.experts)
        return [*(picture for group in many for picture in group), *single]


def draw(document: Mapping[str, Any]) -> Pictures:
    """From a checked document."""
    runs = document["runs"]
    names = Names(runs)
    return Pictures(
        [overview(runs, names)] if runs else [],
        distributions(runs, names),
        [history(run, names) for run in runs],
        roofline(document["roofs"], runs, names),
        [picture for run in runs if (picture := node_times(run, names))],
        heat_maps(runs, names),
        switch_costs(runs, names),
    )
