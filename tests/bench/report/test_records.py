"""Tables of what precisions cost, and of what others published beside one's own."""

from __future__ import annotations

from typing import Any

import pytest

from gearshift_bench.published import published
from gearshift_bench.report.page import render
from gearshift_bench.report.records import accuracy, beside_published, routing, unmeasured
from gearshift_bench.report.tables import Cell, Table
from gearshift_bench.report.words import Names

from .conftest import make_document, make_mix, make_record, make_run

EDGE_MACS = 782_923_392
"""Of Edge-MoE's model."""


def column(table: Table, head: str) -> list[Cell]:
    return [row[list(table.heads).index(head)] for row in table.rows]


def test_a_trade_is_one_row_with_the_router_that_agrees_least() -> None:
    bound = make_record(routed_alike=None, loads_alike={"blocks.5.router": 0.97, "gate": 0.9})
    unknown = make_record(routed_alike=None)
    table = accuracy([make_record(), bound, unknown])
    assert table is not None
    cells = column(table, "routed alike")
    assert [cell.text for cell in cells] == [
        "98.25 % in block 3",
        "at most 90.00 % in gate",
        "\N{EN DASH}",
    ]
    assert [cell.figure for cell in cells] == [0.9825, 0.9, None]
    assert column(table, "latency")[0] == Cell("7.25 ms", 0.00725)
    assert accuracy([]) is None


def test_nothing_is_not_said_to_be_less() -> None:
    table = accuracy([make_record(change_percent=-3e-6, output_change_percent=None)])
    assert table is not None
    assert column(table, "change")[0].text == "+0.00 %"
    assert column(table, "output change")[0].text == "\N{EN DASH}"


def test_routing_has_a_column_a_router() -> None:
    bound = make_record(routed_alike=None, loads_alike={"blocks.1.router": 0.97})
    exact, at_most = routing([make_record(), bound, make_record(routed_alike={"gate": 1.0})])
    assert exact.heads[-3:] == ("block 1", "block 3", "gate")
    assert [[cell.text for cell in row[-3:]] for row in exact.rows] == [
        ["99.50 %", "98.25 %", "\N{EN DASH}"],
        ["\N{EN DASH}", "\N{EN DASH}", "100.00 %"],
    ]
    assert "at most" in at_most.caption
    assert len(at_most.rows) == 1
    assert routing([make_record(routed_alike=None)]) == []


def test_each_reason_for_no_energy_is_said_once() -> None:
    metered = make_record(energy="package-0 0.12 J (0.05 J above idle), error 3%")
    emulated = make_record(energy="not measured: emulated")
    assert unmeasured([make_record(), metered, emulated, make_record()]) == ["no meter", "emulated"]
    table = accuracy([metered])
    assert table is not None
    assert column(table, "energy a request")[0].text.startswith("package-0 0.12 J")


def beside(document: dict[str, Any]) -> tuple[Table, list[str]]:
    return beside_published(document, Names(document["runs"]))


def test_own_runs_stand_before_others_figures_at_equal_work() -> None:
    document = make_document(
        [make_run("depth"), make_mix(), make_run(batch=2), make_run(backend="rtl-sim")]
    )
    document["model"]["macs"] = {"depth": EDGE_MACS, "semseg": 3 * EDGE_MACS}
    table, notes = beside(document)
    assert len(notes) == len(table.rows) == 1 + len(published())
    designs = [cell.text for cell in column(table, "design")]
    assert designs[0] == "gearshift native"
    assert "run 1 of this page" in notes[0]
    own, *others = column(table, "latency at equal work")
    (run, *_) = document["runs"]
    assert own.figure == pytest.approx(
        run["latency"]["median"] * 2 * EDGE_MACS / run["work"]["macs"]
    )
    edge = designs.index("Edge-MoE")
    assert others[edge - 1].figure == pytest.approx(2 * 34.64e-3, rel=1e-3)
    assert column(table, "energy at equal work")[edge].figure == pytest.approx(
        2 * 34.64e-3 * 14.54, rel=1e-3
    )
    m3vit = designs.index("M3ViT")
    assert others[m3vit - 1].figure is None
    assert column(table, "energy at equal work")[m3vit].figure == pytest.approx(
        0.690 * 2 * EDGE_MACS / 84e9
    )
    assert others[designs.index("HeatViT") - 1].figure is None


def test_a_run_has_a_row_for_each_meter() -> None:
    meter = {
        "kind": "counter", "joules_idle_subtracted": 0.1, "idle_watts": 3.0, "error": 0.01,
        "requests": 9,
    }  # fmt: skip
    meters = [meter | {"name": "package", "joules_per_request": 0.3},
              meter | {"name": "dram", "joules_per_request": 0.2}]  # fmt: skip
    table, notes = beside(make_document([make_run(energy={"meters": meters})]))
    assert [cell.figure for cell in column(table, "energy")[:2]] == [0.3, 0.2]
    assert "Joules: package (counter)" in notes[0]
    assert "Joules: dram (counter)" in notes[1]


def test_without_the_models_work_nothing_is_made_equal() -> None:
    for macs in ({}, {"macs": {}}):
        document = make_document([make_run(work=None)])
        document["model"] |= macs
        table, _ = beside(document)
        for head in ("latency at equal work", "energy at equal work"):
            assert {cell.figure for cell in column(table, head)} == {None}


def test_nobodys_operations_a_second_are_repeated() -> None:
    page = render(make_document([make_run()]))
    assert "GMAC" in page
    assert "GOPS" not in page


def test_notes_tell_how_joules_were_got() -> None:
    _, notes = beside(make_document([make_run()]))
    (m3vit,) = (note for note in notes if note.startswith("M3ViT on ZCU104"))
    assert "latency times a flat 10 W" in m3vit
    assert all("Source: " in note for note in notes)
    assert not [note for note in notes if ".." in note]
