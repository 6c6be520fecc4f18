"""Reports in the layout that AMD documents, written for these tests: no vendor tool wrote them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gearshift.errors import BackendError, InputError
from gearshift_hls.board import ZCU104
from gearshift_hls.commands import synth_report
from gearshift_hls.project.csynth import read_csynth
from gearshift_hls.project.register_map import (
    HEADER,
    check_registers,
    differences,
    expected,
    read_header,
)
from gearshift_hls.project.report import problems, read_report, report_lines
from gearshift_hls.project.usage import Usage
from gearshift_hls.project.vivado_reports import (
    Timing,
    read_hierarchy,
    read_timing,
    read_utilization,
)

CSYNTH = """\
<?xml version="1.0" encoding="UTF-8"?>
<profile>
  <ReportVersion><Version>2024.1</Version></ReportVersion>
  <UserAssignments>
    <unit>ns</unit>
    <ProductFamily>zynquplus</ProductFamily>
    <Part>xczu7ev-ffvc1156-2-e</Part>
    <TopModelName>gearshift</TopModelName>
    <TargetClockPeriod>3.33</TargetClockPeriod>
    <ClockUncertainty>0.90</ClockUncertainty>
  </UserAssignments>
  <PerformanceEstimates>
    <SummaryOfTimingAnalysis>
      <unit>ns</unit><EstimatedClockPeriod>2.431</EstimatedClockPeriod>
    </SummaryOfTimingAnalysis>
    <SummaryOfOverallLatency>
      <Best-caseLatency>undef</Best-caseLatency>
      <Worst-caseLatency>undef</Worst-caseLatency>
    </SummaryOfOverallLatency>
  </PerformanceEstimates>
  <AreaEstimates>
    <Resources>
      <BRAM_18K>301</BRAM_18K><DSP>1100</DSP><FF>150000</FF><LUT>{lut}</LUT><URAM>64</URAM>
    </Resources>
    <AvailableResources>
      <BRAM_18K>624</BRAM_18K><DSP>1728</DSP><FF>460800</FF><LUT>230400</LUT><URAM>96</URAM>
    </AvailableResources>
  </AreaEstimates>
  <ModuleInformation>
    <Module>
      <Name>run_pass</Name>
      <AreaEstimates>
        <Resources>
          <BRAM_18K>7</BRAM_18K><DSP>1024</DSP><FF>90000</FF><LUT>70000</LUT><URAM>0</URAM>
        </Resources>
      </AreaEstimates>
    </Module>
    <Module>
      <Name>gearshift</Name>
      <AreaEstimates>
        <Resources>
          <BRAM_18K>301</BRAM_18K><DSP>1100</DSP><FF>150000</FF><LUT>{lut}</LUT><URAM>64</URAM>
        </Resources>
      </AreaEstimates>
    </Module>
  </ModuleInformation>
</profile>
"""

UTILIZATION = """\
| Tool Version : Vivado v.2024.1 (lin64)
| Device       : xczu7ev-ffvc1156-2-e
| Design State : Routed

1. CLB Logic
------------

+----------------------------+--------+-------+------------+-----------+-------+
|          Site Type         |  Used  | Fixed | Prohibited | Available | Util% |
+----------------------------+--------+-------+------------+-----------+-------+
| CLB LUTs*                  | {lut} |     0 |          0 |    230400 | 41.23 |
|   LUT as Logic             |  90001 |     0 |          0 |    230400 | 39.06 |
| CLB Registers              | 140002 |     0 |          0 |    460800 | 30.38 |
|   Register as Flip Flop    | 140002 |     0 |          0 |    460800 | 30.38 |
+----------------------------+--------+-------+------------+-----------+-------+
* Warning! The Final LUT count, after physical optimizations, is typically lower.

3. BLOCKRAM
-----------

+-------------------+-------+-------+------------+-----------+-------+
|     Site Type     |  Used | Fixed | Prohibited | Available | Util% |
+-------------------+-------+-------+------------+-----------+-------+
| Block RAM Tile    | 150.5 |     0 |          0 |       312 | 48.24 |
|   RAMB36/FIFO*    |   150 |     0 |          0 |       312 | 48.08 |
|   RAMB18          |     1 |     0 |          0 |       624 |  0.16 |
| URAM              |    64 |     0 |          0 |        96 | 66.67 |
+-------------------+-------+-------+------------+-----------+-------+

4. ARITHMETIC
-------------

+----------------+------+-------+------------+-----------+-------+
|    Site Type   | Used | Fixed | Prohibited | Available | Util% |
+----------------+------+-------+------------+-----------+-------+
| DSPs           | 1101 |     0 |          0 |      1728 | 63.72 |
|   DSP48E2 only | 1101 |       |            |           |       |
+----------------+------+-------+------------+-----------+-------+

7. Primitives
-------------

| Ref Name | Used | Functional Category |
| DSPs     | 9999 |          Arithmetic |
"""

HIERARCHY = """\
1. Utilization by Hierarchy
---------------------------

+----------------+----------------+------------+------------+---------+------+--------+--------+--------+------+------------+
|    Instance    |     Module     | Total LUTs | Logic LUTs | LUTRAMs | SRLs |   FFs  | RAMB36 | RAMB18 | URAM | DSP Blocks |
+----------------+----------------+------------+------------+---------+------+--------+--------+--------+------+------------+
| system_wrapper |          (top) |      95000 |      90001 |    4000 |  999 | 140002 |    150 |      1 |   64 |       1101 |
|   system_i     |         system |      95000 |      90001 |    4000 |  999 | 140002 |    150 |      1 |   64 |       1101 |
|     gearshift_0 | system_core_0 | 80000(35%) |      76000 |    3500 |  500 | 120000 |    140 |      1 |   64 |       1100 |
|     reset      |   system_reset |         20 |         20 |       0 |    0 |     40 |      0 |      0 |    0 |          0 |
+----------------+----------------+------------+------------+---------+------+--------+--------+--------+------+------------+
"""  # noqa: E501

TIMING = """\
------------------------------------------------------------------------------------------------
| Design Timing Summary
| ---------------------
------------------------------------------------------------------------------------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)
    -------      -------  ---------------------  -------------------      -------      -------
     {wns}        0.000                      0               351234        0.010        0.000


All user specified timing constraints are met.
"""

Write = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> Write:
    """A project's folder with the reports of the steps that were run."""

    def write(lut: int = 95_000, wns: str = "0.012", hls: bool = True, routed: bool = True) -> Path:
        (tmp_path / "project.toml").write_text('board = "zcu104"\n')
        report = tmp_path / "build" / "hls" / "hls" / "syn" / "report"
        drivers = tmp_path / "build" / "hls" / "hls" / "impl" / "drivers"
        reports = tmp_path / "build" / "reports"
        if hls:
            report.mkdir(parents=True)
            drivers.mkdir(parents=True)
            (report / "csynth.xml").write_text(CSYNTH.format(lut=lut))
            (drivers / HEADER).write_text(header(expected()))
        if routed:
            reports.mkdir(parents=True)
            (reports / "utilization.rpt").write_text(UTILIZATION.format(lut=lut))
            (reports / "hierarchy.rpt").write_text(HIERARCHY)
            (reports / "timing.rpt").write_text(TIMING.format(wns=wns))
        return tmp_path

    return write


def header(values: dict[str, int]) -> str:
    lines = [
        "// control",
        "// 0x00 : Control signals",
        *(
            f"#define XGEARSHIFT_TOP_CONTROL_{name:<24} {value:#04x}"
            for name, value in values.items()
        ),
        "",
    ]
    return "\n".join(lines)


def test_hls_estimates(project: Write) -> None:
    found = read_csynth(project() / "build/hls/hls/syn/report/csynth.xml")
    assert (found.part, found.target_ns, found.estimated_ns) == (ZCU104.part, 3.33, 2.431)
    assert found.total == Usage("gearshift", 95_000, 150_000, 1_100, 150.5, 64)
    assert found.modules[0] == Usage("run_pass", 70_000, 90_000, 1_024, 3.5, 0)


def test_routed_usage_and_slack(project: Write) -> None:
    reports = project() / "build" / "reports"
    assert read_utilization(reports / "utilization.rpt") == Usage(
        "design", 95_000, 140_002, 1_101, 150.5, 64
    )
    instances = read_hierarchy(reports / "hierarchy.rpt")
    assert [(each.depth, each.usage.name) for each in instances] == [
        (0, "system_wrapper"),
        (1, "system_i"),
        (2, "gearshift_0"),
        (2, "reset"),
    ]
    assert instances[2].usage == Usage("gearshift_0", 80_000, 120_000, 1_100, 140.5, 64)
    assert read_timing(reports / "timing.rpt") == Timing(0.012, 0.010)


def test_the_table_holds_everything_against_the_budget(project: Write) -> None:
    report = read_report(project())
    assert problems(report) == []
    text = "\n".join(report_lines(report))
    rows = [line.split() for line in text.splitlines()]
    assert ["budget", "230400", "460800", "1728", "312", "96"] in rows
    assert ["taken", "41%", "30%", "64%", "48%", "67%"] in rows
    assert ["run_pass", "70000", "90000", "1024", "3.5", "0"] in rows
    assert ["gearshift_0", "80000", "120000", "1100", "140.5", "64"] in rows
    assert not any(row[:1] == ["reset"] for row in rows)
    assert "slack: setup 0.012 ns, hold 0.01 ns: met" in text
    # 1 / (3.333 ns - 0.012 ns)
    assert "301 MHz" in text
    assert "register map: agrees with the driver" in text


def test_what_does_not_fit_is_named_and_is_an_error(
    project: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project(lut=230_401, wns="-0.250")
    assert problems(read_report(folder)) == [
        "HLS estimates LUT 230401 of 230400",
        "the routed design takes LUT 230401 of 230400",
        "setup slack -0.25 ns",
    ]
    arguments = synth_report.argparse.Namespace(folder=folder)
    with pytest.raises(BackendError, match=r"cannot run this: .*setup slack -0\.25 ns"):
        synth_report.run(arguments)
    # 1 / (3.333 ns + 0.25 ns)
    assert "NOT MET\nthe longest path would allow 279 MHz" in capsys.readouterr().out


def test_steps_that_were_not_run_say_so(project: Write) -> None:
    lines = report_lines(read_report(project(routed=False)))
    assert lines[-1] == "placement and routing: not run"


def test_no_step_at_all_is_an_error(project: Write) -> None:
    with pytest.raises(BackendError, match=r"has no report yet: run make -C .* hls"):
        read_report(project(hls=False, routed=False))


def test_a_folder_without_a_project_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no project"):
        read_report(tmp_path)


def test_the_newest_synthesis_counts(project: Write) -> None:
    folder = project()
    older = folder / "build" / "elsewhere" / "csynth.xml"
    older.parent.mkdir()
    older.write_text("<broken")
    os.utime(older, (1, 1))
    assert read_report(folder).synthesis is not None


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("csynth.xml", lambda text: text[:900], "csynth.xml is damaged"),
        ("csynth.xml", lambda text: "", "csynth.xml is damaged"),
        ("csynth.xml", lambda text: text.replace("URAM", "X"), "has no AreaEstimates/.*/URAM"),
        ("csynth.xml", lambda text: text.replace("2.431", "soon"), "'soon', no number"),
        ("utilization.rpt", lambda text: "", "has no row 'CLB LUTs'"),
        ("utilization.rpt", lambda text: text.replace("| DSPs ", "| "), "has no row 'DSPs'"),
        ("utilization.rpt", lambda text: text.replace("150.5", "many"), "'many' is no number"),
        ("hierarchy.rpt", lambda text: text[:100], "has no table by instance"),
        ("hierarchy.rpt", lambda text: text.replace("URAM", "GRAM"), "has no column 'URAM'"),
        ("hierarchy.rpt", lambda text: text.replace("  20 |", "  ? |"), r"'\?' is no number"),
        ("timing.rpt", lambda text: text[:300], "has no design timing summary"),
        ("timing.rpt", lambda text: text.split("    -------")[0], "'nothing' is no number"),
        ("timing.rpt", lambda text: text.replace("0.012", "NA"), "'NA' is no number"),
        (HEADER, lambda text: "", "defines no register"),
    ],
)  # fmt: skip
def test_a_damaged_report_is_named_with_its_remedy(
    project: Write, name: str, change: Callable[[str], str], message: str
) -> None:
    folder = project()
    (file,) = folder.rglob(name)
    file.write_text(change(file.read_text()))
    with pytest.raises(BackendError, match=rf"{name}.*run make") as caught:
        read_report(folder)
    caught.match(message)


@pytest.mark.parametrize("name", ["utilization.rpt", "hierarchy.rpt", "timing.rpt"])
def test_a_missing_report_is_named_with_its_remedy(project: Write, name: str) -> None:
    folder = project()
    (folder / "build" / "reports" / name).unlink()
    with pytest.raises(BackendError, match=rf"{name} cannot be read .*run make bitstream"):
        read_report(folder)


def test_registers_that_agree(project: Write) -> None:
    (file,) = project().rglob(HEADER)
    assert read_header(file) == expected()
    check_registers(file)


def test_registers_that_differ_are_all_listed(tmp_path: Path) -> None:
    values = {**expected(), "ADDR_MEMORY_DATA": 0x4C, "BITS_PROGRAM_DATA": 64, "ADDR_MODE": 0x70}
    del values["ADDR_AP_RETURN"]
    (tmp_path / HEADER).write_text(header(values))
    assert differences(values) == [
        "ADDR_AP_RETURN: none in hardware, 0x10 in the driver",
        "ADDR_MEMORY_DATA: 0x4c in hardware, 0x48 in the driver",
        "ADDR_MODE: 0x70 in hardware, none in the driver",
        "BITS_PROGRAM_DATA: 0x40 in hardware, 0x20 in the driver",
    ]
    with pytest.raises(BackendError, match=r"ADDR_AP_RETURN.*ADDR_MEMORY_DATA.*BITS_PROGRAM_DATA"):
        check_registers(tmp_path / HEADER)


def test_half_a_block_ram_over_the_budget_is_over(project: Write) -> None:
    report = read_report(project())
    assert report.routed is not None
    total = replace(report.routed.total, bram=312.5)
    report = replace(report, routed=replace(report.routed, total=total))
    assert problems(report) == ["the routed design takes BRAM 312.5 of 312"]
