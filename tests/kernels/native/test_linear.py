"""Linear layers, patches, norms and resizing against float64, at awkward sizes."""

from __future__ import annotations

import numpy as np
import pytest

from gearshift_kernels import oracle
from gearshift_kernels.native.structures import (
    FLOAT32,
    LayerNorm,
    Linear,
    Norm,
    PatchEmbedding,
    Resize,
)

from .calls import ERRORS, PRECISIONS, Kept, narrow_dtype, relative, run, wide
from .conftest import TeamOf

SIZES = [(1, 1, 1), (1, 5, 3), (13, 192, 21), (37, 70, 50), (129, 33, 65), (50, 384, 17)]
"""Rows, inputs, outputs: one of each, ragged against every tile, one panel too many."""


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_product(
    team_of: TeamOf, level: str, precision: str, threads: int, size: tuple[int, int, int]
) -> None:
    rows, inputs, outputs = size
    random, kept, kind = np.random.default_rng(sum(size)), Kept(), PRECISIONS[precision]
    x = random.normal(size=(rows, inputs)).astype(np.float32)
    weight = random.normal(size=(outputs, inputs)).astype(np.float32)
    out = kept.output((rows, outputs))
    linear = Linear(
        kept.weight(weight, kind), Norm(), kept.at(x), None, None, out.ctypes.data,
        rows, inputs, outputs, 1, 1, 0,
    )  # fmt: skip
    run(team_of(level, threads), kind, kept, linear)
    assert relative(out, x.astype(np.float64) @ weight.T) < ERRORS[kind]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("threads", [1, 2])
def test_norm_bias_gelu_and_residual(
    team_of: TeamOf, level: str, precision: str, threads: int
) -> None:
    rows, inputs, outputs, stride = 29, 50, 37, 48
    random, kept, kind = np.random.default_rng(5), Kept(), PRECISIONS[precision]
    x = random.normal(3.0, 2.0, size=(rows, inputs)).astype(np.float32)
    weight = 0.3 * random.normal(size=(outputs, inputs)).astype(np.float32)
    bias, scale, shift = (
        random.normal(size=n).astype(np.float32) for n in (outputs, inputs, inputs)
    )
    out = kept.output((rows, stride))
    out[:, :outputs] = residual = random.normal(size=(rows, outputs)).astype(np.float32)
    linear = Linear(
        kept.weight(weight, kind), kept.norm(scale, shift, 1e-6), kept.at(x), kept.at(bias),
        out.ctypes.data, out.ctypes.data, rows, inputs, stride, 1, 1, 1,
    )  # fmt: skip
    run(team_of(level, threads), kind, kept, linear)
    normed = oracle.layer_normalization(x, scale, shift, epsilon=1e-6)
    wanted = residual + oracle.gelu(normed @ weight.T + bias)
    assert relative(out[:, :outputs], wanted) < ERRORS[kind]
    assert np.isnan(out[:, outputs:]).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_operands_in_and_out(team_of: TeamOf, level: str, precision: str) -> None:
    rows, inputs, outputs = 24, 64, 40
    random, kept, kind = np.random.default_rng(6), Kept(), PRECISIONS[precision]
    x = random.normal(size=(rows, inputs)).astype(np.float32)
    weight = random.normal(size=(outputs, inputs)).astype(np.float32)
    out = kept.output((rows, outputs), narrow_dtype(kind))
    linear = Linear(
        kept.weight(weight, kind), Norm(), kept.operand(x, kind), None, None, out.ctypes.data,
        rows, inputs, outputs, 0, 0, 0,
    )  # fmt: skip
    run(team_of(level, 2), kind, kept, linear)
    assert relative(wide(out), x.astype(np.float64) @ weight.T) < ERRORS[kind]


def test_int8_is_exact_on_whole_numbers(team_of: TeamOf, level: str) -> None:
    random, kept, kind = np.random.default_rng(7), Kept(), PRECISIONS["int8"]
    x = random.integers(-127, 128, (19, 100)).astype(np.float32)
    weight = random.integers(-127, 128, (35, 100)).astype(np.float32)
    x[:, 0] = weight[:, 0] = 127
    x[3], weight[4] = 0, 0
    out = kept.output((19, 35))
    linear = Linear(
        kept.weight(weight, kind), Norm(), kept.at(x), None, None, out.ctypes.data,
        19, 100, 35, 1, 1, 0,
    )  # fmt: skip
    run(team_of(level, 1), kind, kept, linear)
    # Sums of up to 1.6 million are exact in int32; scaling rounds them once or twice.
    assert relative(out, x.astype(np.float64) @ weight.T) < 3e-7
    assert (out[3] == 0).all()
    assert (out[:, 4] == 0).all()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("size", "patch"), [((8, 8), 8), ((6, 10), 2), ((20, 30), 10)])
def test_patch_embedding(
    team_of: TeamOf, level: str, precision: str, size: tuple[int, int], patch: int
) -> None:
    random, kept, kind = np.random.default_rng(8), Kept(), PRECISIONS[precision]
    width, rows, columns = 21, size[0] // patch, size[1] // patch
    image = random.normal(size=(2, 3, *size)).astype(np.float32)
    weight = random.normal(size=(width, 3, patch, patch)).astype(np.float32)
    bias = random.normal(size=width).astype(np.float32)
    token = random.normal(size=(1, 1, width)).astype(np.float32)
    positions = random.normal(size=(1, width, rows, columns)).astype(np.float32)
    table = np.concatenate([token[0], positions[0].reshape(width, -1).T + bias])
    out = kept.output((2, 1 + rows * columns, width))
    embedding = PatchEmbedding(
        kept.weight(weight.reshape(width, -1), kind), kept.at(image), kept.at(table),
        out.ctypes.data, 2, *size, patch,
    )  # fmt: skip
    run(team_of(level, 2), kind, kept, embedding)
    wanted = oracle.patch_embedding(image, weight, bias, token, positions, patch_size=patch)
    assert relative(out, wanted) < ERRORS[kind]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_layer_norm_without_the_first_tokens(team_of: TeamOf, level: str, precision: str) -> None:
    random, kept, kind = np.random.default_rng(9), Kept(), PRECISIONS[precision]
    x = random.normal(1e3, 2.0, size=(2, 7, 37)).astype(np.float32)
    scale, bias = (random.normal(size=37).astype(np.float32) for _ in range(2))
    for is_float in (0, 1):
        out = kept.output((2, 6, 37), np.float32 if is_float else narrow_dtype(kind))
        norm = LayerNorm(
            kept.norm(scale, bias, 1e-6), kept.at(x), out.ctypes.data, 2, 7, 37, 1, is_float
        )
        run(team_of(level, 3), kind, kept, norm)
        wanted = oracle.layer_normalization(x, scale, bias, epsilon=1e-6)[:, 1:]
        # The mean is 500 deviations from zero: of float32's 24 bits nine go to it.
        exact = 2**9 * 2**-23
        assert relative(out, wanted) < (exact if is_float or kind == FLOAT32 else 2.0**-8)


@pytest.mark.parametrize("channels_last", [0, 1])
@pytest.mark.parametrize(
    ("size", "target"),
    [((1, 1), (2, 2)), ((3, 5), (6, 10)), ((4, 7), (9, 5)), ((2, 33), (2, 66)), ((5, 4), (1, 1))],
)
def test_resize(
    team_of: TeamOf, level: str, channels_last: int, size: tuple[int, int], target: tuple[int, int]
) -> None:
    random, kept = np.random.default_rng(10), Kept()
    x = random.normal(size=(2, 3, *size)).astype(np.float32)
    given = x.transpose(0, 2, 3, 1) if channels_last else x
    out = kept.output((2, 3, *target))
    resize = Resize(kept.at(given), out.ctypes.data, 2, 3, *size, *target, channels_last)
    run(team_of(level, 2), FLOAT32, kept, resize)
    assert relative(out, oracle.resize_bilinear(x, *target)) < 3e-7
