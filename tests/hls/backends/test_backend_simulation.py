"""Backend fpga-sim from a graph to a result: quantiser, compiler, driver and the C simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gearshift import Session
from gearshift.cli import main
from gearshift.errors import BackendError
from gearshift.graph import write_artifact
from gearshift_hls import golden
from gearshift_hls.board import ZCU104
from gearshift_hls.bundle import Bundle
from gearshift_hls.compile.cache import open_bundle
from gearshift_hls.host import pack_picture, unpack_result
from gearshift_hls.simulation import Simulation

from ...engine.conftest import GraphMaker

HEIGHT, WIDTH = 24, 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """An artifact of random weights, and its bundle, calibrated on random pictures."""
    # Compiled once for all tests, in the cache that is there: the one below begins empty.
    Simulation(ZCU104.build)
    folder = tmp_path_factory.mktemp("model")
    write_artifact(GraphMaker(seed=2, biased=True).make(), folder / "random.gs")
    random = np.random.default_rng(5)
    (folder / "pictures").mkdir()
    for number in range(4):
        pixels = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEARSHIFT_CACHE", str(folder / "cache"))
        artifact = folder / "random.gs"
        return artifact, open_bundle(artifact, ZCU104, HEIGHT, WIDTH, folder / "pictures")


@pytest.fixture(autouse=True)
def _its_cache(model: tuple[Path, Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARSHIFT_CACHE", str(model[0].parent / "cache"))
    monkeypatch.delenv("GEARSHIFT_BACKEND", raising=False)


def expected(bundle: Bundle, task: str, picture: np.ndarray) -> np.ndarray:
    """What the golden model makes of the picture."""
    program = bundle.tasks[task]
    memory = np.full(bundle.memory_bytes, 0x5A, np.uint8)
    memory[: bundle.write_base] = bundle.constants
    packed = pack_picture(picture, program).reshape(-1)
    start = program.input_place.address
    memory[start : start + packed.size] = packed
    ending = golden.run(ZCU104.build, memory, bundle.write_base, program.program)
    assert ending == golden.Ending(golden.Status.DONE, program.descriptors - 1)
    start = program.output_place.address
    data = memory[start : start + program.output_place.tensor.nbytes]
    return unpack_result(data, program)


def pictures(number: int) -> np.ndarray:
    random = np.random.default_rng(7)
    return random.normal(size=(number, 3, HEIGHT, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("precision", [None, "int8"])
def test_every_task_is_bit_equal_with_the_golden_model(
    model: tuple[Path, Bundle], precision: str | None
) -> None:
    artifact, bundle = model
    session = Session(artifact, "fpga-sim", precision)  # type: ignore[arg-type]
    batch = pictures(2)
    for task in session.tasks:
        output = session.run_normalised(batch, task)
        program = session.program(task, 2)
        assert output.shape == program.values[program.output].shape
        for picture, result in zip(batch, output, strict=True):
            np.testing.assert_array_equal(result, expected(bundle, task, picture))
        assert output.std() > 0


def test_stats_tell_experts_and_bytes(model: tuple[Path, Bundle]) -> None:
    session, plain = Session(model[0], "fpga-sim"), Session(model[0], "torch")
    for one in (session, plain):
        one.run_normalised(pictures(1), "depth")
    stats, reference = session.stats, plain.stats
    assert stats.backend.startswith("fpga-sim ")
    assert "simulation" in stats.backend
    assert stats.tokens_per_expert is not None
    assert reference.tokens_per_expert is not None
    assert stats.tokens_per_expert.keys() == reference.tokens_per_expert.keys()
    tokens, top_k = 1 + 3 * 5, 2
    for counts in stats.tokens_per_expert.values():
        assert (len(counts), sum(counts)) == (5, tokens * top_k)
    assert stats.weight_bytes is not None
    assert 0 < stats.weight_bytes < model[1].write_base


def test_the_command_line_runs_it(
    model: tuple[Path, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact, _ = model
    photo = artifact.parent / "pictures" / "0.png"
    chosen = ["--model", str(artifact), "--backend", "fpga-sim", "--json"]
    assert main(["run", str(photo), "--task", "depth", *chosen]) == 0
    (row,) = json.loads(capsys.readouterr().out)["tasks"]
    assert row["backend"].startswith("fpga-sim ")
    session = Session(artifact, "fpga-sim")
    raw = session.run(Image.open(photo), "depth").raw
    assert row["result"]["farthest"] == float(raw.max())


def test_float32_and_other_wiring_are_refused(model: tuple[Path, Bundle], tmp_path: Path) -> None:
    session = Session(model[0], "fpga-sim", precision="float32")
    with pytest.raises(BackendError, match="backend fpga-sim runs int8 only, not float32"):
        session.run_normalised(pictures(1), "depth")
    write_artifact(GraphMaker(patch=8, stages=2).make(), tmp_path / "resized.gs")
    session = Session(tmp_path / "resized.gs", "fpga-sim")
    with pytest.raises(BackendError, match=r"fpga-sim cannot run task depth: .*resize_bilinear"):
        session.run_normalised(pictures(1), "depth")
