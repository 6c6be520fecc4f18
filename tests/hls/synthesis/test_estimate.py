"""Yosys's counts of small designs whose resources are known, and equal modules counted apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gearshift.cli import main
from gearshift.errors import BackendError
from gearshift_hls.board import ZCU104
from gearshift_hls.commands import synth_estimate
from gearshift_hls.project.usage import KINDS, Usage
from gearshift_hls.synthesis import estimate
from gearshift_hls.synthesis.design import kind_of
from gearshift_hls.synthesis.estimate import Module, Synthesis, synthesise
from gearshift_hls.synthesis.hierarchy import unify
from gearshift_hls.synthesis.passes import Own, map_modules
from gearshift_hls.synthesis.yosys import read_passes, run_passes

LEAF = """\
module leaf #(parameter int unsigned WIDTH = 8) (
    input logic clock, input logic signed [WIDTH-1:0] a, b, output logic signed [2*WIDTH-1:0] y
);
  logic signed [WIDTH-1:0] left, right;
  always_ff @(posedge clock) begin
    left <= a;
    right <= b;
    y <= left * right;
  end
endmodule
"""
MEMORY = """\
module memory (
    input logic clock, input logic write, input logic [13:0] place, address,
    input logic [63:0] d, output logic [63:0] q
);
  (* ram_style = "STYLE" *) logic [63:0] words[DEPTH];
  always_ff @(posedge clock) begin
    if (write) words[place] <= d;
    q <= words[address];
  end
endmodule
"""
TOP = """\
module top (
    input logic clock, input logic signed [15:0] a[4], b[4], output logic signed [31:0] y[4]
);
  for (genvar each = 0; each < 3; each++) begin : g_each
    leaf #(.WIDTH(16)) one (.clock, .a(a[each]), .b(b[each]), .y(y[each]));
  end
  logic signed [15:0] narrow;
  leaf #(.WIDTH(8)) other (.clock, .a(a[3][7:0]), .b(b[3][7:0]), .y(narrow));
  assign y[3] = 32'(narrow);
endmodule
"""


@pytest.fixture
def design(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of RTL in place of the accelerator's."""
    pytest.importorskip("pyosys", reason="pip install 'gearshift[fpga]'")
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(estimate, "rtl_folders", lambda: (tmp_path, tmp_path))
    return tmp_path


def test_multipliers_are_counted_by_instance_and_made_once(design: Path) -> None:
    (design / "leaf.sv").write_text(LEAF)
    (design / "top.sv").write_text(TOP)
    found = synthesise(ZCU104.build, "top")
    assert found.total.dsp == 4
    leaves = [one for one in found.modules if one.name == "leaf"]
    assert sorted(one.instances for one in leaves) == [1, 3], "of 16 bits and of 8"
    assert all(one.usage.dsp == 1 for one in leaves)
    assert found.total.uram == found.total.bram == 0
    assert synthesise(ZCU104.build, "top") == found, "from the cache"


@pytest.mark.parametrize(
    ("style", "depth", "bram", "uram"), [("block", 2048, 4, 0), ("ultra", 16384, 0, 4)]
)
def test_memories_go_where_their_style_says(
    design: Path, style: str, depth: int, bram: float, uram: int
) -> None:
    text = MEMORY.replace("STYLE", style).replace("DEPTH", str(depth))
    if depth == 2048:
        text = text.replace("[13:0] place", "[10:0] place")
    (design / "memory.sv").write_text(text)
    total = synthesise(ZCU104.build, "memory").total
    assert (total.bram, total.uram) == (bram, uram)


@pytest.mark.parametrize(("bits", "dsp"), [((27, 18), 1), ((28, 18), 2), ((4, 2), 0)])
def test_a_slice_multiplies_27_times_18_bits(design: Path, bits: tuple[int, int], dsp: int) -> None:
    a, b = bits
    (design / "product.sv").write_text(
        f"module product (input logic clock, input logic signed [{a - 1}:0] a,\n"
        f"    input logic signed [{b - 1}:0] b, output logic signed [{a + b - 1}:0] y);\n"
        "  always_ff @(posedge clock) y <= a * b;\nendmodule\n"
    )
    total = synthesise(ZCU104.build, "product").total
    assert total.dsp == dsp
    assert (total.ff == 0) == (dsp == 1), "the slice's own registers are free"


@pytest.mark.parametrize(("bits", "luts"), [(6, 1), (7, 2)])
def test_the_path_is_the_longest_between_registers(design: Path, bits: int, luts: int) -> None:
    """A xor of six bits is one LUT, one of seven takes another behind it."""
    (design / "parity.sv").write_text(
        f"module parity (input logic clock, input logic [{bits - 1}:0] d, output logic q);\n"
        f"  logic [{bits - 1}:0] held;\n"
        "  always_ff @(posedge clock) begin\n    held <= d;\n    q <= ^held;\n  end\nendmodule\n"
    )
    found = synthesise(ZCU104.build, "parity")
    assert found.modules[0].levels == found.total.lut == luts
    assert found.total.ff == bits + 1


def test_a_module_is_kept_wherever_in_a_design_it_is(
    design: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (design / "leaf.sv").write_text(LEAF)
    (design / "top.sv").write_text(TOP)
    wanted = synthesise(ZCU104.build, "top")
    pins = ".clock, .a, .b, .y"
    (design / "outer.sv").write_text(
        "module outer (input logic clock, input logic signed [15:0] a[4], b[4],\n"
        f"    output logic signed [31:0] y[4]);\n  top held ({pins});\nendmodule\n"
    )
    done: list[str] = []

    def note(texts: dict[str, str], stubs: dict[str, str]) -> dict[str, Own]:
        done.extend(map(kind_of, texts))
        return map_modules(texts, stubs)

    monkeypatch.setattr("gearshift_hls.synthesis.design.map_modules", note)
    found = synthesise(ZCU104.build, "outer")
    assert done == ["outer"]
    assert found.total.dsp == wanted.total.dsp


def test_cells_that_no_table_has(design: Path) -> None:
    (design / "latch.sv").write_text(
        "module latch (input logic open, d, output logic q);\n"
        "  always_latch if (open) q = d;\nendmodule\n"
    )
    with pytest.raises(BackendError, match="latch: Yosys made cells that no table has: LDCE"):
        synthesise(ZCU104.build, "latch")


def test_modules_that_are_mapped_in_one_run_do_not_hold_each_other(design: Path) -> None:
    (design / "leaf.sv").write_text(LEAF)
    (design / "top.sv").write_text(TOP)
    written = design / "design.il"
    sources = [design / "leaf.sv", design / "top.sv"]
    run_passes([*read_passes("top", sources), f"write_rtlil {written}"])
    hierarchy = unify(written.read_text(), "top")
    assert sorted(hierarchy.heights.values()) == [0, 0, 1]
    assert hierarchy.heights[hierarchy.top] == 1


def test_equal_modules_become_one(design: Path) -> None:
    (design / "leaf.sv").write_text(LEAF)
    (design / "top.sv").write_text(TOP)
    written = design / "design.il"
    sources = [design / "leaf.sv", design / "top.sv"]
    run_passes([*read_passes("top", sources), f"write_rtlil {written}"])
    hierarchy = unify(written.read_text(), "top")
    assert sorted(hierarchy.children[hierarchy.top].values()) == [1, 3]
    assert len(hierarchy.texts) == 3


def test_rtl_that_cannot_be_read(design: Path) -> None:
    (design / "broken.sv").write_text(
        "module broken (output logic x);\n  assign x = ;\nendmodule\n"
    )
    with pytest.raises(BackendError, match=r"Yosys failed(.|\n)*broken\.sv"):
        synthesise(ZCU104.build, "broken")


@pytest.mark.slow
def test_the_default_build_takes_no_more_than_the_target_of_its_board() -> None:
    pytest.importorskip("pyosys", reason="pip install 'gearshift[fpga]'")
    found = synthesise(ZCU104.build)
    shares = synth_estimate.shares(found, ZCU104)
    assert {kind: share for kind, share in shares.items() if share > synth_estimate.TARGET} == {}
    assert min(shares.values()) > 0.1, "all of it was counted"
    (array,) = (one for one in found.modules if one.name == "array")
    multiplications = ZCU104.build.input_lanes * ZCU104.build.output_lanes
    assert array.usage.dsp == multiplications / 2


def found(**changes: int) -> Synthesis:
    usage = {"lut": 100_000, "ff": 1000, "dsp": 1000, "bram": 10.5, "uram": 32} | changes
    top = Module("accelerator", "", 0, 1, Usage("accelerator", **usage), 9)
    unit = Module("norm", "norm_unit", 1, 1, Usage("norm", 90_000, 900, 900, 10.5, 0), 9)
    deep = Module("delay", "norm_unit.late", 3, 2, Usage("delay", 5, 5, 0, 0, 0), 1)
    return Synthesis(ZCU104.build, [top, unit, deep])


def test_the_command_tells_shares_and_what_is_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(estimate, "synthesise", lambda _: found(dsp=1300))
    assert main(["synth", "estimate"]) == 0
    text = capsys.readouterr().out
    assert "estimated by Yosys, not placed and routed" in text
    assert "over: DSP" in text
    assert "norm" in text
    assert "delay" not in text
    monkeypatch.setattr(estimate, "synthesise", lambda _: found())
    assert main(["synth", "estimate", "--all", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["total"]["lut"] == 100_000
    assert document["shares"]["lut"] == pytest.approx(100_000 / 230_400)
    assert set(document["shares"]) == set(KINDS)
    assert [one["name"] for one in document["modules"]] == ["accelerator", "norm", "delay"]
    assert document["target_share"] == synth_estimate.TARGET
