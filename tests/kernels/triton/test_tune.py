"""Choosing tiles with a made-up clock, and the file that keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from triton.runtime.errors import OutOfResources

from gearshift_kernels.triton.launch import Launch, Tiles
from gearshift_kernels.triton.tune import Measurement, read_tuned, tune, tuned_file, write_tuned


def tiles(block: int) -> Tiles:
    return Tiles({"BLOCK": block}, warps=4, stages=2)


class Kernel:
    """Takes BLOCK seconds, unless it fails."""

    def __init__(self, errors: dict[int, Exception] | None = None) -> None:
        self.errors = errors or {}
        self.ran: list[int] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(BLOCK: int, **_: Any) -> None:
            self.ran.append(BLOCK)
            if BLOCK in self.errors:
                raise self.errors[BLOCK]

        return launch


def launch_of(kernel: Kernel, key: str = "k 1", block: int = 64, programs: int = 1) -> Launch:
    return Launch(key, kernel, lambda _: (programs,), {}, {}, tiles(block))


def ready(launch: Launch) -> None:
    """The inputs are as they should be."""


def clock(kernel: Kernel) -> Callable[[Callable[[], None]], float]:
    """The time of a run: its block size."""

    def measure(run: Callable[[], None]) -> float:
        run()
        return float(kernel.ran[-1])

    return measure


def test_the_fastest_candidate_is_chosen_for_each_key() -> None:
    kernel, prepared = Kernel(), []
    launches = [launch_of(kernel), launch_of(kernel, "k 2", block=16), launch_of(kernel)]
    found = tune(
        launches,
        lambda _: [tiles(64), tiles(32)],
        clock(kernel),
        lambda launch: prepared.append(launch.key),
    )
    assert found == [Measurement("k 1", tiles(32), 32, 64), Measurement("k 2", tiles(16), 16, 16)]
    assert kernel.ran == [64, 32, 16, 64, 32]
    assert prepared == ["k 1", "k 2"]


def test_equal_times_keep_what_was_there() -> None:
    kernel = Kernel()
    same = Tiles({"BLOCK": 64}, warps=8)
    (found,) = tune([launch_of(kernel)], lambda _: [same], clock(kernel), ready)
    assert found.tiles == tiles(64)


@pytest.mark.parametrize(
    "error", [OutOfResources(2, 1, "shared memory"), RuntimeError("PassManager::run failed")]
)
def test_candidates_that_cannot_run_are_passed_over(error: Exception) -> None:
    kernel = Kernel({64: error, 16: error})
    (found,) = tune([launch_of(kernel)], lambda _: [tiles(32), tiles(16)], clock(kernel), ready)
    assert found == Measurement("k 1", tiles(32), 32, None)
    assert tune([launch_of(Kernel({64: error}))], lambda _: [], clock(kernel), ready) == []


def test_other_errors_of_the_card_end_the_tuning() -> None:
    kernel = Kernel({64: RuntimeError("an illegal memory access was encountered")})
    with pytest.raises(RuntimeError, match="illegal memory"):
        tune([launch_of(kernel)], lambda _: [], clock(kernel), ready)


def test_a_launch_without_work_is_not_measured() -> None:
    kernel = Kernel()
    assert tune([launch_of(kernel, programs=0)], lambda _: [], clock(kernel), ready) == []
    assert kernel.ran == []


CARD = "NVIDIA H100 80GB HBM3"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tuned_file(tmp_path / "tiles", "sm_90", CARD)
    write_tuned(path, "sm_90", CARD, {"k 2": tiles(32), "k 1": tiles(64)})
    return path


def test_what_was_written_is_read(written: Path) -> None:
    assert written.name == "sm_90-nvidia-h100-80gb-hbm3.json"
    assert read_tuned(written) == {"k 1": tiles(64), "k 2": tiles(32)}
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_no_file_is_no_tiles(tmp_path: Path) -> None:
    assert read_tuned(tmp_path / "none.json") == {}


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("format",), 2, "format is 2, not 1"),
        (("card",), "A100", "for a A100"),
        (("target",), "sm_80", r"\(sm_80\)"),
        (("target",), None, "NoneType|None"),
        (("tiles",), [], "items"),
        (("tiles", "k 1"), 5, "subscriptable"),
        (("tiles", "k 1", "blocks"), {"BLOCK": 48}, "BLOCK is 48, not a power of two"),
        (("tiles", "k 1", "blocks"), {"BLOCK": 1 << 20}, "BLOCK is 1048576"),
        (("tiles", "k 1", "blocks"), {"BLOCK": "64"}, "BLOCK is '64'"),
        (("tiles", "k 1", "warps"), 0, "warps is 0"),
        (("tiles", "k 1", "warps"), True, "warps is True"),
        (("tiles", "k 1", "stages"), 99, "stages are 99"),
    ],
)
def test_a_damaged_file_is_one_clear_error(
    written: Path, place: tuple[str, ...], value: Any, words: str
) -> None:
    content = json.loads(written.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    written.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=words) as error:
        read_tuned(written)
    assert str(error.value).startswith(f"tuned tiles {written}: ")
    assert str(error.value).endswith("delete the file and tune again")


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", '{"format": 1}', "\xff", "[" * 9999])
def test_a_foreign_file_is_one_clear_error(written: Path, text: str) -> None:
    written.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"tuned tiles .*delete the file"):
        read_tuned(written)


def test_a_file_that_cannot_be_finished_leaves_the_old_one(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_tuned(written, "sm_90", CARD, {})
    monkeypatch.undo()
    assert set(read_tuned(written)) == {"k 1", "k 2"}
    assert [path.name for path in written.parent.iterdir()] == [written.name]
