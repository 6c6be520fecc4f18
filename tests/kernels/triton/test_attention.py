"""Attention against float64: views of one packed matrix, ragged tiles, exact and approximate."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gearshift_kernels.approximations import EXP2_ERROR
from gearshift_kernels.triton.attention import attention, attention_candidates
from gearshift_kernels.triton.launch import Device, Tiles
from gearshift_kernels.triton.targets import TARGETS

from .conftest import DTYPES, ROUNDING

Normal = Callable[..., Tensor]
Run = Callable[..., Tensor]
Parts = tuple[Tensor, Tensor, Tensor]
SMALL = Tiles({"BLOCK_M": 32, "BLOCK_N": 16})


def unpacked(qkv: Tensor, heads: int) -> Parts:
    """Query, key and value (N, heads, T, head_dim): views of a packed (N, T, 3D)."""
    images, tokens, width = qkv.shape
    parts = qkv.view(images, tokens, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[2]


def mixed(images: int, heads: int, tokens: int, head_dim: int, poisoned: Normal) -> Tensor:
    """A poisoned output (N, heads, T, head_dim), in memory (N, T, D)."""
    return poisoned(images, tokens, heads, head_dim).transpose(1, 2)


def attended(query: Tensor, key: Tensor, value: Tensor) -> np.ndarray:
    q, k, v = (part.cpu().double().numpy() for part in (query, key, value))
    score = q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5
    power = np.exp(score - score.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True) @ v


def error(found: Tensor, wanted: np.ndarray, value: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    difference = np.abs(found.cpu().double().numpy() - wanted).max()
    return float(difference / value.double().abs().max())


def bound(query: Tensor, key: Tensor, dtype: torch.dtype, approximate: bool = False) -> float:
    """As a share of the largest value.

    The sums of a score's products are off by about sqrt(head_dim) roundings of the sum of their
    sizes, the scaled score by three of its own; a power turns that into a relative error, which
    counts twice, for weight and sum. Powers are off by 4 * 2^-24, sums over tokens by about
    sqrt(tokens) roundings. A weight is rounded to the dtype; below 2^-24 float16 has nothing.
    """
    tokens, head_dim = query.shape[2:]
    sizes = query.double().abs() @ key.double().abs().transpose(-1, -2) * head_dim**-0.5
    score = float(sizes.max()) * (4 * head_dim**0.5 + 3) * 2**-24
    weight = 2 * (score + 4 * 2**-24 + EXP2_ERROR * 1.005 * approximate)
    rounding = ROUNDING[dtype] + (tokens * 2**-25 if dtype == torch.float16 else 0.0)
    return weight + 4 * tokens**0.5 * 2**-24 + rounding


@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize(
    ("images", "heads", "tokens", "head_dim"),
    [(1, 1, 1, 1), (2, 3, 17, 7), (1, 2, 70, 32), (1, 1, 48, 64), (2, 1, 33, 96), (1, 1, 20, 128)],
)
def test_packed_heads(
    device: Device, normal: Normal, poisoned: Normal, run_twice: Run, dtype: torch.dtype,
    images: int, heads: int, tokens: int, head_dim: int, approximate: bool,
) -> None:  # fmt: skip
    query, key, value = unpacked(normal(images, tokens, 3 * heads * head_dim, dtype=dtype), heads)
    out = mixed(images, heads, tokens, head_dim, poisoned)
    launch = attention(device, query, key, value, out, approximate=approximate)
    run_twice(launch.with_tiles(SMALL), out)
    wanted = attended(query, key, value)
    assert error(out, wanted, value) < bound(query, key, dtype, approximate)


def test_tiles_of_the_interpreter(
    device: Device, normal: Normal, poisoned: Normal, dtype: torch.dtype
) -> None:
    query, key, value = unpacked(normal(1, 129, 3 * 64, dtype=dtype), 1)
    out = mixed(1, 1, 129, 64, poisoned)
    attention(device, query, key, value, out).run()
    assert error(out, attended(query, key, value), value) < bound(query, key, dtype)


def test_the_most_tokens(device: Device, normal: Normal, poisoned: Normal) -> None:
    query, key, value = unpacked(normal(1, 4097, 3 * 32), 1)
    out = mixed(1, 1, 4097, 32, poisoned)
    attention(device, query, key, value, out).run()
    assert error(out, attended(query, key, value), value) < bound(query, key, torch.float32)


@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize("order", [1, -1])
def test_every_tile_brings_a_larger_score_or_none(
    device: Device, normal: Normal, poisoned: Normal, order: int, approximate: bool
) -> None:
    """Scores rise or fall from -80 to 80, past where float32's powers end."""
    head = torch.zeros(1, 1, 61, 16, device=normal(1).device)
    query, key, value = head.clone(), head.clone(), normal(1, 1, 61, 16)
    query[..., 0] = 4
    key[..., 0] = order * torch.linspace(-80, 80, 61).bfloat16()
    out = poisoned(1, 1, 61, 16)
    launch = attention(device, query, key, value, out, approximate=approximate)
    launch.with_tiles(SMALL).run()
    # Scores are single products here, so that only they and their differences are rounded.
    limit = 2 * (80 * 3 * 2**-24 + EXP2_ERROR * 1.005 * approximate) + 2**-20
    assert error(out, attended(query, key, value), value) < limit


def test_what_shrinks_from_tile_to_tile_is_exact_in_either_form(
    device: Device, normal: Normal, poisoned: Normal
) -> None:
    """All keys of a tile score alike, so that each weight is a power of 0, which is exact; the
    step from tile to tile is where the polynomial is off most."""
    head = torch.zeros(1, 1, 64, 16, device=normal(1).device)
    query, key, value = head.clone(), head.clone(), head.clone()
    query[..., 0] = 4
    key[..., 0] = 0.405 * math.log(2) * (torch.arange(64) // 16)
    value[0, 0, :16] = 1
    out = poisoned(1, 1, 64, 16)
    launch = attention(device, query, key, value, out, approximate=True)
    launch.with_tiles(SMALL).run()
    assert error(out, attended(query, key, value), value) < 2**-22


def test_the_last_tile_s_missing_keys_have_no_weight(
    device: Device, normal: Normal, poisoned: Normal
) -> None:
    """Scores far below zero, where a missing key's score of zero would take all the weight."""
    query, key, value = normal(1, 1, 17, 16), normal(1, 1, 17, 16), normal(1, 1, 17, 16)
    query, key = query * 0 + 8, key * 0.125 - 8
    out = poisoned(1, 1, 17, 16)
    attention(device, query, key, value, out).with_tiles(SMALL).run()
    assert error(out, attended(query, key, value), value) < bound(query, key, torch.float32)


@pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:invalid value")
@pytest.mark.parametrize("approximate", [False, True])
def test_nan_is_not_lost(
    device: Device, normal: Normal, poisoned: Normal, approximate: bool
) -> None:
    query, key, value = unpacked(normal(1, 20, 3 * 32), 2)
    query[0, 1, 5, 3] = float("nan")
    out = torch.zeros_like(mixed(1, 2, 20, 16, poisoned))
    launch = attention(device, query, key, value, out, approximate=approximate)
    launch.with_tiles(SMALL).run()
    is_nan = torch.zeros_like(out, dtype=torch.bool)
    is_nan[0, 1, 5] = True
    assert torch.equal(out.isnan(), is_nan)


def test_tokens_heads_and_images_any_distance_apart(
    device: Device, normal: Normal, poisoned: Normal
) -> None:
    query = normal(3, 2, 35, 23)[:2, :, 1:20, 4:17]
    key = normal(2, 19, 5, 15).transpose(1, 2)[:, 1:5:2, :, :13]
    value = normal(2, 2, 19, 13)
    whole = poisoned(2, 3, 25, 17)
    out = whole[:, 1:, 3:22, 2:15]
    attention(device, query, key, value, out).with_tiles(SMALL).run()
    assert error(out, attended(query, key, value), value) < bound(query, key, torch.float32)
    out.fill_(float("nan"))
    assert whole.isnan().all()


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16], ids=str)
def test_narrow_results_are_rounded_once(
    device: Device, normal: Normal, poisoned: Normal, narrow: torch.dtype
) -> None:
    query, key, value = unpacked(normal(1, 9, 3 * 16), 1)
    out = poisoned(1, 1, 9, 16, dtype=narrow)
    attention(device, query, key, value, out).run()
    limit = bound(query, key, torch.float32) + ROUNDING[narrow]
    assert error(out, attended(query, key, value), value) < limit


def test_no_images_or_tokens_no_work(device: Device, normal: Normal, poisoned: Normal) -> None:
    for shape in ((0, 2, 5, 16), (1, 0, 5, 16), (1, 2, 0, 16)):
        empty = normal(*shape)
        attention(device, empty, empty, empty, poisoned(*shape)).run()


def test_what_does_not_fit(device: Device, normal: Normal) -> None:
    x, other = normal(1, 2, 5, 16), normal(1, 2, 6, 16)
    with pytest.raises(ValueError, match=r"query has shape \(5, 16\), not \(N, heads, T, head_"):
        attention(device, x[0, 0], x, x, x)
    wide = normal(1, 1, 2, 129)
    with pytest.raises(ValueError, match="head_dim is 129, not from 1 to 128"):
        attention(device, wide, wide, wide, wide)
    with pytest.raises(ValueError, match=r"key has shape \(1, 2, 6, 16\), not \(1, 2, 5, 16\)"):
        attention(device, x, other, x, x)
    with pytest.raises(ValueError, match=r"out has shape \(1, 2, 6, 16\)"):
        attention(device, x, x, x, other)
    with pytest.raises(ValueError, match=r"value has strides .* of a head must be contiguous"):
        attention(device, x, x, normal(1, 2, 16, 5).transpose(2, 3), x)
    with pytest.raises(ValueError, match=r"key is of torch\.float16, query of torch\.float32"):
        attention(device, x, x.half(), x, x)


def meta(images: int, heads: int, tokens: int, head_dim: int, dtype: torch.dtype) -> Parts:
    packed = torch.empty(images, tokens, 3 * heads * head_dim, dtype=dtype, device="meta")
    return unpacked(packed, heads)


def test_few_queries_are_cut_small_and_many_large() -> None:
    """One image of the tiny model leaves most multiprocessors idle whatever the block."""
    for target in TARGETS:
        parts = meta(1, 3, 129, 64, torch.float16)
        launch = attention(Device(target), *parts, parts[0])
        assert launch.tiles.blocks["BLOCK_M"] == 16
        parts = meta(64, 12, 1201, 32, torch.float16)
        launch = attention(Device(target), *parts, parts[0])
        assert launch.tiles.blocks["BLOCK_M"] == 128
        # A block of 128 for 17 queries would be idle for the most part.
        parts = meta(512, 12, 17, 32, torch.float16)
        assert attention(Device(target), *parts, parts[0]).tiles.blocks["BLOCK_M"] == 16


def test_tiles_come_from_the_candidates() -> None:
    for dtype in DTYPES:
        for head_dim in (7, 32, 64, 96, 128):
            parts = meta(1, 3, 129, head_dim, dtype)
            launch = attention(Device("sm_90"), *parts, parts[0])
            assert launch.tiles in attention_candidates(dtype, head_dim)


def test_launches_are_told_apart() -> None:
    query, key, value = meta(1, 3, 129, 64, torch.bfloat16)
    launches = [
        attention(Device("sm_90"), query, key, value, query, approximate=a) for a in (False, True)
    ]
    assert launches[0].key != launches[1].key
    tuned = Device("sm_90", {launches[0].key: SMALL})
    assert attention(tuned, query, key, value, query).tiles == SMALL
    assert attention(tuned, query, key, value, query, approximate=True).tiles != SMALL
