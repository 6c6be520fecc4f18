"""Backend zcu104: its options, its absence, and whole programs over a fake PYNQ."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gearshift.backends import Options, load_backend
from gearshift.errors import BackendError
from gearshift_hls import golden
from gearshift_hls.backends import accelerated
from gearshift_hls.board import ZCU104
from gearshift_hls.bundle import Bundle
from gearshift_hls.compile import compile_bundle
from gearshift_hls.host import pack_picture, unpack_result

from ..driver.fake_board import FakeBoard
from ..driver.fake_pynq import FakePynq, make_overlay
from ..quantise.quantised_models import ModelMaker, run_alone
from .fake_program import program

MODEL = Path("model.gs")


def test_away_from_the_board_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynq", None)
    with pytest.raises(BackendError, match="run on the board, or use backend fpga-sim"):
        load_backend("zcu104", Options(MODEL, "int8"))


@pytest.mark.parametrize("backend", ["zcu104", "fpga-sim"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(MODEL), "runs int8 only, not float32"),
        (Options(MODEL, "int8", threads=1), "has no threads, but was asked for 1"),
        (Options(MODEL, "int8", memory=1 << 20), "takes no budget"),
        (
            Options(MODEL, "int8", approximate=frozenset({"softmax", "gelu"})),
            "from its tables, but was asked to approximate gelu, softmax: leave it out",
        ),
    ],
)
def test_options_that_mean_nothing_are_refused_first(
    backend: str, options: Options, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a compiler runs or a board is looked for."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pynq", None)
    with pytest.raises(BackendError, match=f"backend {backend} .*{message}"):
        load_backend(backend, options)


def test_it_runs_programs_on_the_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_overlay(tmp_path, monkeypatch)
    board = FakeBoard(partial(golden.run, ZCU104.build), ticks=2)
    monkeypatch.setitem(sys.modules, "pynq", FakePynq(board))
    tasks = ModelMaker(seed=3, build=ZCU104.build, blocks=4, true_channels=30).make()

    def open_bundle(folder: Path, *key: Any) -> Bundle:
        assert (folder, *key) == (MODEL, ZCU104, 6, 8)
        return compile_bundle("model", ZCU104, tasks)

    monkeypatch.setattr(accelerated, "open_bundle", open_bundle)
    backend = load_backend("zcu104", Options(MODEL, "int8"))
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 3, 6, 8)).astype(np.float32)
    for task in tasks:
        compiled = backend.compile(program(task.task_card.name))
        output = compiled.run(pictures)
        entry = compile_bundle("model", ZCU104, tasks).tasks[task.task_card.name]
        for picture, result in zip(pictures, output, strict=True):
            data, _ = run_alone(task, ZCU104.build, pack_picture(picture, entry))
            np.testing.assert_array_equal(result, unpack_result(data, entry))
        stats = compiled.stats
        assert stats.backend == "zcu104 (pynq 9.9, polled)"
        assert stats.tokens_per_expert is not None
        tokens = 2 * 13 * 2  # pictures, tokens, top_k
        assert [sum(counts) for counts in stats.tokens_per_expert.values()] == [tokens] * 2
