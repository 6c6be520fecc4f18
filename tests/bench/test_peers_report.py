"""The tables and the JSON, from seconds that are made up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from gearshift.backends import Precision
from gearshift.program import Program
from gearshift.specialise import specialise
from gearshift_bench.peers.agreement import Agreement
from gearshift_bench.peers.document import document
from gearshift_bench.peers.entry import OTHER, Entry, Form, Match, Run
from gearshift_bench.peers.figures import Cell, NodeTimes, Spread, paired, spread
from gearshift_bench.peers.floor import node_floors
from gearshift_bench.peers.host import Host, describe_host
from gearshift_bench.peers.parts import Part, part_of
from gearshift_bench.peers.race import Contender, Trial
from gearshift_bench.peers.report import cell_lines, heading, switch_lines
from gearshift_bench.peers.switching import Switch

from ..engine.conftest import GraphMaker

PROGRAM = specialise(GraphMaker(dim=24, heads=3).make(), 0)
PEAKS: dict[Precision, float] = {"float32": 1e9, "bfloat16": 2e9, "int8": 4e9}
HOST = Host("A processor", 2, ("avx2",), "System", {"torch": "1.0"})
RIGHT = Agreement(1e-6, 1e-4, 0.0)
WRONG = Agreement(inf, 1e-4, 0.0)


def never(match: Match) -> Run:
    raise AssertionError("a report opens nothing")


def contender(
    library: str, precision: Precision = "float32", agreement: Agreement | None = RIGHT
) -> Contender:
    failure = "no such operator" if agreement is None else None
    trial = Trial("plain", agreement, failure)
    entry = Entry(library, precision, {"plain": Form(never)})
    return Contender(entry, (trial,), "plain" if trial.is_right else None)


def cell_of(
    seconds: dict[tuple[str, Precision], Sequence[float]],
    model: str = "tiny",
    part: Part = "encoder",
    threads: int = 1,
    extra: Sequence[Contender] = (),
    nodes: tuple[NodeTimes, ...] = (),
) -> Cell:
    found = [contender(*name) for name in seconds]
    program: Program = part_of(PROGRAM, part)
    figures = {one.name: list(one_s) for one, one_s in zip(found, seconds.values(), strict=True)}
    return Cell(
        model, "rooms", part, threads, (*found, *extra), figures, (0.5, nan), program, nodes
    )


RACE: dict[tuple[str, Precision], Sequence[float]] = {
    ("gearshift native", "float32"): [0.30, 0.30, 0.60],
    ("gearshift native", "bfloat16"): [0.10, 0.12, 0.20],
    ("gearshift native", "int8"): [0.01, 0.01, 0.01],
    ("OpenVINO 1.0", "bfloat16"): [0.20, 0.24, 0.80],
    ("onnxruntime 1.0, plain graph", "float32"): [0.60, 0.60, 0.60],
}


def test_spreads_hold_eighty_percent() -> None:
    assert spread(range(11)) == Spread(5.0, 1.0, 9.0)


def test_ratios_are_of_the_same_round() -> None:
    """The quotient of the medians would be 1.5."""
    assert paired([1.0, 3.0, 9.0], [2.0, 2.0, 9.0]).median == 1.0
    with pytest.raises(ValueError, match="shorter"):
        paired([1.0, 2.0], [1.0])


def test_ours_and_the_best_peer() -> None:
    cell = cell_of(RACE)
    ours, peer, ratio = cell.ours(), cell.best_peer(), cell.ratio()
    assert ours is not None
    assert peer is not None
    assert ratio is not None
    # int8 is faster, but no match for peers in bfloat16.
    assert ours.name == "gearshift native, bfloat16"
    assert peer.name == "OpenVINO 1.0, bfloat16"
    assert ratio.median == pytest.approx(0.5)
    exact = cell.ratio(("float32",))
    assert exact is not None
    assert exact.median == pytest.approx(0.5)


def test_a_peer_that_is_not_right_is_not_the_best_peer() -> None:
    wrong = contender("torch 1.0", "bfloat16", WRONG)
    cell = cell_of({("gearshift native", "float32"): [1.0]}, extra=[wrong])
    assert cell.best_peer() is None
    assert cell.ratio() is None
    text = "\n".join(cell_lines(cell, PEAKS))
    assert "wrong, and not timed: torch 1.0, bfloat16, plain: error inf, allowed 1.0e-04" in text
    assert "of the best peer" not in text


def test_a_table_says_who_is_how_fast_and_who_did_not_run() -> None:
    cell = cell_of(RACE, extra=[contender("torch 1.0, compile", "float32", None)])
    slow = {precision: rate / 1000 for precision, rate in PEAKS.items()}
    lines = "\n".join(cell_lines(cell, slow)).splitlines()
    rows = {line.split("  ")[0]: line for line in lines}
    assert "0.50" in rows["OpenVINO 1.0, bfloat16"]
    assert "0.20" in rows["onnxruntime 1.0, plain graph, float32"]
    assert rows["torch 1.0, compile, float32"].endswith("not run")
    assert "not run: torch 1.0, compile, float32, plain: no such operator" in lines
    floor = sum(node_floors(cell.program, "bfloat16", slow, 1).values())
    assert floor > 0.12 / 100
    assert rows["gearshift native, bfloat16"].endswith(f" {floor / 0.12:.0%}")
    assert lines[-1] == (
        "gearshift native, bfloat16 takes 0.50 (0.30-0.50) of the time of the best peer, "
        "OpenVINO 1.0, bfloat16"
    )


def test_floors_are_products_over_the_peak_of_all_threads() -> None:
    floors = node_floors(PROGRAM, "bfloat16", PEAKS, 2)
    macs = {step.name: step.macs for step in PROGRAM.steps}
    assert floors["blocks.0.mlp"] == pytest.approx(macs["blocks.0.mlp"] / 4e9)
    # The router is float32 in every precision.
    assert floors["blocks.1.router"] == pytest.approx(macs["blocks.1.router"] / 2e9)
    assert floors["blocks.0.add1"] == 0.0


def test_nodes_of_all_blocks_stand_in_one_row() -> None:
    fast = NodeTimes(
        contender("gearshift native").entry,
        {"blocks.0.mlp": 0.001, "blocks.2.mlp": 0.003, "patch_embedding": 0.002},
    )
    slow = NodeTimes(contender("OpenVINO 1.0").entry, {"blocks.0.mlp": 0.008, OTHER: 0.004})
    cell = cell_of(RACE, nodes=(fast, slow))
    lines = "\n".join(cell_lines(cell, PEAKS)).splitlines()
    rows = {line.split("  ")[0]: line.split() for line in lines}
    macs = sum(step.macs for step in PROGRAM.steps if step.kernel == "mlp")
    assert rows["blocks.*.mlp"][1] == "2"
    share = f"{macs / 1e9 / 0.004:.0%}"
    assert rows["blocks.*.mlp"][-4:] == ["4.000", share, "8.000", f"{macs / 1e9 / 0.008:.0%}"]
    assert rows[OTHER][-1] == "4.000"
    assert "6.000" in rows["all"]
    assert "12.000" in rows["all"]


def test_without_native_kernels_the_floor_is_not_known() -> None:
    (line,) = (line for line in heading(HOST, None) if line.startswith("peak"))
    assert "not known" in line
    nodes = (NodeTimes(contender("gearshift native").entry, {"blocks.0.mlp": 0.001}),)
    lines = cell_lines(cell_of(RACE, nodes=nodes), None)
    assert not any("%" in line.replace("80 %", "") for line in lines)


def test_switches_stand_beside_the_reason_for_one_that_is_missing() -> None:
    switch = Switch("resident", Spread(0.3, 0.2, 0.4), Spread(0.1, 0.1, 0.1), Spread(3, 2, 4))
    found = switch_lines("tiny", 1, [switch, "half: not measured (no budget)"])
    lines = "\n".join(found).splitlines()
    assert "300.00" in lines[3]
    assert "2.00-4.00" in lines[3]
    assert lines[-1] == "half: not measured (no budget)"
    assert switch_lines("tiny", 1, []) == []


def written(cells: Sequence[Cell], **switches: Any) -> dict[str, Any]:
    """As a reader of the file gets it; JSON without NaN and infinity."""
    text = json.dumps(document(HOST, PEAKS, 3, cells, switches), allow_nan=False)
    return dict(json.loads(text))


def test_ratios_by_model_and_part() -> None:
    faster = {
        name: [s / 2 for s in one] if "gear" in name[0] else one for name, one in RACE.items()
    }
    slower = {name: [s * 4 for s in one] for name, one in RACE.items()}
    figures = written(
        [
            cell_of(RACE),
            cell_of(faster, part="task"),
            cell_of(slower, model="small", part="task"),
            cell_of(faster, threads=2),
        ]
    )
    ratios = figures["ratios_to_best_peer"]
    assert ratios == {
        "tiny": {"encoder": pytest.approx(0.5), "task": pytest.approx(0.25)},
        "small": {"task": pytest.approx(0.5)},
    }
    exact = figures["float32_ratio_to_best_float32_peer"]["tiny"]
    assert exact == {"encoder": pytest.approx(0.5), "task": pytest.approx(0.25)}
    assert figures["two_thread_ratio"] == {"tiny": {"encoder": pytest.approx(0.5)}}
    assert figures["machine"]["cpu"] == "A processor"


def test_every_contender_is_in_the_file() -> None:
    wrong = contender("torch 1.0, eager", "float32", WRONG)
    failed = contender("torch 1.0, compile", "float32", None)
    nodes = (NodeTimes(contender("gearshift native").entry, {"blocks.0.mlp": 0.001}),)
    switch = Switch("resident", Spread(0.3, 0.2, 0.4), Spread(0.1, 0.1, 0.1), Spread(3, 2, 4))
    figures = written(
        [cell_of(RACE, extra=[wrong, failed], nodes=nodes)], tiny=[switch, "half: not measured"]
    )
    (result,) = figures["results"]
    found = result["contenders"]
    assert len(found) == len(RACE) + 2
    assert found["OpenVINO 1.0, bfloat16"]["median_ms"] == pytest.approx(240)
    assert found["OpenVINO 1.0, bfloat16"]["ratio_of_ours"]["median"] == pytest.approx(0.5)
    assert "ratio_of_ours" not in found["gearshift native, bfloat16"]
    assert found["torch 1.0, eager, float32"]["wrong"] == ["plain"]
    assert found["torch 1.0, eager, float32"]["error"] is None
    assert "median_ms" not in found["torch 1.0, eager, float32"]
    assert found["torch 1.0, compile, float32"]["not_run"] == {"plain": "no such operator"}
    assert result["load_before"] == 0.5
    assert result["load_after"] is None
    (times,) = result["nodes"].values()
    assert times["ms"] == {"blocks.0.mlp": 1.0}
    assert times["floor_ms"]["blocks.0.mlp"] > 0
    resident, half = figures["switching"]["tiny"]
    assert resident["first_over_steady"]["median"] == 3
    assert half == "half: not measured"


def test_the_machine_is_described_from_cpuinfo(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: First\nflags\t\t: fpu avx2 avx512_bf16 sse\n\n"
        "processor\t: 1\nmodel name\t: Second\nflags\t\t: fpu\n"
    )
    host = describe_host(cpuinfo)
    assert host.cpu == "First"
    assert host.flags == ("avx2", "avx512_bf16")
    assert host.packages["torch"]
    assert host.processors >= 1
    assert describe_host(tmp_path / "missing").flags == ()
