"""Approximations in float32 against their float64 oracles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gearshift.graph import Graph
from gearshift_bench.accuracy.approximate import ApproximateRunner, attention, exp2, gelu
from gearshift_bench.accuracy.runners import open_runner
from gearshift_bench.latency.configuration import Configuration
from gearshift_kernels import approximations, oracle

MakeImages = Callable[..., np.ndarray]


def test_gelu_is_the_table() -> None:
    random = np.random.default_rng(0)
    edges = [0.0, -0.0, 5.5, -5.5, 5.6, -100.0, 100.0, 0.03125]
    x = np.concatenate([random.normal(0, 3, 5000), edges]).astype(np.float32)
    found = gelu(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, approximations.gelu_table(x), rtol=2e-7, atol=1e-7)
    assert 1e-6 < np.abs(found - oracle.gelu(x)).max() < approximations.GELU_ERROR + 1e-6


def test_powers_are_the_polynomials() -> None:
    """2^-22 for rounding: ten operations of half a unit in the last place each, and some more."""
    x = -np.abs(np.random.default_rng(1).normal(0, 20, 5000)).astype(np.float32)
    x[:5] = 0.0, -0.5, -126.4, -126.6, -np.inf
    found = exp2(torch.from_numpy(x)).numpy()
    wanted = approximations.exp2_polynomial(x)
    np.testing.assert_allclose(found, wanted, rtol=2.0**-20, atol=0)
    assert (found[3], found[4]) == (0.0, 0.0)


def test_attention_is_the_softmax_within_the_powers_error() -> None:
    random = np.random.default_rng(2)
    query, key, value = (
        torch.from_numpy(random.normal(size=(2, 3, 17, 8)).astype(np.float32)) for _ in range(3)
    )
    exact = torch.nn.functional.scaled_dot_product_attention(
        query.double(), key.double(), value.double()
    )
    found = attention(query, key, value).double()
    bound = 4 * approximations.EXP2_ERROR * value.abs().max()
    error = float((found - exact).abs().max())
    assert 0 < error < float(bound)


def test_without_approximations_a_run_is_the_torch_backends(
    artifact: Path, graph: Graph, make_images: MakeImages
) -> None:
    images = make_images()
    wanted = open_runner(artifact, Configuration("torch", "float32", 1, 1)).run(images, 3)
    found = ApproximateRunner(graph, ()).run(images, 3)
    np.testing.assert_allclose(found.output, wanted.output, rtol=1e-3, atol=1e-5)
    assert found.output.flags.c_contiguous
    assert found.routes is not None
    assert wanted.routes is not None
    for router, experts in wanted.routes.items():
        np.testing.assert_array_equal(found.routes[router], experts)


@pytest.mark.parametrize("approximate", [("gelu",), ("softmax",), ("gelu", "softmax")])
def test_an_approximation_changes_a_little(
    graph: Graph, make_images: MakeImages, approximate: tuple[str, ...]
) -> None:
    images = make_images()
    exact = ApproximateRunner(graph, ()).run(images, 0).output
    found = ApproximateRunner(graph, approximate).run(images, 0).output
    change = np.sqrt(np.square(found - exact).mean() / np.square(exact).mean())
    assert 0 < change < 0.05
