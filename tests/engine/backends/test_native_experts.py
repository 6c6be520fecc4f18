"""Experts of the native backend under a memory budget: the same bits, counted, and in two slots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gearshift.backends import Options
from gearshift.backends.native_backend import NativeBackend, NativeProgram
from gearshift.errors import BackendError, InputError
from gearshift.graph import Graph, read_artifact
from gearshift.specialise import specialise
from gearshift_kernels.native.library import levels

MakeImage = Callable[..., np.ndarray]

pytestmark = pytest.mark.skipif(not levels(), reason="the native kernels were not compiled")

PAGE = 4096
EXPERT = {"float32": 3 * PAGE, "bfloat16": 2 * PAGE, "int8": 2 * PAGE}
"""Bytes: 32 x 32 for 18 x 21 and 21 x 18, vectors of 32, whole pages."""


def open_backend(folder: Path, precision: str, memory: int | None) -> NativeBackend:
    return NativeBackend(Options(folder, precision, 2, memory))


def open_model(artifact: Path, precision: str, slots: int) -> tuple[NativeBackend, Graph]:
    """A backend with room for `slots` experts and nearly one more."""
    size = EXPERT[precision]
    return open_backend(artifact, precision, slots * size + size - 1), read_artifact(artifact)


def poison(backend: NativeBackend) -> None:
    backend.arena.memory[:] = 255


def chosen(compiled: NativeProgram) -> int:
    counts = compiled.stats.tokens_per_expert
    return sum(count > 0 for experts in counts.values() for count in experts)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("slots", [2, 3, 5, 9])
def test_a_budget_changes_no_bit(
    artifact: Path, make_image: MakeImage, precision: str, slots: int
) -> None:
    backend, graph = open_model(artifact, precision, slots)
    whole = open_backend(artifact, precision, None)
    programs = [specialise(graph, task, 2) for task in range(4)]
    wanted = [whole.compile(program) for program in programs]
    compiled = [backend.compile(program) for program in programs]
    memory = backend.streaming[0]._memory
    assert memory.shape == (slots, EXPERT[precision])
    memory[:] = 255
    for run in range(12):
        task, image = (0, 0, 1, 2, 2, 2, 3, 1)[run % 8], make_image(2, seed=run)
        poison(backend)
        np.testing.assert_array_equal(compiled[task].run(image), wanted[task].run(image))
        stats, full = compiled[task].stats, wanted[task].stats
        assert stats.tokens_per_expert == full.tokens_per_expert
        assert stats.weight_bytes == full.weight_bytes
        assert stats.expert_hits + stats.expert_misses == chosen(compiled[task])
        assert stats.moved_bytes >= stats.expert_misses * EXPERT[precision]
        assert stats.moved_bytes % EXPERT[precision] == 0
        assert list(stats.seconds_per_node) == list(full.seconds_per_node)
        assert 0 < sum(stats.seconds_per_node.values()) <= stats.seconds
        assert all((part.seconds > 0).all() for part in compiled[task]._parts)


def test_the_first_run_misses_and_steady_ones_hit_what_fits(
    artifact: Path, make_image: MakeImage
) -> None:
    backend, graph = open_model(artifact, "float32", 9)
    compiled = backend.compile(specialise(graph, 1))
    compiled.run(make_image())
    # Nothing is in the slots, and nothing is known of what will be.
    assert compiled.stats.expert_misses > 0
    for _ in range(30):
        compiled.run(make_image())
    stats = compiled.stats
    assert chosen(compiled) <= 9
    assert (stats.expert_hits, stats.expert_misses, stats.moved_bytes) == (chosen(compiled), 0, 0)


@pytest.mark.parametrize("folder", [True, False])
def test_slots_are_filled_with_or_without_a_file(
    artifact: Path, make_image: MakeImage, folder: bool, tmp_path: Path
) -> None:
    graph = read_artifact(artifact)
    place = artifact if folder else tmp_path
    backend = open_backend(place, "bfloat16", 2 * EXPERT["bfloat16"])
    wanted = open_backend(place, "bfloat16", None).compile(specialise(graph, 0)).run(make_image())
    np.testing.assert_array_equal(backend.compile(specialise(graph, 0)).run(make_image()), wanted)


def test_a_budget_for_all_is_no_budget(artifact: Path, make_image: MakeImage) -> None:
    backend, graph = open_model(artifact, "float32", 10)
    compiled = backend.compile(specialise(graph, 0))
    compiled.run(make_image())
    stats = compiled.stats
    assert backend.streaming is None
    assert (stats.expert_hits, stats.expert_misses, stats.moved_bytes) == (chosen(compiled), 0, 0)


def test_a_budget_below_two_experts_is_refused(artifact: Path) -> None:
    backend, graph = open_model(artifact, "float32", 1)
    with pytest.raises(InputError, match=f"holds fewer than 2 experts of {3 * PAGE:,} bytes"):
        backend.compile(specialise(graph, 0))


def test_an_expert_that_cannot_be_read_is_an_error_and_then_forgotten(
    artifact: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, graph = open_model(artifact, "float32", 2)
    compiled = backend.compile(specialise(graph, 0))
    wanted = compiled.run(make_image())
    with monkeypatch.context() as patch:
        patch.setattr("os.preadv", lambda *_: 0)
        with pytest.raises(BackendError, match=r"cannot read experts: a file in .* became short"):
            compiled.run(make_image())
    np.testing.assert_array_equal(compiled.run(make_image()), wanted)
