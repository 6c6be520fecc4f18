"""The table of targets, and occupancy against cases worked out by hand."""

from __future__ import annotations

import pytest

from gearshift_kernels.triton.targets import TARGETS, find_target, occupancy


@pytest.mark.parametrize(
    ("target", "registers", "shared", "warps", "columns", "resident"),
    [
        # A warp of 32 x 128 = 4,096 registers: 4 in a scheduler's 16,384, 16 in all.
        ("sm_90", 128, 0, 4, 0, 16),
        # 32 x 150 = 4,800 round up to 4,864: 3 a scheduler, 12 in all: one block of 8.
        ("sm_90", 150, 66_048, 8, 0, 8),
        # 32 x 33 = 1,056 round up to 1,280: 12 a scheduler, 48 in all.
        ("sm_80", 33, 0, 4, 0, 48),
        # One register fewer needs no rounding: 16 a scheduler, as many warps as fit.
        ("sm_80", 32, 0, 4, 0, 64),
        # 48 KiB and the reserved KiB: two blocks in 100 KiB.
        ("sm_86", 32, 48 * 1024, 4, 0, 8),
        # A byte more takes 128 bytes more: 50,304 + 50,304 still fit 102,400.
        ("sm_86", 32, 48 * 1024 + 1, 4, 0, 8),
        # 49 KiB and one of 50.125: only one of two fits.
        ("sm_86", 32, 49 * 1024 + 1, 4, 0, 4),
        # All that a block may have, and a byte more.
        ("sm_89", 32, 99 * 1024, 4, 0, 4),
        ("sm_89", 32, 99 * 1024 + 1, 4, 0, 0),
        # Small blocks: the number of blocks is the limit.
        ("sm_86", 16, 0, 1, 0, 16),
        ("sm_89", 16, 0, 1, 0, 24),
        ("sm_100", 16, 0, 1, 0, 32),
        # 48 warps hold one block of 32.
        ("sm_87", 16, 0, 32, 0, 32),
        # Tensor memory: two blocks of 256 columns in 512.
        ("sm_100", 64, 0, 4, 256, 8),
        ("sm_100", 64, 0, 4, 1024, 0),
        # 255 registers: 8,160 round up to 8,192, two a scheduler; sixteen warps do not fit.
        ("sm_80", 255, 0, 8, 0, 8),
        ("sm_80", 255, 0, 16, 0, 0),
        # 128 x 64 = 8,192 of a unit's 32,768: 4 waves in each of four; 32 KiB of 64: two blocks.
        ("gfx942", 128, 0, 4, 0, 16),
        ("gfx942", 128, 32 * 1024, 4, 0, 8),
        # 129 round up to 136 a lane: 3 waves a unit.
        ("gfx942", 129, 0, 4, 0, 12),
        # 512 bytes of shared memory at a time: 32,769 take 33,280.
        ("gfx942", 64, 32 * 1024 + 1, 4, 0, 4),
        ("gfx942", 512, 64 * 1024, 4, 0, 4),
        ("gfx942", 64, 64 * 1024 + 1, 4, 0, 0),
    ],
)
def test_occupancy(
    target: str, registers: int, shared: int, warps: int, columns: int, resident: int
) -> None:
    found = occupancy(TARGETS[target], registers, shared, warps, columns)
    assert found == resident / TARGETS[target].warps


def test_shared_memory_of_a_block_in_kib() -> None:
    found = {name: target.shared_of_block / 1024 for name, target in TARGETS.items()}
    wanted = {"sm_80": 163, "sm_86": 99, "sm_87": 163, "sm_89": 99, "sm_90": 227, "sm_100": 227}
    assert found == {**wanted, "gfx942": 64}


def test_triton_knows_every_target() -> None:
    from triton.backends.compiler import GPUTarget
    from triton.compiler.compiler import make_backend

    for target in TARGETS.values():
        backend = make_backend(GPUTarget(target.backend, target.arch, target.warp_size))
        types = backend.parse_options({"enable_fp_fusion": True}).supported_fp8_dtypes
        assert ("fp8e4nv" in types) == target.has_float8, target.name


def test_an_unknown_target_is_named_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"unknown target 'sm_75': choose from sm_80, .*gfx942"):
        find_target("sm_75")
