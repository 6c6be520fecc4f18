"""The listing says of every descriptor what stands in constant memory, and its sums are sums."""

from __future__ import annotations

from dataclasses import fields

import pytest

from gearshift_hls.bundle import Bundle
from gearshift_hls.compile import compile_bundle
from gearshift_hls.compile.listing import list_tasks, listing
from gearshift_hls.descriptor import SCRATCH, End, Experts, decode

from ..quantise.quantised_models import SMALL_BOARD, ModelMaker


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return compile_bundle("random", SMALL_BOARD, ModelMaker().make())


def test_every_descriptor_has_its_line(bundle: Bundle) -> None:
    text = listing(bundle, SMALL_BOARD, {})
    sections = text.split("\n\n")
    assert sections[0] == "random at 6x8 pixels for the small"
    for task, section in zip(bundle.tasks.values(), sections[2:-1], strict=True):
        title, _, *lines = section.strip().split("\n")
        assert title.startswith(f"task {task.name}, ")
        for number, line in enumerate(lines[: task.descriptors]):
            start = task.program + 128 * number
            command = decode(bundle.constants[start : start + 128].tobytes())
            assert command is not None
            cells = line.split()
            assert cells[0] == str(number)
            assert cells[1] == (task.names[number] if number < len(task.names) else "end")
            assert type(command).__name__.lower() in cells
            for each in fields(command):
                address = getattr(command, each.name)
                used = each.name != "residual" or getattr(command, "format", 0) == 3
                is_address = used and each.metadata["text"].startswith("address")
                if is_address and address >= bundle.write_base:
                    on_chip = address >= SCRATCH
                    shown = f"chip+{address - SCRATCH:#x}" if on_chip else f"{address:#x}"
                    assert shown in cells, (line, each.name)
        assert "estimate, not measured" in section
    assert "against RTL simulation" in sections[-1]


def test_the_memory_map_names_what_the_host_touches(bundle: Bundle) -> None:
    memory_map = listing(bundle, SMALL_BOARD, {}).split("\n\n")[1]
    place = bundle.tasks["depth"].output_place
    end = place.address + place.tensor.nbytes
    lines = [line.split() for line in memory_map.split("\n")]
    assert ["depth:", "output", f"{place.address:#x}", f"{end:#x}", "int16"] in lines
    assert ["constants", "0", f"{bundle.write_base:#x}"] in [line[:3] for line in lines]


def test_sums_are_those_of_the_lines(bundle: Bundle) -> None:
    for listed in list_tasks(bundle, SMALL_BOARD, {}):
        estimates = [line.estimate for line in listed.lines]
        assert isinstance(listed.lines[-1].command, End)
        assert listed.cycles == pytest.approx(sum(one.cycles for one in estimates))
        assert sum(listed.causes.values()) == pytest.approx(listed.cycles)
        assert listed.milliseconds == pytest.approx(listed.cycles / 100e6 * 1e3)
        assert listed.weight_bytes == sum(one.weight_bytes for one in estimates)


def test_the_card_says_which_experts_a_task_uses(bundle: Bundle) -> None:
    shares = {"depth": [[1.0, 0.0, 0.0, 0.0, 0.0]]}
    rooms, depth = list_tasks(bundle, SMALL_BOARD, shares)
    (all_of_them,), (one,) = (
        [line.estimate.weight_bytes for line in task.lines if isinstance(line.command, Experts)]
        for task in (rooms, depth)
    )
    assert all_of_them == 5 * one
