"""The experts against float64: ragged queues, slots, experts in pieces, one-byte weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gearshift_kernels import oracle
from gearshift_kernels.approximations import GELU_ERROR, gelu_deltas
from gearshift_kernels.triton.experts import ExpertBank, combine, expert_fc1, expert_fc2
from gearshift_kernels.triton.launch import Device, Tiles
from gearshift_kernels.triton.norm import Norm
from gearshift_kernels.triton.quantise import FLOAT8, Weight, product_dtype, quantise, values_of
from gearshift_kernels.triton.queues import most_tiles
from gearshift_kernels.triton.router import router, router_blocks
from gearshift_kernels.triton.targets import TARGETS

from .conftest import ROUNDING, relative_error

Normal = Callable[..., Tensor]
Run = Callable[..., Tensor]
SMALL = Tiles({"BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 32})


def wide(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().cpu().double().numpy() for tensor in tensors]


def dequantised(weight: Weight) -> np.ndarray:
    (values,) = wide(values_of(weight))
    return values if isinstance(weight, Tensor) else values * wide(weight.scale)[0][..., None]


def make_bank(
    normal: Normal, experts: int, width: int, hidden: int, dtype: torch.dtype = torch.float32
) -> ExpertBank:
    """Expert e in slot e."""
    return ExpertBank(
        normal(experts, hidden, width, dtype=dtype, scale=width**-0.5),
        normal(experts, hidden),
        normal(experts, width, hidden, dtype=dtype, scale=hidden**-0.5),
        normal(experts, width),
        torch.arange(experts, dtype=torch.int32).to(normal(1).device),
    )


def in_slots(bank: ExpertBank, slots: list[int], count: int) -> ExpertBank:
    """The same experts in other slots of a pool whose other slots hold NaN, and with gaps."""

    def moved(tensor: Tensor) -> Tensor:
        shape = count, 3, *tensor.shape[1:]
        pool = torch.full(shape, torch.nan, dtype=tensor.dtype, device=tensor.device)[:, 1]
        pool[slots] = tensor
        return pool

    tensors = (moved(t) for t in (bank.fc1, bank.fc1_bias, bank.fc2, bank.fc2_bias))
    return ExpertBank(*tensors, torch.tensor(slots, dtype=torch.int32, device=bank.slot.device))


def queues(index: Tensor, experts: int) -> tuple[Tensor, Tensor]:
    """`order` and `offsets` of the choices `index` (M, K)."""
    order = torch.argsort(index.reshape(-1), stable=True).int()
    lengths = torch.bincount(index.reshape(-1), minlength=experts)
    return order, torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).int()


@dataclass(frozen=True)
class Experts:
    """Both products of a bank on poisoned outputs, in small tiles."""

    device: Device
    poisoned: Normal
    x: Tensor
    bank: ExpertBank
    index: Tensor
    score: Tensor
    gelu_deltas: Tensor | None = None
    hidden_dtype: torch.dtype | None = None
    tiles: Tiles | None = SMALL

    def run(self, *pieces: tuple[int, int | None]) -> tuple[Tensor, Tensor]:
        """hidden and answers, experts piece by piece (first, count); all at once by default."""
        (rows, top_k), (_, hidden, width) = self.index.shape, self.bank.fc1.shape
        dtype = self.hidden_dtype or product_dtype(self.bank.fc1)
        between = self.poisoned(rows * top_k, hidden, dtype=dtype)
        answers = self.poisoned(rows * top_k, width)
        order, offsets = queues(self.index, self.bank.experts)
        common = self.bank, order, offsets
        for first, count in pieces or ((0, None),):
            part = {"first": first, "count": count}
            launches = (
                expert_fc1(
                    self.device, self.x, *common, between,
                    top_k=top_k, gelu_deltas=self.gelu_deltas, **part,
                ),
                expert_fc2(self.device, between, *common, self.score, answers, **part),
            )  # fmt: skip
            for launch in launches:
                (launch.with_tiles(self.tiles) if self.tiles else launch).run()
        return between, answers

    def wanted(self) -> tuple[np.ndarray, np.ndarray]:
        """The answers of all choices (M K, D) in float64, and the largest error of each.

        A product of `inner` terms in float32 is off by (2^-22 + 4 sqrt(inner) 2^-24) of the sum of
        magnitudes; GELU passes on at most 1.13 of an error and adds its own; `hidden` is rounded.
        """
        x, score, b1, b2 = wide(self.x, self.score, self.bank.fc1_bias, self.bank.fc2_bias)
        w1, w2 = dequantised(self.bank.fc1), dequantised(self.bank.fc2)
        rounding = ROUNDING[self.hidden_dtype or product_dtype(self.bank.fc1)]
        gelu_error = 2**-20 if self.gelu_deltas is None else 1.01 * GELU_ERROR
        values, errors = [], []
        for token, k in np.ndindex(*self.index.shape):
            e = int(self.index[token, k])
            slot = int(self.bank.slot[e])
            hidden = oracle.gelu(w1[slot] @ x[token] + b1[slot])
            magnitude = abs(w1[slot]) @ abs(x[token]) + abs(b1[slot])
            error = 1.13 * sum_error(x.shape[1]) * magnitude + gelu_error * (1 + abs(hidden))
            error += rounding * (abs(hidden) + error)
            magnitude = abs(w2[slot]) @ abs(hidden) + abs(b2[slot])
            answer = w2[slot] @ hidden + b2[slot]
            error = abs(w2[slot]) @ error + sum_error(len(hidden)) * magnitude
            values.append(score[token, k] * answer)
            errors.append(score[token, k] * error)
        shape = self.index.numel(), len(w2[0])
        return np.reshape(values, shape), np.reshape(errors, shape)

    def check(self) -> None:
        _, answers = self.run()
        values, errors = self.wanted()
        assert not answers.isnan().any()
        assert (abs(wide(answers)[0] - values) <= errors).all()


def sum_error(inner: int) -> float:
    """Of a sum of products in float32, as a share of the sum of their magnitudes."""
    return 2**-22 + 4 * inner**0.5 * 2**-24


@pytest.fixture
def make(device: Device, normal: Normal, poisoned: Normal) -> Callable[..., Experts]:
    """`make(index, experts, width, hidden, dtype, ...)`: random tokens, scores and experts."""

    def build(
        index: Any, experts: int, width: int = 24, hidden: int = 40,
        dtype: torch.dtype = torch.float32, **options: Any,
    ) -> Experts:  # fmt: skip
        bank = make_bank(normal, experts, width, hidden, dtype)
        place = bank.slot.device
        index = torch.as_tensor(index, dtype=torch.int64, device=place)
        x, score = normal(len(index), width, dtype=dtype), normal(*index.shape).abs()
        return Experts(device, poisoned, x, bank, index, score, **options)

    return build


def random_index(rows: int, experts: int, top_k: int) -> np.ndarray:
    random = np.random.default_rng(8)
    return np.array([random.permutation(experts)[:top_k] for _ in range(rows)]).reshape(rows, top_k)


@pytest.mark.parametrize("narrow", [None, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("experts", "top_k"), [(5, 2), (12, 3)])
def test_mixture_from_router_to_residual(
    device: Device, normal: Normal, poisoned: Normal, experts: int, top_k: int,
    narrow: torch.dtype | None,
) -> None:  # fmt: skip
    """All four launches; the oracle gets the router's own choices, since 16 bits may flip them."""
    rows, width, hidden, dtype = 25, 24, 40, narrow or torch.float32
    stream, norm = normal(rows, width), Norm(normal(width, mean=1), normal(width), 1e-6)
    bank = make_bank(normal, experts, width, hidden, dtype)
    tokens, integers = poisoned(rows, width, dtype=dtype), {"dtype": torch.int32}
    index, score = poisoned(rows, top_k, **integers), poisoned(rows, top_k)
    order, offsets = poisoned(rows * top_k, **integers), poisoned(experts + 1, **integers)
    counts = poisoned(router_blocks(device, rows), experts, **integers)
    between, answers = poisoned(rows * top_k, hidden, dtype=dtype), poisoned(rows * top_k, width)
    out = poisoned(rows, width)
    launches = [
        *router(
            device, stream, normal(width, experts), top_k=top_k, prune_scores=0.05, index=index,
            score=score, order=order, offsets=offsets, counts=counts, norm=norm, normalised=tokens,
        ),
        expert_fc1(device, tokens, bank, order, offsets, between, top_k=top_k),
        expert_fc2(device, between, bank, order, offsets, score, answers),
        combine(device, answers, out, top_k=top_k, residual=stream),
    ]  # fmt: skip
    for launch in launches:
        launch.run()
    z = oracle.layer_normalization(*wide(stream, norm.scale, norm.bias), epsilon=1e-6)
    parts = wide(bank.fc1, bank.fc1_bias, bank.fc2, bank.fc2_bias)
    weights = [part[e] for e in range(experts) for part in parts]
    mixture = oracle.expert_mixture(z, index.cpu().numpy(), *wide(score), *weights)
    # Tokens and hidden numbers are rounded once each, with errors that spread over the sums.
    assert relative_error(out, wide(stream)[0] + mixture) < 3 * ROUNDING[dtype] + 4e-6


@pytest.mark.parametrize(
    ("index", "experts"),
    [
        (np.full((35, 1), 3), 5),
        (random_index(19, 1, 1), 1),
        (random_index(1, 5, 2), 5),
        (random_index(18, 4, 4), 4),
        (np.arange(27).reshape(9, 3) % 17, 17),
        (np.stack([np.zeros(17), np.arange(17) % 3 * 2 + 1], 1), 7),
        (random_index(0, 5, 2), 5),
    ],
    ids=["one expert has all", "one expert", "one token", "every expert", "many", "gaps", "none"],
)
def test_ragged_queues(make: Callable[..., Experts], index: np.ndarray, experts: int) -> None:
    make(index, experts).check()


def test_dtypes(make: Callable[..., Experts], dtype: torch.dtype) -> None:
    make(random_index(21, 4, 2), 4, 33, 50, dtype).check()


@pytest.mark.parametrize("kind", [torch.int8, FLOAT8], ids=str)
@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16], ids=str)
def test_one_byte_weights(
    make: Callable[..., Experts], kind: torch.dtype, narrow: torch.dtype
) -> None:
    experts = make(random_index(17, 3, 2), 3, dtype=narrow)
    bank = experts.bank
    quantised = replace(
        bank, fc1=quantise(bank.fc1, kind, narrow), fc2=quantise(bank.fc2, kind, narrow)
    )
    replace(experts, bank=quantised).check()


def test_tiles_of_the_tables(make: Callable[..., Experts]) -> None:
    make(random_index(40, 5, 2), 5, 48, 64, tiles=None).check()


def test_same_bits_every_time(make: Callable[..., Experts], dtype: torch.dtype) -> None:
    experts = make(random_index(17, 3, 2), 3, dtype=dtype)
    for first, second in zip(experts.run(), experts.run(), strict=True):
        assert torch.equal(first, second)


def test_slots_in_any_order_with_gaps(make: Callable[..., Experts]) -> None:
    experts = make(random_index(17, 4, 1), 4)
    moved = replace(experts, bank=in_slots(experts.bank, [5, 0, 6, 2], 7))
    moved.check()
    for first, second in zip(experts.run(), moved.run(), strict=True):
        assert torch.equal(first, second)


def test_pieces_make_the_same_bits(make: Callable[..., Experts]) -> None:
    experts = make(random_index(25, 4, 2), 4, dtype=torch.bfloat16)
    whole = experts.run()
    for pieces in ([(0, 2), (2, 1), (3, 1)], [(1, None), (0, 1)]):
        for part, wanted in zip(experts.run(*pieces), whole, strict=True):
            assert torch.equal(part, wanted)


def test_other_experts_are_not_touched(make: Callable[..., Experts]) -> None:
    experts = make(random_index(23, 6, 2), 6)
    hidden, answers = experts.run((2, 2), (5, 0))
    order, offsets = queues(experts.index, 6)
    inside = torch.zeros(len(hidden), dtype=torch.bool)
    inside[offsets[2] : offsets[4]] = True
    assert torch.equal(~hidden.isnan().any(1).cpu(), inside)
    assert torch.equal(hidden.isnan().all(1).cpu(), ~inside)
    chosen = ((experts.index == 2) | (experts.index == 3)).reshape(-1)
    assert torch.equal(~answers.isnan().any(1), chosen)
    assert torch.equal(answers.isnan().all(1), ~chosen)
    assert 0 < inside.sum() < len(order)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("rows", "width", "top_k"), [(129, 192, 2), (1201, 384, 4), (76864, 384, 4)]
)
def test_a_part_of_the_experts_is_cut_as_the_whole(
    target: str, rows: int, width: int, top_k: int
) -> None:
    """Tiles decide on the order of sums, and so on bits."""

    def meta(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    half, single = {"dtype": torch.bfloat16}, {"dtype": torch.float32}
    bank = ExpertBank(
        meta(16, 384, width, **half), meta(16, 384, **single), meta(16, width, 384, **half),
        meta(16, width, **single), meta(16),
    )  # fmt: skip
    x, hidden = meta(rows, width, **half), meta(rows * top_k, 384, **half)
    common = x, bank, meta(rows * top_k), meta(17), hidden
    whole = expert_fc1(Device(target), *common, top_k=top_k)
    part = expert_fc1(Device(target), *common, top_k=top_k, first=9, count=1)
    assert part.tiles == whole.tiles
    assert part.key == whole.key
    assert part.grid(part.tiles.blocks)[0] < whole.grid(whole.tiles.blocks)[0]
    table = expert_fc1(Device(target), *common, top_k=top_k, gelu_deltas=meta(10, **single))
    assert table.key != whole.key


def test_rows_any_distance_apart(
    device: Device, make: Callable[..., Experts], poisoned: Normal
) -> None:
    experts = make(random_index(19, 5, 2), 5, 27, 33)
    apart = torch.nn.functional.pad(experts.x, (3, 6))[:, 3:-6]
    between, answers = poisoned(38, 41)[:, 5:38], poisoned(38, 40)[:, 7:34]
    order, offsets = queues(experts.index, 5)
    common = experts.bank, order, offsets
    expert_fc1(device, apart, *common, between, top_k=2).with_tiles(SMALL).run()
    second = expert_fc2(device, between, *common, experts.score, answers)
    second.with_tiles(SMALL).run()
    for found, wanted in zip((between, answers), experts.run(), strict=True):
        assert torch.equal(found, wanted)
    assert answers._base is not None
    assert answers._base[:, :7].isnan().all()
    assert answers._base[:, 34:].isnan().all()


def test_tokens_are_rounded_to_the_dtype_of_the_weights(make: Callable[..., Experts]) -> None:
    experts = make(random_index(9, 3, 2), 3, dtype=torch.float16)
    x = experts.x.float() * 1.001
    wide_x, narrow_x = replace(experts, x=x).run(), replace(experts, x=x.half()).run()
    for found, wanted in zip(wide_x, narrow_x, strict=True):
        assert torch.equal(found, wanted)


def test_gelu_from_the_table(make: Callable[..., Experts]) -> None:
    experts = make(random_index(11, 3, 2), 3)
    deltas = torch.from_numpy(gelu_deltas()).to(experts.x.device)
    table = replace(experts, gelu_deltas=deltas)
    table.check()
    assert not torch.equal(table.run()[0], experts.run()[0])


def test_slots_beyond_two_billion_elements(make: Callable[..., Experts]) -> None:
    """Slot times distance does not fit into int32, though each of them does.

    Memory that nobody touches costs nothing.
    """
    experts = make(random_index(5, 2, 1), 2, dtype=torch.float16)
    bank = in_slots(experts.bank, [0, 3], 4)
    fc1 = quantise(bank.fc1.nan_to_num(), torch.int8, torch.float16)
    distance = 2**30
    far = torch.empty(3 * distance + 40 * 24, dtype=torch.int8, device=experts.x.device)
    values = far.as_strided((4, 40, 24), (distance, 24, 1))
    values.copy_(fc1.values)
    replace(experts, bank=replace(bank, fc1=replace(fc1, values=values))).check()


@pytest.mark.parametrize("top_k", [1, 3])
def test_combine_adds_in_order(
    device: Device, normal: Normal, poisoned: Normal, run_twice: Run, dtype: torch.dtype, top_k: int
) -> None:
    """Additions in float32 in this very order: no rounding is left open."""
    answers = (normal(21 * top_k, 40) * torch.pi).to(dtype)
    residual, out = normal(21, 40), poisoned(21, 40)
    tiles = Tiles({"BLOCK_M": 8, "BLOCK_N": 16})
    run_twice(combine(device, answers, out, top_k=top_k, residual=residual).with_tiles(tiles), out)
    total = torch.zeros_like(out)
    for k in range(top_k):
        total += answers[k::top_k].float()
    assert torch.equal(out, total + residual)
    combine(device, answers, out, top_k=top_k).run()
    assert torch.equal(out, total)
    combine(device, answers, residual, top_k=top_k, residual=residual.clone()).run()
    in_place = residual.clone()
    combine(device, answers, in_place, top_k=top_k, residual=in_place).run()
    assert torch.equal(in_place, total + residual)


def test_combine_rows_any_distance_apart(device: Device, normal: Normal, poisoned: Normal) -> None:
    answers, residual = normal(18, 30)[:, 2:27], normal(9, 31)[:, 1:26]
    whole = poisoned(9, 33)
    combine(device, answers, whole[:, 4:29], top_k=2, residual=residual).run()
    assert torch.equal(whole[:, 4:29], answers[::2] + answers[1::2] + residual)
    assert whole[:, :4].isnan().all()
    assert whole[:, 29:].isnan().all()


def test_combine_nothing(device: Device, normal: Normal, poisoned: Normal) -> None:
    combine(device, normal(0, 8), poisoned(0, 8), top_k=2).run()


def test_most_tiles_is_enough_and_no_more_than_needed() -> None:
    """Against all lengths that the queues of a few tokens can have."""
    for rows, experts, block in itertools.product(range(5), (1, 2, 3, 4), (1, 2, 3)):
        for top_k in range(1, experts + 1):
            possible = [
                lengths
                for lengths in itertools.product(range(rows + 1), repeat=experts)
                if sum(lengths) == rows * top_k
            ]
            for covered in range(experts + 1):
                needed = max(
                    sum(-(-length // block) for length in lengths[:covered]) for lengths in possible
                )
                assert most_tiles(rows, top_k, covered, block) >= needed
                if covered == experts or block == 1:
                    assert most_tiles(rows, top_k, covered, block) - needed <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc2": (3, 8, 5)}, r"fc2 has shape \(3, 8, 5\), not \(3, 8, 6\)"),
        ({"fc1_bias": (3, 8)}, r"fc1_bias has shape \(3, 8\), not \(3, 6\)"),
        ({"fc2_bias": (2, 8)}, r"fc2_bias has shape \(2, 8\), not \(3, 8\)"),
        ({"slot": (3,)}, "slot is torch.float32, not torch.int32"),
    ],
)
def test_banks_that_do_not_fit(normal: Normal, change: dict[str, tuple], message: str) -> None:
    bank = make_bank(normal, 3, 8, 6)
    with pytest.raises(ValueError, match=message):
        replace(bank, **{name: normal(*shape) for name, shape in change.items()})


def test_scattered_weights_are_refused(normal: Normal) -> None:
    bank = make_bank(normal, 3, 8, 6)
    with pytest.raises(ValueError, match=r"fc1 has strides .*: the elements of a row"):
        replace(bank, fc1=normal(3, 8, 6).transpose(1, 2))
    quantised = quantise(bank.fc1, torch.int8, torch.float16)
    with pytest.raises(ValueError, match=r"the scale of fc1 has shape \(3, 5\), not \(3, 6\)"):
        replace(bank, fc1=replace(quantised, scale=normal(3, 5)))


def test_arguments_that_do_not_fit(device: Device, normal: Normal, poisoned: Normal) -> None:
    bank = make_bank(normal, 3, 8, 6)
    order, offsets = queues(torch.zeros(4, 2, dtype=torch.int64), 3)

    def first(x: Tensor, hidden: Tensor, top_k: int = 2, **part: int) -> None:
        expert_fc1(device, x, bank, order, offsets, hidden, top_k=top_k, **part)

    def second(hidden: Tensor, score: Tensor) -> None:
        expert_fc2(device, hidden, bank, order, offsets, score, normal(8, 8))

    x, hidden, score = normal(4, 8), normal(8, 6), normal(4, 2)
    first(x, hidden)
    second(hidden, score)
    with pytest.raises(ValueError, match="experts 2 to 3 of 3"):
        first(x, hidden, first=2, count=2)
    with pytest.raises(ValueError, match="experts -1 to 2 of 3"):
        first(x, hidden, first=-1)
    with pytest.raises(ValueError, match=r"x has shape \(4, 7\), not \(4, 8\)"):
        first(normal(4, 7), hidden)
    with pytest.raises(ValueError, match=r"hidden has shape \(7, 6\), not \(8, 6\)"):
        first(x, normal(7, 6))
    with pytest.raises(ValueError, match=r"order has shape \(8,\), not \(12,\)"):
        first(x, hidden, top_k=3)
    with pytest.raises(ValueError, match=r"hidden has shape \(8, 5\), not \(8, 6\)"):
        second(normal(8, 5), score)
    with pytest.raises(ValueError, match=r"score is torch\.float16, not torch\.float32"):
        second(hidden, score.half())
    with pytest.raises(ValueError, match=r"answers has shape \(8, 8\), not \(12, 8\)"):
        combine(device, normal(8, 8), poisoned(4, 8), top_k=3)
    with pytest.raises(ValueError, match=r"residual has shape \(4, 7\), not \(4, 8\)"):
        combine(device, normal(8, 8), poisoned(4, 8), top_k=2, residual=normal(4, 7))
