"""The buffer plan: nothing alive is ever overwritten, and little is wasted."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from gearshift.buffers import ALIGNMENT, IN_PLACE, plan_buffers
from gearshift.graph import Graph
from gearshift.program import Step
from gearshift.specialise import specialise


@st.composite
def programs(draw: st.DrawFn) -> tuple[dict[str, int], list[Step], str]:
    """Random steps of one or two outputs over earlier values; `v0` goes in, any other comes out."""
    sizes = {"v0": draw(st.integers(1, 500))}
    steps = []
    for number in range(draw(st.integers(1, 14))):
        inputs = draw(st.lists(st.sampled_from(sorted(sizes)), min_size=1, max_size=3))
        kernel = draw(st.sampled_from(["mlp", "add"]))
        outputs = [f"v{len(sizes)}"]
        sizes[outputs[0]] = sizes[inputs[0]] if kernel == "add" else draw(st.integers(1, 500))
        if kernel == "mlp" and draw(st.booleans()):
            outputs.append(f"v{len(sizes)}")
            sizes[outputs[1]] = draw(st.integers(1, 500))
        steps.append(Step(kernel, f"s{number}", tuple(inputs), tuple(outputs), (), {}, 0, 0))
    return sizes, steps, draw(st.sampled_from(sorted(sizes)[1:]))


def run_with_tags(
    sizes: dict[str, int], steps: list[Step], output: str, offsets: dict[str, int]
) -> None:
    """Write each value's name over its bytes; every later reader must find it whole.

    An in-place kernel reads element by element before it writes, so its first input may be gone
    once it has run, but only if its output stands exactly there.
    """
    memory: list[str | None] = [None] * (max(offsets[name] + sizes[name] for name in sizes))

    def write(name: str) -> None:
        memory[offsets[name] : offsets[name] + sizes[name]] = [name] * sizes[name]

    def intact(name: str) -> bool:
        return memory[offsets[name] : offsets[name] + sizes[name]] == [name] * sizes[name]

    write("v0")
    for step in steps:
        assert all(map(intact, step.inputs))
        for name in step.outputs:
            write(name)
        assert all(map(intact, step.outputs))
        for name in step.inputs:
            same_place = name == step.inputs[0] and offsets[name] == offsets[step.outputs[0]]
            assert intact(name) or (step.kernel in IN_PLACE and same_place)
    assert intact(output)


@given(programs())
def test_no_value_is_overwritten_while_it_is_needed(
    program: tuple[dict[str, int], list[Step], str],
) -> None:
    sizes, steps, output = program
    offsets, arena = plan_buffers(sizes, steps, "v0", output)
    assert offsets.keys() == sizes.keys()
    assert all(offset % ALIGNMENT == 0 for offset in offsets.values())
    assert max(offsets[name] + sizes[name] for name in sizes) <= arena
    assert arena <= sum(size + ALIGNMENT for size in sizes.values())
    run_with_tags(sizes, steps, output, offsets)


def test_a_residual_stream_stays_in_its_place(graph: Graph) -> None:
    program = specialise(graph, 0)
    stream = [
        program.values[name].offset
        for name in ("patch_embedding", "blocks.0.add1", "blocks.2.add2", "tokens")
    ]
    assert len(set(stream)) == 1


def test_blocks_take_turns_in_the_same_memory(make_graph: Callable[..., Graph]) -> None:
    shallow, deep = (
        specialise(make_graph(depth=depth, decoders=False), 0).arena_bytes for depth in (2, 12)
    )
    assert shallow == deep
