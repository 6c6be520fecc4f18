"""Each torch kernel against the oracle of its name, on awkward shapes, float32 and bfloat16."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gearshift.backends.torch_arena import Arena, Scratch
from gearshift.backends.torch_kernels import KERNELS
from gearshift_kernels import oracle

Array = np.ndarray

# Rounding at 2^-24 or 2^-9, some tens of times, of values of the size of the largest.
TOLERANCE = {torch.float32: 5e-6, torch.bfloat16: 2.5e-2}


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture
def normal() -> Callable[..., Array]:
    random = np.random.default_rng(3)

    def draw(*shape: int, scale: float = 1.0) -> Array:
        # Values that bfloat16 holds exactly: what is measured is the kernel, not the conversion.
        return torch.tensor(random.normal(0, scale, shape)).bfloat16().float().numpy()

    return draw


def tensor(array: Array, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    layout = torch.channels_last if array.ndim == 4 else torch.preserve_format
    return torch.from_numpy(array.copy()).to(dtype, memory_format=layout)


def run(
    kernel: str,
    inputs: list[torch.Tensor],
    shape: tuple[int, ...],
    weights: list[torch.Tensor],
    dtype: torch.dtype = torch.float32,
    **attributes: object,
) -> torch.Tensor:
    """Bind with scratch full of NaN, run twice; the output is poisoned before as well."""
    arena = Arena()
    out = tensor(np.full(shape, np.nan, np.float32), dtype)
    call = KERNELS[kernel](*inputs, out, *weights, **attributes, scratch=Scratch(arena, 0))
    if arena.nbytes:
        arena.tensor(0, (arena.nbytes,), torch.uint8).fill_(255)
    with torch.inference_mode():
        call()
        first = out.clone()
        call()
    assert torch.equal(first, out)
    return out


def close(found: torch.Tensor, wanted: Array, dtype: torch.dtype) -> None:
    error = np.abs(found.float().numpy() - wanted).max() / np.abs(wanted).max()
    assert error < TOLERANCE[dtype]


@pytest.mark.parametrize("tokens", [1, 2, 17])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("narrow", [False, True])
def test_attention(
    normal: Callable[..., Array], dtype: torch.dtype, batch: int, tokens: int, narrow: bool
) -> None:
    x = normal(batch, tokens, 15)
    weights = [normal(45, 15, scale=0.3), normal(45), normal(15, 15, scale=0.3), normal(15)]
    out_dtype = dtype if narrow else torch.float32
    found = run(
        "attention",
        [tensor(x)],
        x.shape,
        [tensor(weight, dtype) for weight in weights],
        out_dtype,
        heads=5,
    )
    close(found, oracle.attention(x, *weights, heads=5), dtype)


@pytest.mark.parametrize("tokens", [1, 9])
def test_mlp(normal: Callable[..., Array], dtype: torch.dtype, tokens: int) -> None:
    x = normal(2, tokens, 7)
    weights = [normal(19, 7), normal(19), normal(7, 19, scale=0.3), normal(7)]
    found = run("mlp", [tensor(x)], x.shape, [tensor(weight, dtype) for weight in weights])
    close(found, oracle.mlp(x, *weights), dtype)


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 4, 4), (3, 8, 20)])
def test_patch_embedding(
    normal: Callable[..., Array], dtype: torch.dtype, batch: int, height: int, width: int
) -> None:
    image, weight, bias = normal(batch, 3, height, width), normal(11, 3, 4, 4), normal(11)
    token, positions = normal(1, 1, 11), normal(1, 11, height // 4, width // 4)
    wanted = oracle.patch_embedding(image, weight, bias, token, positions, patch_size=4)
    rows = positions[0].reshape(11, -1).T + bias
    found = run(
        "patch_embedding",
        [torch.from_numpy(image)],
        wanted.shape,
        [torch.from_numpy(weight).to(dtype), tensor(np.concatenate([token[0], rows]))],
        patch_size=4,
    )
    close(found, wanted, dtype)


def test_layer_normalization(normal: Callable[..., Array]) -> None:
    x, scale, bias = 100 + normal(3, 5, 33), normal(33), normal(33)
    x[0, 0] = 2.0  # no variance: epsilon decides
    found = run("layer_normalization", [tensor(x)], x.shape, [tensor(scale), tensor(bias)],
                epsilon=1e-6)  # fmt: skip
    # x is 100 away from zero: its mean is exact to 100 * 2^-24, and so is each difference.
    np.testing.assert_allclose(
        found, oracle.layer_normalization(x, scale, bias, epsilon=1e-6), atol=5e-5
    )


def test_add_in_place(normal: Callable[..., Array]) -> None:
    a, b = normal(2, 3, 5), normal(2, 3, 5)
    place = tensor(a)
    KERNELS["add"](place, tensor(b, torch.bfloat16), place, scratch=Scratch(Arena(), 0))()
    np.testing.assert_array_equal(place, a + b)


@pytest.mark.parametrize("prune", [0.0, 0.3])
@pytest.mark.parametrize("tokens", [1, 13])
@pytest.mark.parametrize("biased", [False, True])
def test_router(normal: Callable[..., Array], tokens: int, prune: float, biased: bool) -> None:
    x, weight, bias = normal(2, tokens, 9), normal(1, 9, 6), np.zeros((1, 6), np.float32)
    if biased:
        bias[0] = [0.5, -np.inf, 0, 1, -np.inf, 0]
    index = torch.full((2, tokens, 4), -1)
    weights = [tensor(weight[0]), *([tensor(bias[0])] if biased else [])]
    score = run("router", [tensor(x), index], index.shape, weights, top_k=4, prune_scores=prune)
    wanted = oracle.router(x, 0, weight, bias, top_k=4, prune_scores=prune)
    np.testing.assert_array_equal(index, wanted[0])
    np.testing.assert_allclose(score, wanted[1], atol=1e-6)


def test_equal_scores_go_to_the_lower_expert() -> None:
    index = torch.full((1, 2, 3), -1)
    run("router", [torch.ones(1, 2, 4), index], (1, 2, 3), [torch.ones(4, 64)], top_k=3,
        prune_scores=0.0)  # fmt: skip
    assert index.tolist() == [[[0, 1, 2]] * 2]


ROUTINGS = {
    "one token": [[[2, 0]]],
    "all tokens on one expert": [[[1]] * 6],
    "empty experts between": [[[3, 0], [0, 3], [3, 0]]],
    "an expert twice for one token": [[[2, 2], [2, 1]]],
    "batch of three": [[[0, 1]], [[1, 2]], [[2, 3]]],
}


@pytest.mark.parametrize("routing", ROUTINGS.values(), ids=ROUTINGS)
def test_expert_mixture(
    normal: Callable[..., Array], dtype: torch.dtype, routing: list[list[list[int]]]
) -> None:
    index = np.array(routing)
    x, score = normal(*index.shape[:2], 7), np.abs(normal(*index.shape))
    shapes = [(10, 7), (10,), (7, 10), (7,)] * 4
    weights = [normal(*shape, scale=0.5) for shape in shapes]
    counts = [0] * 4
    found = run(
        "expert_mixture",
        [tensor(x), torch.from_numpy(index), tensor(score)],
        x.shape,
        [tensor(weight, dtype) for weight in weights],
        experts=4,
        top_k=index.shape[-1],
        counts=counts,
    )
    close(found, oracle.expert_mixture(x, index, score, *weights), dtype)
    assert counts == np.bincount(index.ravel(), minlength=4).tolist()


def test_feature_map(normal: Callable[..., Array]) -> None:
    tokens = normal(3, 1 + 2 * 5, 4)
    found = run("feature_map", [tensor(tokens)], (3, 4, 2, 5), [])
    wanted = oracle.feature_map(tokens, np.empty((3, 3, 8, 20)), patch_size=4)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("shape", [(1, 5, 1, 1), (3, 4, 2, 5), (1, 1, 7, 3)])
@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("narrow", [False, True])
def test_upsample_conv(
    normal: Callable[..., Array],
    dtype: torch.dtype,
    shape: tuple[int, int, int, int],
    scale: int,
    narrow: bool,
) -> None:
    x, weight, bias = normal(*shape), normal(6, shape[1], 3, 3), normal(6)
    identity = [np.ones(6), np.zeros(6), np.zeros(6), np.ones(6)]
    wanted = oracle.upsample_conv(x, weight, bias, *identity, scale=scale, epsilon=0.0)
    value = dtype if narrow else torch.float32
    weights = [tensor(weight, dtype), tensor(bias, dtype)]
    found = run("upsample_conv", [tensor(x, value)], wanted.shape, weights, value, scale=scale)
    close(found, wanted, dtype)


@pytest.mark.parametrize("shape", [(1, 5, 1, 1), (3, 4, 2, 5)])
@pytest.mark.parametrize("channels", [1, 7])
def test_head(
    normal: Callable[..., Array],
    dtype: torch.dtype,
    shape: tuple[int, int, int, int],
    channels: int,
) -> None:
    x, weight, bias = normal(*shape), normal(channels, shape[1], 1, 1), normal(channels)
    wanted = oracle.head(x, weight, bias)
    weights = [torch.from_numpy(weight).to(dtype), tensor(bias, dtype)]
    close(run("head", [tensor(x)], wanted.shape, weights), wanted, dtype)


@pytest.mark.parametrize("size", [(3, 4), (9, 2), (1, 1)])
def test_resize_bilinear(normal: Callable[..., Array], size: tuple[int, int]) -> None:
    x = normal(2, 3, 3, 4)
    found = run("resize_bilinear", [tensor(x)], (2, 3, *size), [])
    np.testing.assert_allclose(found, oracle.resize_bilinear(x, *size), atol=1e-6)
