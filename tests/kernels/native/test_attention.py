"""Attention against float64: one token, chunks of keys, ragged heads, scores of any size."""

from __future__ import annotations

import numpy as np
import pytest

from gearshift_kernels import oracle
from gearshift_kernels.native.structures import FLOAT32, Attention

from .calls import PRECISIONS, Kept, narrow_dtype, relative, rounded, run
from .conftest import TeamOf


def expected(qkv: np.ndarray) -> np.ndarray:
    """softmax(head_dim^-0.5 Q K^T) V in float64: (images,tokens,3,heads,head_dim) -> its fifth."""
    query, key, value = qkv.astype(np.float64).transpose(2, 0, 3, 1, 4)
    weights = oracle.softmax(query @ key.swapaxes(-1, -2) / np.sqrt(qkv.shape[-1]))
    return (weights @ value).transpose(0, 2, 1, 3)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1, 5), (2, 37, 3, 6), (1, 129, 2, 64), (1, 1290, 1, 32), (3, 16, 2, 17)],
    ids=str,
)
def test_attention(
    team_of: TeamOf, level: str, precision: str, threads: int, shape: tuple[int, ...]
) -> None:
    images, tokens, heads, head_dim = shape
    random, kept, kind = np.random.default_rng(tokens), Kept(), PRECISIONS[precision]
    qkv = random.normal(size=(images, tokens, 3, heads, head_dim)).astype(np.float32)
    out = kept.output(shape, narrow_dtype(kind))
    attention = Attention(kept.operand(qkv, kind), out.ctypes.data, *shape)
    run(team_of(level, threads), kind, kept, attention)
    # In bfloat16 the weights of the values are rounded, and the result is.
    error = 3e-6 if kind == FLOAT32 else 2.0**-8
    assert relative(out, expected(rounded(qkv, kind))) < error


@pytest.mark.parametrize("scale", [0.0, 1e-3, 100.0])
def test_scores_that_are_equal_tiny_or_huge(team_of: TeamOf, level: str, scale: float) -> None:
    """From a mean over all values to the choice of one: scores up to 1e5 apart."""
    random, kept = np.random.default_rng(3), Kept()
    qkv = random.normal(size=(1, 1300, 3, 1, 16)).astype(np.float32)
    qkv[:, :, :2] *= scale
    # The largest score grows from chunk to chunk, so that the sums before are scaled.
    qkv[:, :, 1] *= np.linspace(0, 1, 1300, dtype=np.float32)[:, None, None]
    out = kept.output((1, 1300, 1, 16))
    attention = Attention(kept.at(qkv), out.ctypes.data, 1, 1300, 1, 16)
    run(team_of(level, 1), FLOAT32, kept, attention)
    # A score of 1e4 is off by 1e-3 in float32, and its exponential by as much.
    assert relative(out, expected(qkv)) < (3e-6 if scale < 1 else 2e-2)
