"""The golden model's router and expert mixture against float64 formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gearshift_hls import golden
from gearshift_hls.board import ZCU104
from gearshift_hls.build import SMALL_BUILD as SMALL
from gearshift_hls.descriptor import (
    Experts,
    Route,
    Status,
    align,
    queue_bytes,
    queue_offset,
)
from gearshift_hls.records import ENTRY, pack_stream
from gearshift_kernels import oracle

from .one_command import (
    GELU_ERROR,
    GELU_SLOPE,
    POWER_ERROR,
    Generator,
    OneCommand,
    channels_of,
    int8,
    product,
    records,
    scale_of,
)


@pytest.fixture
def rng() -> Generator:
    return np.random.default_rng(11)


# Router.


def routed(
    done: OneCommand, command: Route
) -> tuple[list[list[tuple[int, int]]], NDArray[np.uint8]]:
    """Queues as lists of (token, score), and all their bytes."""
    region = done.region("queues")
    data = done.memory[region.address : region.address + region.nbytes]
    counts = data[: 4 * command.experts].view("<u4")
    queues = []
    for expert, count in enumerate(counts.tolist()):
        place = queue_offset(expert, command.experts, command.tokens)
        entries = data[place : place + ENTRY.itemsize * count].view(ENTRY)
        queues.append([(int(entry["token"]), int(entry["score"])) for entry in entries])
    return queues, data


@pytest.mark.parametrize(
    ("tokens", "experts", "top_k", "kind"),
    [
        (1, 1, 1, "random"),
        (128, 8, 4, "random"),
        (17, 5, 2, "random"),
        (17, 4, 4, "ties"),
        (16, 8, 1, "one expert"),
        (33, 8, 2, "pairs"),
        (5, 64, 8, "pairs"),
        (40, 64, 8, "few"),
    ],
)
def test_route(rng: Generator, tokens: int, experts: int, top_k: int, kind: str) -> None:
    x = np.rint(rng.normal(0, 1000, (tokens, 64))).astype("<i2")
    weights = rng.integers(-300, 300, (experts, 64)).astype("<i2")
    biases = rng.integers(-500, 500, experts).astype("<i4")
    if kind == "ties":
        weights[:], biases[:] = 0, 3
    if kind == "few":  # three different logits
        x[:], weights[:], biases[:] = rng.integers(-9, 9, x.shape), 0, 0
        weights[:, :3] = np.eye(3)[rng.integers(0, 3, experts)]
    if kind == "pairs":  # every logit stands there twice
        weights[1::2], biases[1::2] = weights[::2], biases[::2]
    if kind == "one expert":
        biases[3] = 1 << 30
    multiplier, shift, prune = 40_000, 26, 4000
    command = Route(tokens, 64, experts, top_k, multiplier, shift, prune, 0, 0, 0, 0)
    arrays = {"normalised": x, "weights": weights, "biases": biases}
    build = SMALL if experts <= SMALL.max_experts else ZCU104.build
    done = OneCommand(build, command, arrays)
    before = done.memory.copy()
    queues, data = routed(done.run(), command)

    logits = x.astype(float) @ weights.T.astype(float) + biases.astype(float) * 2**10
    assert (done.traced["logits"][0] == logits).all()
    powers = np.clip(logits * multiplier / 2**shift, -(2.0**31), 2.0**31 - 1) / 2**10
    scores = oracle.softmax(powers * math.log(2))
    wanted: list[list[tuple[int, float]]] = [[] for _ in range(experts)]
    for token in range(tokens):
        best = sorted(range(experts), key=lambda each: (-logits[token, each], each))
        assert done.traced["chosen"][0][token].tolist() == best[:top_k]
        for expert in best[:top_k]:
            wanted[expert].append((token, scores[token, expert]))
    assert [[token for token, _ in queue] for queue in queues] == [
        [token for token, _ in queue] for queue in wanted
    ]
    # A power's rounding moves each term by its share; terms are wrong by POWER_ERROR besides.
    for expert, queue in enumerate(queues):
        for (_, found), (_, share) in zip(queue, wanted[expert], strict=True):
            tolerance = share * (2 * math.log(2) / 2**11 * 1.01 + experts * POWER_ERROR)
            tolerance += POWER_ERROR + 2**-17 + (2**-16 if share > 0.9999 else 0)
            exact_is_pruned = share * 2**16 <= prune
            if found == 0:
                assert share <= prune / 2**16 + tolerance
            else:
                assert found > prune
                assert abs(found / 2**16 - share) <= tolerance
            assert exact_is_pruned == (found == 0) or abs(share - prune / 2**16) <= tolerance
    if kind == "one expert":
        assert len(queues[3]) == tokens
        assert all(score == 65535 for _, score in queues[3])
        assert all(queue == [] for expert, queue in enumerate(queues) if expert != 3)

    untouched = before[done.region("queues").address :][: len(data)].copy()
    counts_end = align(4 * experts)
    assert (data[4 * experts : counts_end] == 0).all()
    for expert, queue in enumerate(queues):
        place = queue_offset(expert, experts, tokens)
        used = place + ENTRY.itemsize * len(queue)
        padded = place + align(ENTRY.itemsize * len(queue))
        room = place + align(ENTRY.itemsize * tokens)
        assert (data[used:padded] == 0).all()
        assert (data[padded:room] == untouched[padded:room]).all()


def test_every_score_is_pruned_or_none(rng: Generator) -> None:
    x = np.zeros((3, 16), "<i2")
    weights, biases = np.zeros((4, 16), "<i2"), np.zeros(4, "<i4")
    for prune, wanted in ((16383, 16384), (16384, 0)):
        command = Route(3, 16, 4, 2, 1, 0, prune, 0, 0, 0, 0)
        arrays = {"normalised": x, "weights": weights, "biases": biases}
        queues, _ = routed(OneCommand(SMALL, command, arrays).run(), command)
        assert queues[:2] == [[(0, wanted), (1, wanted), (2, wanted)]] * 2
        assert queues[2:] == [[], []]


# Experts.


def experts_case(rng: Generator, queues: list[list[int]], tokens: int) -> tuple[Any, ...]:
    """Command, arrays and float64 parts of an expert mixture of these queues of tokens."""
    channels, hidden, experts = 16, 32, len(queues)
    command = Experts(tokens, channels, hidden, experts, 40_000, 26, 20, 0, 0, 0, 0)
    data = np.zeros(queue_bytes(experts, tokens), np.uint8)
    parts, streams, scores = [], [], []
    for expert, queue in enumerate(queues):
        entries = records(ENTRY, token=queue, score=rng.integers(0, 1 << 16, len(queue)))
        if not queue:
            entries = entries[:0]
        data[4 * expert : 4 * expert + 4] = np.array([len(queue)], "<u4").view(np.uint8)
        place = queue_offset(expert, experts, tokens)
        data[place : place + entries.nbytes] = entries.view(np.uint8)
        scores.append(entries["score"].tolist())
        first = int8(rng, hidden, channels), channels_of(rng, channels, hidden, 13)
        second = int8(rng, channels, hidden), channels_of(rng, hidden, channels, 22)
        streams.append(
            np.concatenate(
                [
                    np.frombuffer(pack_stream(SMALL, *each), np.uint8).reshape(2, -1)
                    for each in (first, second)
                ],
                axis=1,
            )
        )
        parts.append((first, second))
    x = int8(rng, tokens, channels)
    residual = rng.integers(-(1 << 24), 1 << 24, (tokens, channels)).astype("<i4")
    arrays = {"x": x, "queues": data, "weights": np.stack(streams), "y": residual}
    return command, arrays, parts, scores


@pytest.mark.parametrize(
    ("tokens", "queues"),
    [
        (1, [[0]]),
        (9, [[0, 3, 8], [], list(range(9)), [5]]),
        (20, [list(range(20)), list(range(20))]),
        (6, [[], []]),
    ],
)
def test_experts(rng: Generator, tokens: int, queues: list[list[int]]) -> None:
    command, arrays, parts, scores = experts_case(rng, queues, tokens)
    done = OneCommand(SMALL, command, arrays).run()
    wanted = arrays["y"].astype(np.float64)
    tolerance = np.zeros_like(wanted)
    scale = 2**16 * command.gelu_multiplier / 2**command.gelu_shift
    for queue, score, (first, second) in zip(queues, scores, parts, strict=True):
        for token, share in zip(queue, score, strict=True):
            inside = np.clip(product(arrays["x"][token], *first), -(1 << 15), (1 << 15) - 1)
            hidden = np.clip(oracle.gelu(inside / 2**10) * scale + command.zero, 0, 255)
            wrong = (GELU_ERROR + GELU_SLOPE * 2**-11) * scale + 0.5
            wanted[token] += product(hidden, *second) * share / 2**16
            spread = np.abs(second[0].astype(float)).sum(axis=1) * scale_of(second[1])
            tolerance[token] += (wrong * spread + 0.5) * share / 2**16 + 0.5
    y = done.result("y", "<i4", tokens, 16)
    assert (np.abs(y - wanted) <= tolerance).all()
    if not any(queues):
        assert (y == arrays["y"]).all()


@pytest.mark.parametrize(
    ("expert", "words"), [(0, [7]), (1, [0xFFFFFFFF]), (0, [2, 6]), (1, [1, 0xFFFF])]
)
def test_queues_that_name_what_is_not_there(rng: Generator, expert: int, words: list[int]) -> None:
    """A count above the tokens; a token that does not exist."""
    command, arrays, *_ = experts_case(rng, [[0, 1], [5]], 6)
    data = arrays["queues"]
    data[4 * expert : 4 * expert + 4] = np.array(words[:1], "<u4").view(np.uint8)
    if len(words) > 1:
        place = queue_offset(expert, 2, 6)
        data[place : place + 2] = np.array(words[1:], "<u2").view(np.uint8)
    done = OneCommand(SMALL, command, arrays)
    ending = golden.run(SMALL, done.memory, done.write_base, 0)
    assert ending == golden.Ending(Status.BAD_QUEUE, 0)
