"""What was found, as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gearshift_bench.peers.entry import COMPARED, Entry
from gearshift_bench.peers.figures import Cell, Spread, paired, spread
from gearshift_bench.peers.floor import Peaks, node_floors
from gearshift_bench.peers.host import Host
from gearshift_bench.peers.race import Contender
from gearshift_bench.peers.report import total_floor
from gearshift_bench.peers.switching import Switch

RATIO = (
    "median over rounds of our seconds over the peer's in the same round: below 1, ours is faster; "
    "low and high hold 80 % of the rounds"
)


def document(
    host: Host,
    peaks: Peaks | None,
    rounds: int,
    cells: Sequence[Cell],
    switches: Mapping[str, Sequence[Switch | str]],
) -> dict[str, Any]:
    """Everything that was measured. `switches` is by model.

    The ratios to the best peer are those of one thread and of our fastest in float32 or bfloat16;
    what was not measured is not there.
    """
    return {
        "machine": asdict(host) | {"peak_macs_per_second": peaks},
        "rounds": rounds,
        "ratio": RATIO,
        "results": [_result(cell, peaks) for cell in cells],
        "switching": {
            model: [one if isinstance(one, str) else _switch(one) for one in found]
            for model, found in switches.items()
        },
        "ratios_to_best_peer": _ratios(cells, COMPARED),
        "float32_ratio_to_best_float32_peer": _ratios(cells, ("float32",)),
        "two_thread_ratio": _two_threads(cells),
    }


def _result(cell: Cell, peaks: Peaks | None) -> dict[str, Any]:
    ours, peer, ratio = cell.ours(), cell.best_peer(), cell.ratio()
    return {
        "model": cell.model,
        "task": cell.task,
        "part": cell.part,
        "threads": cell.threads,
        "image": list(cell.program.values[cell.program.input].shape),
        "macs": cell.program.macs,
        "load_before": _number(cell.load[0]),
        "load_after": _number(cell.load[1]),
        "ours": ours.name if ours else None,
        "best_peer": peer.name if peer else None,
        "ratio_to_best_peer": asdict(ratio) if ratio else None,
        "contenders": {
            contender.name: _contender(cell, contender, ours, peaks)
            for contender in cell.contenders
        },
        "nodes": {
            times.entry.name: {
                "ms": {node: 1e3 * seconds for node, seconds in times.seconds.items()},
                "floor_ms": {
                    node: 1e3 * seconds
                    for node, seconds in node_floors(
                        cell.program, times.entry.precision, peaks, cell.threads
                    ).items()
                }
                if peaks
                else None,
            }
            for times in cell.nodes
        },
    }


def _contender(
    cell: Cell, contender: Contender, ours: Entry | None, peaks: Peaks | None
) -> dict[str, Any]:
    agreement = contender.trial.agreement
    found: dict[str, Any] = {
        "precision": contender.entry.precision,
        "is_ours": contender.entry.is_ours,
        "form": contender.form,
        "not_run": {one.form: one.failure for one in contender.trials if one.failure},
        "wrong": [one.form for one in contender.trials if one.agreement and not one.is_right],
        "error": _number(agreement.error) if agreement else None,
        "allowed": agreement.allowed if agreement else None,
        "share_of_near_ties": agreement.near_ties if agreement else None,
    }
    figures = cell.seconds.get(contender.name)
    if figures is None:
        return found
    time, floor = spread(figures), total_floor(cell, contender.entry, peaks)
    found |= {
        "median_ms": 1e3 * time.median,
        "low_ms": 1e3 * time.low,
        "high_ms": 1e3 * time.high,
        "floor_ms": None if floor is None else 1e3 * floor,
    }
    if ours is not None and not contender.entry.is_ours:
        found["ratio_of_ours"] = asdict(paired(cell.seconds[ours.name], figures))
    return found


def _switch(switch: Switch) -> dict[str, Any]:
    def milliseconds(figures: Spread) -> dict[str, float]:
        return {name: 1e3 * figure for name, figure in asdict(figures).items()}

    return {
        "setting": switch.setting,
        "first_ms": milliseconds(switch.first),
        "steady_ms": milliseconds(switch.steady),
        "first_over_steady": asdict(switch.ratio),
    }


def _ratios(cells: Sequence[Cell], precisions: Sequence[Any]) -> dict[str, dict[str, float]]:
    """By model and part, for one thread."""
    found: dict[str, dict[str, float]] = {}
    for cell in cells:
        ratio = cell.ratio(precisions) if cell.threads == 1 else None
        if ratio is not None:
            found.setdefault(cell.model, {})[cell.part] = ratio.median
    return found


def _two_threads(cells: Sequence[Cell]) -> dict[str, dict[str, float]]:
    """Median seconds of our fastest on two threads over those of our fastest on one."""
    best = {
        (cell.model, cell.part, cell.threads): cell.median(ours)
        for cell in cells
        if (ours := cell.ours()) is not None
    }
    found: dict[str, dict[str, float]] = {}
    for (model, part, threads), seconds in best.items():
        if threads == 2 and (one := best.get((model, part, 1))) is not None:
            found.setdefault(model, {})[part] = seconds / one
    return found


def _number(value: float) -> float | None:
    """JSON has neither infinity nor NaN."""
    return value if math.isfinite(value) else None
