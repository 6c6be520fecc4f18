"""The router and the expert queues against float64: ties, windows, pruning, many blocks, NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gearshift_kernels import oracle
from gearshift_kernels.triton.launch import Device, Tiles
from gearshift_kernels.triton.norm import Norm
from gearshift_kernels.triton.queues import expert_queues
from gearshift_kernels.triton.router import router, router_blocks
from gearshift_kernels.triton.targets import TARGETS

from .conftest import ROUNDING, relative_error

Normal = Callable[..., Tensor]
SMALL_BLOCKS = Device("sm_90")
"""Its blocks of tokens are small, so that few tokens make several; it need not be there."""
SMALL = (Tiles({"BLOCK_K": 16}), Tiles({"BLOCK_B": 2}))
"""Two blocks are counted at a time."""


@dataclass(frozen=True)
class Routed:
    """What the router wrote."""

    index: Tensor
    score: Tensor
    order: Tensor
    offsets: Tensor

    def check_queues(self) -> None:
        """The queues are a stable sort of the choices by expert."""
        experts = self.index.cpu().numpy().reshape(-1)
        lengths = np.bincount(experts, minlength=len(self.offsets) - 1)
        np.testing.assert_array_equal(self.order.cpu(), np.argsort(experts, kind="stable"))
        np.testing.assert_array_equal(self.offsets.cpu(), np.append(0, np.cumsum(lengths)))

    def queue(self, expert: int) -> list[int]:
        begin, end = self.offsets[expert : expert + 2].tolist()
        return self.order[begin:end].tolist()


Route = Callable[..., Routed]


@pytest.fixture
def route(poisoned: Normal) -> Route:
    """`route(device, x, weight, top_k, tiles=..., ...)`: both launches twice, the bits compared."""

    def run(
        device: Device, x: Tensor, weight: Tensor, top_k: int, tiles: Any = None, **options: Any
    ) -> Routed:
        rows, experts = len(x), weight.shape[1]
        counts = poisoned(router_blocks(device, rows), experts, dtype=torch.int32)
        options.setdefault("prune_scores", 0.0)
        found = []
        for _ in range(2):
            out = Routed(
                poisoned(rows, top_k, dtype=torch.int32),
                poisoned(rows, top_k),
                poisoned(rows * top_k, dtype=torch.int32),
                poisoned(experts + 1, dtype=torch.int32),
            )
            launches = router(device, x, weight, top_k=top_k, counts=counts, **vars(out), **options)
            if tiles:
                launches = [a.with_tiles(b) for a, b in zip(launches, tiles, strict=True)]
            for launch in launches:
                launch.run()
            found.append(out)
        for first, second in zip(vars(found[0]).values(), vars(found[1]).values(), strict=True):
            assert torch.equal(first.view(torch.int32), second.view(torch.int32))
        found[0].check_queues()
        return found[0]

    return run


def wide(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().cpu().double().numpy() for tensor in tensors]


def wanted(
    x: np.ndarray, weight: Tensor, top_k: int, bias: Tensor | None = None, prune: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    (w,) = wide(weight)
    b = np.zeros(w.shape[1]) if bias is None else wide(bias)[0]
    with np.errstate(invalid="ignore"):  # No expert may be open.
        return oracle.router(x, 0, w[None], b[None], top_k=top_k, prune_scores=prune)


def check(found: Routed, index: np.ndarray, score: np.ndarray, inner: int) -> None:
    """The same experts with the same scores."""
    np.testing.assert_array_equal(found.index.cpu(), index)
    np.testing.assert_allclose(found.score.cpu(), score, rtol=score_error(inner), atol=1e-30)


def score_error(inner: int) -> float:
    """Relative, of a score: that of its logit, twice, and of exp.

    A logit here is below 16 and has the error of a sum of `inner` products in float32.
    """
    return 2 * 16 * (2**-22 + 4 * inner**0.5 * 2**-24) + 2**-21


@pytest.mark.parametrize(
    ("rows", "experts", "inner", "top_k"),
    [
        (1, 1, 1, 1),
        (1, 5, 8, 2),
        (37, 5, 40, 1),
        (70, 16, 33, 4),
        (33, 64, 50, 5),
        (19, 16, 24, 16),
    ],
)
def test_best_experts_and_queues(
    device: Device, normal: Normal, route: Route, rows: int, experts: int, inner: int, top_k: int
) -> None:
    x, weight, bias = (
        normal(rows, inner),
        normal(inner, experts, scale=inner**-0.5),
        normal(experts),
    )
    found = route(device, x, weight, top_k, bias=bias)
    check(found, *wanted(wide(x)[0], weight, top_k, bias), inner)


@pytest.mark.parametrize("rows", [16, 70])
def test_many_blocks(normal: Normal, route: Route, rows: int) -> None:
    """Blocks of 16 tokens, the last of them not full."""
    assert router_blocks(SMALL_BLOCKS, rows) == -(-rows // 16)
    x, weight = normal(rows, 40), normal(40, 5, scale=0.3)
    found = route(SMALL_BLOCKS, x, weight, 2, SMALL)
    check(found, *wanted(wide(x)[0], weight, 2), 40)


def test_a_whole_image(device: Device, normal: Normal, route: Route, poisoned: Normal) -> None:
    """M3ViT small at 480 x 640."""
    x, weight = normal(1201, 384), normal(384, 16, scale=384**-0.5)
    norm, normalised = Norm(normal(384, mean=1), normal(384), 1e-6), poisoned(1201, 384)
    found = route(device, x, weight, 4, norm=norm, normalised=normalised)
    z = oracle.layer_normalization(*wide(x, norm.scale, norm.bias), epsilon=1e-6)
    # Some scores are nearer to each other than float32 tells apart: either order is right.
    index, score = wanted(z, weight, 16)
    scores = np.zeros_like(score)
    np.put_along_axis(scores, index, score, -1)
    chosen = np.take_along_axis(scores, found.index.cpu().long().numpy(), -1)
    np.testing.assert_allclose(chosen, score[:, :4], rtol=score_error(384))
    np.testing.assert_allclose(found.score.cpu(), chosen, rtol=score_error(384))
    assert relative_error(normalised, z) < 2e-6


@pytest.mark.parametrize("narrow", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_normalised_tokens(
    device: Device, normal: Normal, route: Route, poisoned: Normal, narrow: torch.dtype
) -> None:
    """What the experts read is rounded once; what the router reads is not."""
    x, weight, bias = normal(21, 50, mean=3), normal(50, 7, scale=0.2), normal(7)
    norm, normalised = Norm(normal(50, mean=1), normal(50), 1e-6), poisoned(21, 50, dtype=narrow)
    found = route(device, x, weight, 3, bias=bias, norm=norm, normalised=normalised)
    z = oracle.layer_normalization(*wide(x, norm.scale, norm.bias), epsilon=1e-6)
    check(found, *wanted(z, weight, 3, bias), 50)
    assert relative_error(normalised, z) < 1.01 * ROUNDING[narrow] + 2e-6


def test_without_a_norm_tokens_are_only_rounded(
    device: Device, normal: Normal, route: Route, poisoned: Normal
) -> None:
    x, narrow = normal(9, 12) * 1.001, poisoned(9, 12, dtype=torch.float16)
    route(device, x, normal(12, 3), 2, normalised=narrow)
    assert torch.equal(narrow, x.half())


def test_rows_any_distance_apart(
    device: Device, normal: Normal, route: Route, poisoned: Normal
) -> None:
    x, weight, whole = normal(19, 40)[:, 3:30], normal(27, 9, scale=0.3)[:, 1:7], poisoned(19, 37)
    norm = Norm(normal(27), normal(27), 1e-6)
    found = route(device, x, weight, 2, norm=norm, normalised=whole[:, 5:32])
    z = oracle.layer_normalization(*wide(x, norm.scale, norm.bias), epsilon=1e-6)
    check(found, *wanted(z, weight, 2), 27)
    assert relative_error(whole[:, 5:32], z) < 2e-6
    assert whole[:, :5].isnan().all()
    assert whole[:, 32:].isnan().all()


def test_equal_scores_go_to_the_lower_expert(device: Device, normal: Normal, route: Route) -> None:
    """Small integers, so that equal columns have equal logits however they are added up."""
    x = normal(23, 20).round()
    columns = normal(20, 3).round()
    weight = columns[:, [0, 1, 2, 1, 0, 2, 2, 1]] / 8
    check(route(device, x, weight, 5), *wanted(wide(x)[0], weight, 5), 20)
    found = route(device, x, torch.zeros_like(weight), 5)
    assert found.index.tolist() == [[0, 1, 2, 3, 4]] * 23
    assert found.score.unique().tolist() == [1 / 8]


@pytest.mark.parametrize("top_k", [3, 8])
def test_a_window_of_experts(device: Device, normal: Normal, route: Route, top_k: int) -> None:
    """Six of sixteen are open; of eight the last two must be shut ones, with no score."""
    x, weight, bias = normal(31, 24), normal(24, 16, scale=0.2), normal(16)
    bias[:5] = bias[11:] = -torch.inf
    found = route(device, x, weight, top_k, bias=bias)
    check(found, *wanted(wide(x)[0], weight, top_k, bias), 24)
    if top_k == 8:
        assert found.index[:, 6:].tolist() == [[0, 1]] * 31
        assert not found.score[:, 6:].any()


def test_pruned_scores(device: Device, normal: Normal, route: Route) -> None:
    x, weight = normal(40, 24), normal(24, 6, scale=0.3)
    found = route(device, x, weight, 3, prune_scores=0.25)
    check(found, *wanted(wide(x)[0], weight, 3, prune=0.25), 24)
    assert 0 < (found.score == 0).sum() < found.score.numel()
    assert not route(device, x, torch.zeros_like(weight[:, :4]), 3, prune_scores=1 / 4).score.any()


def test_all_tokens_at_one_expert(device: Device, normal: Normal, route: Route) -> None:
    x, weight, bias = normal(35, 8), normal(8, 5, scale=0.1), torch.tensor([0.0, 0, 0, 9, 0])
    found = route(device, x, weight, 1, bias=bias.to(x.device))
    assert found.offsets.tolist() == [0, 0, 0, 0, 35, 35]
    assert found.queue(3) == list(range(35))


def test_no_tokens_empty_queues(device: Device, normal: Normal, route: Route) -> None:
    found = route(device, normal(0, 8), normal(8, 5), 2)
    assert found.offsets.tolist() == [0] * 6


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_tokens_that_are_not_numbers(normal: Normal, route: Route) -> None:
    """They stay in their own rows, and their experts are experts, each once."""
    x, weight, bias = normal(40, 24), normal(24, 5, scale=0.3), normal(5)
    clean = route(SMALL_BLOCKS, x, weight, 3, SMALL, bias=bias)
    x[3], x[17, 2], x[39, 5] = torch.nan, torch.inf, -torch.inf
    found = route(SMALL_BLOCKS, x, weight, 3, SMALL, bias=bias)
    broken = [3, 17, 39]
    assert found.index[3].tolist() == [0, 1, 2]
    assert found.score[3].tolist() == [0, 0, 0]
    for row in found.index[broken].tolist():
        assert len(set(row)) == 3
        assert set(row) <= set(range(5))
    rest = [row for row in range(40) if row not in broken]
    assert torch.equal(found.index[rest], clean.index[rest])
    assert torch.equal(found.score[rest], clean.score[rest])
    shut = torch.full_like(bias, -torch.inf)
    found = route(SMALL_BLOCKS, x, weight, 3, SMALL, bias=shut, prune_scores=-2.0)
    assert found.index.tolist() == [[0, 1, 2]] * 40
    assert not found.score.any()


@pytest.mark.parametrize("target", TARGETS)
def test_a_block_of_tokens_at_least_is_counted(target: str) -> None:
    """`counts` with a row a token is always enough."""
    for rows in (0, 1, 129, 1201, 64 * 1201):
        assert router_blocks(Device(target), rows) <= min(rows, 5000)


def arguments(**changes: Any) -> dict[str, Any]:
    """Those of a router that fits, without data, but for `changes`."""

    def make(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    fitting = {
        "x": make(20, 8), "weight": make(8, 5), "top_k": 2, "prune_scores": 0.0,
        "index": make(20, 2, dtype=torch.int32), "score": make(20, 2),
        "order": make(40, dtype=torch.int32), "offsets": make(6, dtype=torch.int32),
        "counts": make(2, 5, dtype=torch.int32),
    }  # fmt: skip
    shapes = {name: make(*value) for name, value in changes.items() if isinstance(value, tuple)}
    return fitting | changes | shapes


def test_arguments_that_fit() -> None:
    gate, queues = router(SMALL_BLOCKS, **arguments())
    assert gate.name == "router"
    assert queues.name == "expert_queues"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_k": 0}, "top_k is 0, not from 1 to 5"),
        ({"top_k": 6}, "top_k is 6, not from 1 to 5"),
        ({"weight": (7, 5)}, r"weight has shape \(7, 5\), not \(8, 5\)"),
        ({"bias": (4,)}, r"bias is not \(5,\)"),
        ({"index": (20, 2)}, "index is torch.float32, not torch.int32"),
        ({"score": (20, 3)}, r"score has shape \(20, 3\), not \(20, 2\)"),
        ({"counts": (3, 5)}, r"counts has shape \(3, 5\), not \(2, 5\)"),
        ({"order": (20,)}, r"order has shape \(20,\), not \(40,\)"),
        ({"offsets": (5,)}, r"offsets has shape \(5,\), not \(6,\)"),
        ({"normalised": (20, 9)}, r"normalised has shape \(20, 9\), not \(20, 8\)"),
    ],
)
def test_arguments_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        router(SMALL_BLOCKS, **arguments(**changes))


def test_norms_and_strides_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="norm is not of width 8"):
        router(SMALL_BLOCKS, **arguments(norm=Norm(torch.ones(9), torch.ones(9), 1e-6)))
    with pytest.raises(ValueError, match="the elements of a row must be contiguous"):
        router(SMALL_BLOCKS, **arguments(x=torch.empty(8, 20, device="meta").t()))
    with pytest.raises(ValueError, match=r"score has strides .*: it must be contiguous"):
        router(SMALL_BLOCKS, **arguments(score=torch.empty(2, 20, device="meta").t()))


def test_more_choices_than_int32_holds() -> None:
    def make(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.int32, device="meta")

    with pytest.raises(ValueError, match="1073741824 tokens x 2 experts: too many for int32"):
        expert_queues(SMALL_BLOCKS, make(2**30, 2), make(2**23, 5), make(2**31), make(6), 128)
