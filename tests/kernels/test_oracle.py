"""The oracle against cases worked by hand, identities, and PyTorch's own operators in float64."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from gearshift.graph.vocabulary import OPERATORS
from gearshift_kernels import oracle

Array = NDArray[Any]
NOT_IN_ORACLE = {"Add", "ResizeToImage"}
"""A plus sign, and `resize_bilinear` to the size of the image."""


@pytest.fixture
def normal() -> Callable[..., Array]:
    generator = np.random.default_rng(2)
    return lambda *shape: generator.normal(size=shape)


def _torch(*arrays: Array) -> list[Any]:
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def test_every_operator_of_the_vocabulary_has_an_oracle_with_its_signature() -> None:
    for name, operator in OPERATORS.items():
        if name in NOT_IN_ORACLE:
            continue
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        parameters = inspect.signature(getattr(oracle, snake)).parameters
        inputs = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        attributes = [p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
        assert inputs == list(operator.inputs)
        assert attributes == [attribute for attribute, _ in operator.attributes]


def test_patch_embedding_by_hand() -> None:
    image = np.zeros((1, 3, 2, 4))
    image[0, 0] = [[1, 2, 3, 4], [5, 6, 7, 8]]
    image[0, 2, 0, 3] = 100
    weight = np.zeros((1, 3, 2, 2))
    weight[0, 0] = [[1, 10], [100, 1000]]
    weight[0, 2, 0, 1] = 1
    positions = np.array([0.25, 0.5]).reshape(1, 1, 1, 2)
    tokens = oracle.patch_embedding(
        image, weight, np.array([7.0]), np.array([[[3.0]]]), positions, patch_size=2
    )
    assert_array_equal(tokens[0, :, 0], [3, 6521 + 7 + 0.25, 8743 + 100 + 7 + 0.5])


def test_patch_embedding_against_torch(normal: Callable[..., Array]) -> None:
    image, weight, bias = normal(2, 3, 12, 8), normal(5, 3, 4, 4), normal(5)
    class_token, positions = normal(1, 1, 5), normal(1, 5, 3, 2)
    tokens = oracle.patch_embedding(image, weight, bias, class_token, positions, patch_size=4)
    pixels, kernel, shift = _torch(image, weight, bias)
    patches = F.conv2d(pixels, kernel, shift, stride=4) + torch.from_numpy(positions)
    assert_allclose(tokens[:, 1:], patches.flatten(2).transpose(1, 2), atol=1e-12)
    assert_array_equal(tokens[:, 0], np.repeat(class_token[0], 2, axis=0))


def test_patch_embedding_resizes_positions_to_the_image() -> None:
    positions = np.array([0.0, 8.0]).reshape(1, 1, 1, 2)
    zero = np.zeros((1, 3, 2, 2))
    tokens = oracle.patch_embedding(
        np.zeros((1, 3, 4, 8)), zero, np.zeros(1), np.zeros((1, 1, 1)), positions, patch_size=2
    )
    assert_array_equal(tokens[0, 1:, 0], [0, 2, 6, 8, 0, 2, 6, 8])


def test_layer_normalization_by_hand() -> None:
    x = np.array([[1.0, 3.0]])
    y = oracle.layer_normalization(x, np.array([2.0, 3.0]), np.array([10.0, 20.0]), epsilon=3.0)
    assert_array_equal(y, [[10 - 2 / 2, 20 + 3 / 2]])


def test_layer_normalization_has_mean_zero_and_variance_one(normal: Callable[..., Array]) -> None:
    y = oracle.layer_normalization(3 + 5 * normal(4, 7), np.ones(7), np.zeros(7), epsilon=0.0)
    assert_allclose(y.mean(-1), 0, atol=1e-14)
    assert_allclose(y.var(-1), 1)


def test_attention_of_one_token_is_its_projected_value(normal: Callable[..., Array]) -> None:
    x, qkv_weight, qkv_bias = normal(3, 1, 6), normal(18, 6), normal(18)
    proj_weight, proj_bias = normal(6, 6), normal(6)
    y = oracle.attention(x, qkv_weight, qkv_bias, proj_weight, proj_bias, heads=2)
    value = x @ qkv_weight[12:].T + qkv_bias[12:]
    assert_allclose(y, value @ proj_weight.T + proj_bias)


def test_attention_by_hand() -> None:
    """Two tokens, two heads of one number: head 0 attends by ln 3 to 1, head 1 evenly."""
    x = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    qkv_weight = np.zeros((6, 2))
    qkv_bias = np.array([1.0, 0, 0, 0, 0, 0])
    qkv_weight[2] = [math.log(3), 0]
    qkv_weight[4] = [8, 16]
    qkv_weight[5] = [2, 4]
    y = oracle.attention(x, qkv_weight, qkv_bias, np.eye(2), np.zeros(2), heads=2)
    assert_allclose(y, [[[8 * 3 / 4 + 16 / 4, 3], [8 * 3 / 4 + 16 / 4, 3]]])


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_attention_against_torch(normal: Callable[..., Array], heads: int) -> None:
    x, qkv_weight, qkv_bias = normal(2, 5, 12), normal(36, 12), normal(36)
    y = oracle.attention(x, qkv_weight, qkv_bias, np.eye(12), np.zeros(12), heads=heads)
    qkv = F.linear(*_torch(x, qkv_weight, qkv_bias)).view(2, 5, 3, heads, -1)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(2, 5, 12)
    assert_allclose(y, expected, atol=1e-12)


def test_gelu_known_values() -> None:
    assert_array_equal(oracle.gelu(np.array([0.0])), [0])
    assert_allclose(oracle.gelu(np.array([1.0, -1.0])), [0.8413447460685429, -0.15865525393145707])


@settings(derandomize=True)
@given(st.floats(-30, 30, allow_subnormal=False))
def test_gelu_of_x_and_of_minus_x_differ_by_x(value: float) -> None:
    x = np.array([value])
    assert_allclose(oracle.gelu(x) - oracle.gelu(-x), x, rtol=1e-14)


def test_gelu_and_mlp_against_torch(normal: Callable[..., Array]) -> None:
    x, w1, b1, w2, b2 = normal(2, 3, 4), normal(6, 4), normal(6), normal(4, 6), normal(4)
    assert_allclose(oracle.gelu(x), F.gelu(torch.from_numpy(x)), atol=1e-15)
    hidden = F.gelu(F.linear(*_torch(x, w1, b1)))
    assert_allclose(oracle.mlp(x, w1, b1, w2, b2), F.linear(hidden, *_torch(w2, b2)), atol=1e-13)


def test_router_by_hand() -> None:
    x = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    weight = np.log(np.array([[[1.0, 2, 3, 4], [8, 1, 4, 7]]]))
    index, score = oracle.router(x, 0, weight, np.zeros((1, 4)), top_k=2, prune_scores=0.0)
    assert_array_equal(index, [[[3, 2], [0, 3]]])
    assert_allclose(score, [[[0.4, 0.3], [0.4, 0.35]]])
    assert index.dtype == np.int64


def test_router_takes_matrix_and_bias_of_the_task() -> None:
    x, bias = np.ones((1, 1, 1)), np.log(np.array([[1.0, 1, 2], [1, 6, 1]]))
    one_a_task = np.log(np.array([[[9.0, 1, 1]], [[1, 1, 8]]]))
    for task, weight, expected in (
        (0, one_a_task, [9 / 12, 2 / 12, 1 / 12]),
        (1, one_a_task, [8 / 15, 6 / 15, 1 / 15]),
        (1, one_a_task[:1], [9 / 16, 6 / 16, 1 / 16]),
    ):
        _, score = oracle.router(x, task, weight, bias, top_k=3, prune_scores=0.0)
        assert_allclose(score[0, 0], expected)


@pytest.mark.parametrize("experts", [5, 100])
def test_router_ties_go_to_the_lower_expert(experts: int) -> None:
    """A hundred, because short sorts are stable by chance."""
    bias = (np.arange(experts) * 7 % 3).astype(np.float64)
    x, weight = np.zeros((2, 3, 4)), np.zeros((1, 4, experts))
    index, _ = oracle.router(x, 0, weight, bias[None], top_k=experts, prune_scores=0.0)
    falling = sorted(range(experts), key=lambda expert: (-bias[expert], expert))
    assert_array_equal(index, np.broadcast_to(falling, (2, 3, experts)))


def test_router_scores_over_all_experts_sum_to_one_and_never_overflow() -> None:
    x, weight = np.array([[[1e4], [-1e4]]]), np.array([[[1.0, 2.0, -3.0]]])
    index, score = oracle.router(x, 0, weight, np.zeros((1, 3)), top_k=3, prune_scores=0.0)
    assert_allclose(score.sum(-1), 1)
    assert_array_equal(index[0, :, 0], [1, 2])


def test_router_where_one_expert_alone_is_allowed() -> None:
    bias = np.array([[-np.inf, -np.inf, 0.0, -np.inf]])
    x, weight = np.ones((1, 1, 2)), np.ones((1, 2, 4))
    index, score = oracle.router(x, 0, weight, bias, top_k=2, prune_scores=0.0)
    assert_array_equal(index, [[[2, 0]]])
    assert_array_equal(score, [[[1, 0]]])


def test_router_prunes_at_and_below_the_threshold() -> None:
    weight = np.zeros((1, 1, 4))
    keep = oracle.router(np.ones((1, 1, 1)), 0, weight, np.zeros((1, 4)), top_k=2, prune_scores=0.2)
    drop = oracle.router(
        np.ones((1, 1, 1)), 0, weight, np.zeros((1, 4)), top_k=2, prune_scores=0.25
    )
    assert_array_equal(keep[1], [[[0.25, 0.25]]])
    assert_array_equal(drop[1], [[[0, 0]]])
    assert_array_equal(drop[0], [[[0, 1]]])


def test_expert_mixture_weighs_outputs_with_their_biases(normal: Callable[..., Array]) -> None:
    x, index = normal(1, 2, 3), np.array([[[2, 0], [2, 2]]])
    score = np.array([[[0.5, 0.25], [0.125, 0.0]]])
    experts = [(normal(4, 3), normal(4), normal(3, 4), normal(3)) for _ in range(3)]
    y = oracle.expert_mixture(x, index, score, *(array for expert in experts for array in expert))
    first = 0.5 * oracle.mlp(x[0, 0], *experts[2]) + 0.25 * oracle.mlp(x[0, 0], *experts[0])
    second = 0.125 * oracle.mlp(x[0, 1], *experts[2])
    assert_allclose(y, np.stack([first, second])[None])


def test_feature_map_lays_tokens_out_row_by_row() -> None:
    tokens = np.arange(7.0).reshape(1, 7, 1)
    features = oracle.feature_map(tokens, np.empty((1, 3, 4, 6)), patch_size=2)
    assert_array_equal(features, [[[[1, 2, 3], [4, 5, 6]]]])


def test_upsample_conv_with_a_delta_kernel_is_the_resized_input(
    normal: Callable[..., Array],
) -> None:
    x, delta = normal(1, 1, 2, 3) + 10, np.zeros((1, 1, 3, 3))
    delta[0, 0, 1, 1] = 1
    one, zero = np.ones(1), np.zeros(1)
    y = oracle.upsample_conv(x, delta, zero, one, zero, zero, one, scale=3, epsilon=0.0)
    assert_allclose(y, oracle.resize_bilinear(x, 6, 9))


def test_upsample_conv_by_hand() -> None:
    x, weight = np.array([[[[1.0, 2], [3, 4]]]]), np.zeros((2, 1, 3, 3))
    weight[0, 0] = [[0, 0, 0], [1, 0, 0], [0, 0, 10]]
    weight[1, 0, 1, 1] = -1
    norm = [np.array(v, dtype=float) for v in ([3, 1], [5, 2.5], [1, 0], [3, 0])]
    bias = np.array([1.0, 0])
    y = oracle.upsample_conv(x, weight, bias, *norm, scale=1, epsilon=1.0)
    assert_allclose(y[0, 0], np.array([[40, 1], [0, 3]]) * 3 / 2 + 5)
    assert_allclose(y[0, 1], np.array([[1.5, 0.5], [0, 0]]))


@pytest.mark.parametrize("scale", [1, 2])
def test_upsample_conv_against_torch(normal: Callable[..., Array], scale: int) -> None:
    x, weight, bias = normal(2, 3, 3, 5), normal(4, 3, 3, 3), normal(4)
    gain, shift, mean, variance = normal(4), normal(4), normal(4), normal(4) ** 2
    y = oracle.upsample_conv(
        x, weight, bias, gain, shift, mean, variance, scale=scale, epsilon=1e-5
    )
    big = F.interpolate(torch.from_numpy(x), scale_factor=scale, mode="bilinear")
    convolved = F.conv2d(big, torch.from_numpy(weight), torch.from_numpy(bias), padding=1)
    m, v, g, s = _torch(mean, variance, gain, shift)
    normed = F.batch_norm(convolved, m, v, g, s, eps=1e-5)
    assert_allclose(y, F.relu(normed), atol=1e-12)


def test_head_against_torch(normal: Callable[..., Array]) -> None:
    x, weight, bias = normal(2, 3, 2, 5), normal(4, 3, 1, 1), normal(4)
    expected = F.interpolate(F.conv2d(*_torch(x, weight, bias)), scale_factor=2, mode="bilinear")
    assert_allclose(oracle.head(x, weight, bias), expected, atol=1e-13)


def test_resize_by_hand() -> None:
    x = np.array([0.0, 8.0]).reshape(1, 1, 1, 2)
    assert_array_equal(oracle.resize_bilinear(x, 1, 4).ravel(), [0, 2, 6, 8])
    assert_array_equal(oracle.resize_bilinear(x, 1, 1).ravel(), [4])
    assert_array_equal(oracle.resize_bilinear(x, 3, 2)[0, 0], [[0, 8]] * 3)


def test_resize_of_a_ramp_is_a_ramp_inside() -> None:
    ramp = (np.arange(6.0) + 0.5).reshape(1, 1, 1, 6)
    inside = oracle.resize_bilinear(ramp, 1, 24).ravel()[2:-2]
    assert_allclose(inside, (np.arange(24) + 0.5)[2:-2] / 4)


@settings(max_examples=30, derandomize=True)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 13), st.integers(1, 13))
def test_resize_against_torch(rows: int, columns: int, height: int, width: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, rows, columns))
    expected = F.interpolate(torch.from_numpy(x), (height, width), mode="bilinear")
    assert_allclose(oracle.resize_bilinear(x, height, width), expected, atol=1e-12)


def test_everything_is_computed_in_float64(normal: Callable[..., Array]) -> None:
    """In float32 the small number would be lost beside the large one."""
    x = np.array([[1e8, 1.0, -1e8]], dtype=np.float32)
    ones, zeros = np.ones((3, 3), dtype=np.float32), np.zeros(3, dtype=np.float32)
    y = oracle.mlp(x, ones, zeros, ones, zeros)
    assert y.dtype == np.float64
    assert_allclose(y, 3 * oracle.gelu(np.array([1.0]))[0])
