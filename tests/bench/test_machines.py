"""The table of peak rates: plausible, dense, and with a source for everything."""

from __future__ import annotations

import pytest

from gearshift_bench.machines import MACHINES, Machine, find_machine

ALL = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)


@ALL
def test_every_machine_names_its_sources(machine: Machine) -> None:
    assert machine.sources
    assert all("NVIDIA" in source or "et al." in source for source in machine.sources)
    assert all(len(source) > 20 for source in machine.sources)


@ALL
def test_narrower_numbers_are_faster_in_the_ratios_of_tensor_cores(machine: Machine) -> None:
    assert 0 < machine.float32 < machine.tf32
    assert machine.half == pytest.approx(2 * machine.tf32, rel=1e-3)
    assert machine.int8 == pytest.approx(2 * machine.half, rel=1e-3)
    assert machine.float8 in (None, machine.int8)
    assert (machine.float8 is None) == (int(machine.target[3:]) < 89)


PRODUCTS_PER_CLOCK = {"sm_80": 1024, "sm_86": 512, "sm_87": 1024, "sm_90": 2048}
"""16-bit multiply-accumulates of a multiprocessor per clock without sparsity: the white papers'
counts of tensor cores times their products."""


@ALL
def test_rates_are_the_dense_ones(machine: Machine) -> None:
    """Clock x multiprocessors x products a clock; the rate with sparsity is twice as high."""
    dense = 2 * PRODUCTS_PER_CLOCK[machine.target] * machine.multiprocessors * machine.clock
    assert machine.half == pytest.approx(dense, rel=5e-3)


@ALL
def test_a_byte_is_dearer_than_an_operation(machine: Machine) -> None:
    assert 50 < machine.half / machine.bandwidth < 500
    assert machine.l2_bytes is None or 2**20 <= machine.l2_bytes <= 2**27
    assert 10 <= machine.watts <= 1000


def test_exponentials_of_the_h100_are_those_of_the_flash_attention_3_paper() -> None:
    assert MACHINES["H100"].exponentials == pytest.approx(3.9e12, rel=0.01)


@pytest.mark.parametrize(
    ("name", "multiprocessors", "machine"),
    [
        ("NVIDIA A100-SXM4-80GB", 108, "A100"),
        ("NVIDIA H100 80GB HBM3", 132, "H100"),
        ("NVIDIA H200", 132, "H200"),
        ("NVIDIA RTX A6000", 84, "A6000"),
        ("Orin", 16, "Orin"),
    ],
)
def test_a_card_is_found_by_the_driver_s_name(
    name: str, multiprocessors: int, machine: str
) -> None:
    assert find_machine(name, multiprocessors) is MACHINES[machine]


@pytest.mark.parametrize(
    ("name", "multiprocessors"),
    [("NVIDIA A100-PCIE-40GB", 108), ("NVIDIA H100 PCIe", 114), ("NVIDIA H200 NVL", 132),
     ("Orin", 8), ("NVIDIA GeForce RTX 3090", 82)],
)  # fmt: skip
def test_a_card_with_other_rates_is_not_mistaken_for_one_of_the_table(
    name: str, multiprocessors: int
) -> None:
    assert find_machine(name, multiprocessors) is None
