"""The router, the queues, the experts over them and the sum, against float64."""

from __future__ import annotations

import numpy as np
import pytest

from gearshift_kernels import oracle
from gearshift_kernels.native.pack import pad_lanes
from gearshift_kernels.native.structures import (
    FLOAT32,
    Combine,
    Expert,
    Experts,
    Norm,
    Router,
)

from .calls import ERRORS, PRECISIONS, Kept, narrow_dtype, relative, run, wide
from .conftest import TeamOf


def make_router(
    kept: Kept, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, top_k: int, prune: float,
    norm: Norm | None = None, precision: int = FLOAT32,
) -> tuple[Router, dict[str, np.ndarray]]:  # fmt: skip
    rows, columns = x.shape
    experts = weight.shape[1]
    outputs = {
        "index": kept.output((rows, top_k), np.int32),
        "score": kept.output((rows, top_k)),
        "order": kept.output((rows * top_k,), np.int32),
        "offsets": kept.output((experts + 1,), np.int32),
        "normalised": kept.output((rows, columns), narrow_dtype(precision)),
    }
    addresses = [output.ctypes.data for output in outputs.values()]
    arguments = Router(
        norm or Norm(), kept.at(x), kept.at(pad_lanes(weight)), kept.at(pad_lanes(bias, -np.inf)),
        prune, *addresses, rows, columns, experts, top_k,
    )  # fmt: skip
    return arguments, outputs


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("rows", "columns", "experts", "top_k"), [(1, 5, 1, 1), (37, 21, 5, 2), (50, 192, 17, 4)]
)
def test_router(
    team_of: TeamOf, level: str, threads: int, rows: int, columns: int, experts: int, top_k: int
) -> None:
    random, kept = np.random.default_rng(rows), Kept()
    x = random.normal(2.0, 1.0, size=(rows, columns)).astype(np.float32)
    weight = random.normal(size=(columns, experts)).astype(np.float32)
    scale, shift = (random.normal(size=columns).astype(np.float32) for _ in range(2))
    bias = random.normal(size=experts).astype(np.float32)
    bias[1::4] = -np.inf
    router, found = make_router(kept, x, weight, bias, top_k, 0.1, kept.norm(scale, shift, 1e-6))
    run(team_of(level, threads), FLOAT32, kept, router)
    normed = oracle.layer_normalization(x, scale, shift, epsilon=1e-6)
    index, score = oracle.router(
        normed[None], 0, weight[None], bias[None], top_k=top_k, prune_scores=0.1
    )
    np.testing.assert_array_equal(found["index"], index[0])
    np.testing.assert_allclose(found["score"], score[0], rtol=2e-4, atol=1e-6)
    assert relative(found["normalised"], normed) < 1e-5
    # A counting sort: by expert, and inside a queue by place.
    np.testing.assert_array_equal(found["order"], np.argsort(index.ravel(), kind="stable"))
    counts = np.bincount(index.ravel(), minlength=experts)
    np.testing.assert_array_equal(found["offsets"], np.concatenate([[0], counts.cumsum()]))


def test_equal_scores_go_to_the_lower_expert(team_of: TeamOf, level: str) -> None:
    kept = Kept()
    x, weight = np.ones((3, 4), np.float32), np.zeros((4, 6), np.float32)
    bias = np.array([0, 1, 0, 1, 0, -np.inf], np.float32)
    router, found = make_router(kept, x, weight, bias, 5, 0.0)
    run(team_of(level, 1), FLOAT32, kept, router)
    np.testing.assert_array_equal(found["index"], [[1, 3, 0, 2, 4]] * 3)


ROUTINGS = ["random", "one", "ragged"]


def route(
    random: np.random.Generator, routing: str, rows: int, experts: int, top_k: int
) -> np.ndarray:
    """Experts by row: at random, all rows the same, or most of them the same."""
    index = np.argsort(random.random((rows, experts)), axis=1)[:, :top_k]
    if routing == "one":
        index[:] = np.arange(top_k)[::-1]
    if routing == "ragged":
        index[1:, :] = experts - 1 - np.arange(top_k)
    return index.astype(np.int32)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("routing", ROUTINGS)
def test_experts_and_their_sum(
    team_of: TeamOf, level: str, precision: str, threads: int, routing: str
) -> None:
    rows, columns, hidden, experts, top_k = 29, 37, 50, 5, 2
    random, kept, kind = np.random.default_rng(12), Kept(), PRECISIONS[precision]
    x = random.normal(size=(rows, columns)).astype(np.float32)
    index = route(random, routing, rows, experts, top_k)
    score = random.random((rows, top_k)).astype(np.float32)
    order = np.argsort(index.ravel(), kind="stable").astype(np.int32)
    counts = np.bincount(index.ravel(), minlength=experts)
    offsets = np.concatenate([[0], counts.cumsum()]).astype(np.int32)
    shapes = (hidden, columns), (hidden,), (columns, hidden), (columns,)
    weights = [
        0.2 * random.normal(size=shape).astype(np.float32)
        for _ in range(experts)
        for shape in shapes
    ]
    bank = (Expert * experts)(
        *(
            Expert(
                kept.weight(weights[4 * e], kind), kept.weight(weights[4 * e + 2], kind),
                kept.at(weights[4 * e + 1]), kept.at(weights[4 * e + 3]),
            )
            for e in range(experts)
        )
    )  # fmt: skip
    middle = kept.output((rows * top_k, 64), narrow_dtype(kind))
    answers, out = kept.output((rows, top_k, columns)), kept.output((rows, columns))
    out[:] = residual = random.normal(size=(rows, columns)).astype(np.float32)
    common = (
        kept.operand(x, kind), kept.at(order), kept.at(offsets), kept.at(score),
        middle.ctypes.data, answers.ctypes.data, experts,
    )  # fmt: skip
    combine = Combine(answers.ctypes.data, out.ctypes.data, out.ctypes.data, rows, top_k, columns)
    from ctypes import addressof

    whole = Experts(addressof(bank), None, *common, 0, top_k, columns)
    run(team_of(level, threads), kind, kept, whole, combine)
    wanted = residual + oracle.expert_mixture(x[None], index[None], score[None], *weights)[0]
    # Two products, one behind the other.
    assert relative(out, wanted) < 2 * ERRORS[kind]

    # In two halves, as under a memory budget: the same bits.
    at_once, answers[:] = answers.copy(), np.nan
    for chosen in ([4, 1], [3, 0, 2]):
        part = Experts(
            addressof(bank), kept.at(np.array(chosen, np.int64)), *common, len(chosen), top_k,
            columns,
        )  # fmt: skip
        run(team_of(level, threads), kind, kept, part)
    np.testing.assert_array_equal(answers, at_once)


def test_combine_alone(team_of: TeamOf, level: str) -> None:
    random, kept = np.random.default_rng(13), Kept()
    answers = random.normal(size=(7, 3, 21)).astype(np.float32)
    out = kept.output((7, 21))
    combine = Combine(kept.at(answers), None, out.ctypes.data, 7, 3, 21)
    run(team_of(level, 2), FLOAT32, kept, combine)
    assert relative(wide(out), answers.astype(np.float64).sum(axis=1)) < 3e-7
