"""The generated files are those of the contract, and say what it says."""

from __future__ import annotations

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from gearshift_hls import fixed_point as fp
from gearshift_hls import generate
from gearshift_hls.build import SMALL_BUILD
from gearshift_hls.descriptor import COMMANDS, Linear, Status
from gearshift_hls.languages.markdown import documentation
from gearshift_hls.languages.verilog import package

from ..simulation.compiled_units import COMPILER, HLS


def test_the_files_of_the_checkout_are_fresh() -> None:
    assert generate.FOLDER == HLS / "generated"
    for name, text in generate.files().items():
        assert (generate.FOLDER / name).read_text() == text, "run python -m gearshift_hls.generate"
    assert {each.name for each in generate.FOLDER.iterdir()} == set(generate.files())
    assert generate.main(["--check"]) == 0


def test_stale_files_are_found_and_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path / "generated")
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    header = tmp_path / "generated" / "contract.h"
    header.write_text(header.read_text().replace("Linear = 2", "Linear = 3"))
    capsys.readouterr()
    assert generate.main(["--check"]) == 1
    assert "contract.h is stale" in capsys.readouterr().out
    assert "Linear = 3" in header.read_text()


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler here")
def test_the_header_says_what_python_says(tmp_path: Path) -> None:
    """A program of assertions, all at compile time, in the oldest C++ that Vitis takes."""
    text = ['#include "contract.h"', "using namespace gearshift;"]

    def claim(expression: str, value: int) -> None:
        text.append(f'static_assert({expression} == {value}u, "{expression}");')

    for command in COMMANDS:
        claim(f"std::uint32_t(Opcode::{command.__name__})", command.opcode)
        for word, each in enumerate(fields(command), 1):
            claim(f"{command.__name__.lower()}::{each.name}", word)
    for status in Status:
        claim(f"std::uint32_t(Status::{status.name})", status)
    for each in fields(SMALL_BUILD):
        claim(f"SmallBuild::{each.name}", getattr(SMALL_BUILD, each.name))
    claim("SmallBuild::channel_multiple", 16)
    claim("head_record::output_shift", 6)
    claim("registers::write_base", 0x5C)
    for name in ("GELU_TABLE", "POWER_TABLE", "ROOT_TABLE"):
        table = getattr(fp, name)
        claim(f"sizeof({name}) / sizeof({name}[0])", len(table))
        for place, value in enumerate(table.tolist()):
            claim(f"{name}[{place}]", value)
    source = tmp_path / "claims.cpp"
    source.write_text("\n".join(text))
    flags = ["-std=c++14", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-sign-compare", "-Werror"]
    done = subprocess.run(
        [COMPILER, *flags, f"-I{generate.FOLDER}", source], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_package_has_every_name_once() -> None:
    text = package()
    names = re.findall(r"^  localparam (?:int unsigned|logic \[\d+:0\]|build_t) (\w+)", text, re.M)
    names += re.findall(r"^    (\w+) = \d+,?$", text, re.M)
    assert len(names) == len(set(names))
    assert {"WORD_LINEAR_GELU_SHIFT", "OP_RESIZE", "STATUS_BAD_QUEUE", "ZCU104_BUILD"} <= set(names)
    entries = re.search(r"ROOT_TABLE \[193\] = '\{(.*?)\};", text, re.S)
    assert entries is not None
    values = [int(each.split("'d")[1]) for each in entries[1].split(",")]
    assert values == fp.ROOT_TABLE.tolist()


def test_the_documentation_names_every_field() -> None:
    text = documentation()
    for word, each in enumerate(fields(Linear), 1):
        assert f"| {word} | `{each.name}` |" in text
    assert "| 0x5c | `write_base` |" in text
    assert "| `max_tokens` | 2,048 | 128 |" in text
