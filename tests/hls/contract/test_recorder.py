"""The trace of a golden run: every intermediate, once, under its node's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gearshift_hls import golden
from gearshift_hls.build import SMALL_BUILD
from gearshift_hls.descriptor import Attention
from gearshift_hls.recorder import Recorder

from .random_programs import make_program


def test_every_intermediate_is_kept_under_its_own_name(tmp_path: Path) -> None:
    program = make_program(SMALL_BUILD, [Attention], seed=3)
    told: list[tuple[int, str, np.ndarray]] = []
    recorder = Recorder(["heads"])

    def both(number: int, name: str, values: np.ndarray) -> None:
        told.append((number, name, values.copy()))
        recorder(number, name, values)

    golden.run(SMALL_BUILD, program.memory.copy(), program.write_base, program.address, trace=both)
    assert len(recorder.values) == len(told) > 1
    for (number, name, values), (label, kept) in zip(told, recorder.values.items(), strict=True):
        assert label.startswith(f"{number} heads {name}")
        np.testing.assert_array_equal(kept, values)
    recorder.save(tmp_path / "trace.npz")
    with np.load(tmp_path / "trace.npz") as saved:
        assert set(saved.files) == set(recorder.values)
        np.testing.assert_array_equal(saved["0 heads y"], recorder.values["0 heads y"])
