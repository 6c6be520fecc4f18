"""Folding, against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest

from gearshift.weights import WeightStore, embedding_table, fold_batch_norm
from gearshift_kernels import oracle


def test_batch_norm_folds_into_the_convolution() -> None:
    random = np.random.default_rng(0)
    x, weight, bias = (random.normal(size=s) for s in ((2, 3, 4, 5), (6, 3, 3, 3), (6,)))
    scale, shift, mean = random.normal(size=(3, 6))
    variance = random.uniform(0.0, 2.0, 6)
    variance[0] = 0.0
    wanted = oracle.upsample_conv(
        x, weight, bias, scale, shift, mean, variance, scale=2, epsilon=1e-5
    )
    folded = fold_batch_norm(weight, bias, (scale, shift, mean, variance), 1e-5)
    assert [array.dtype for array in folded] == [np.float32, np.float32]
    identity = np.ones(6), np.zeros(6), np.zeros(6), np.ones(6)
    found = oracle.upsample_conv(x, *folded, *identity, scale=2, epsilon=0.0)
    # The channel without variance is some 300 times enlarged, and float32 weights round at 6e-8.
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("grid", [(3, 5), (6, 10), (1, 1), (7, 2)])
def test_embedding_table(grid: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    token, positions, bias = (
        random.normal(size=shape).astype(np.float32) for shape in ((1, 1, 4), (1, 4, 3, 5), (4,))
    )
    table = embedding_table(token, positions, bias, grid)
    np.testing.assert_array_equal(table[0], token[0, 0])
    wanted = oracle.resize_bilinear(positions, *grid)[0].reshape(4, -1).T + bias
    np.testing.assert_allclose(table[1:], wanted, rtol=1e-6, atol=1e-6)


def test_a_weight_is_folded_once_and_not_before_it_is_used() -> None:
    made = []

    def make() -> np.ndarray:
        made.append(1)
        return np.zeros((2, 3), np.float32)

    store = WeightStore({})
    names = [store.fold("w", (2, 3), make) for _ in range(2)]
    assert (names, store.shape("w"), made) == (["w", "w"], (2, 3), [])
    assert store["w"] is store["w"]
    assert made == [1]
    with pytest.raises(KeyError):
        store["x"]
