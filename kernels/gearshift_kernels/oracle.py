"""The oracle: every operator of a gearshift graph once more, as plain float64 numpy.

Written to be obviously right, not fast. Each function takes the inputs of its operator in their
order in the graph, as arrays of any real dtype, then its attributes by name, and computes in
float64. Shapes: N images, T tokens with the class token first, D width, H hidden, E experts,
K top_k, P patch size, R routers, C channels, h x w the grid of patches.

The arithmetic is that of the vision transformer (Dosovitskiy et al., 2021) with the expert blocks
and the up-sampling decoder of M3ViT (Fan et al., 2022).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _float64(*arrays: Array) -> tuple[Float64, ...]:
    return tuple(np.asarray(array, dtype=np.float64) for array in arrays)


def _linear(x: Float64, weight: Array, bias: Array) -> Float64:
    """x (..., I), weight (O,I), bias (O) -> (..., O)."""
    weight, bias = _float64(weight, bias)
    return x @ weight.T + bias


def softmax(x: Array) -> Float64:
    """Over the last axis; the maximum is taken off first so that exp cannot overflow."""
    (x,) = _float64(x)
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def patch_embedding(
    image: Array,
    weight: Array,
    bias: Array,
    class_token: Array,
    positions: Array,
    *,
    patch_size: int,
) -> Float64:
    """Tokens (N,T,D) of an image (N,3,H,W): class token, then the patches row by row.

    weight (D,3,P,P) and bias (D) project one patch; class_token (1,1,D) has its position added
    already; positions (1,D,h,w) are resized bilinearly to the image's own grid.
    """
    image, weight, bias, class_token, positions = _float64(
        image, weight, bias, class_token, positions
    )
    images, _, height, width = image.shape
    rows, columns = height // patch_size, width // patch_size
    positions = resize_bilinear(positions, rows, columns)[0]
    tokens = [np.broadcast_to(class_token[0, 0], (images, weight.shape[0]))]
    for row in range(rows):
        for column in range(columns):
            y, x = row * patch_size, column * patch_size
            patch = image[:, :, y : y + patch_size, x : x + patch_size]
            embedded = np.einsum("ncyx,dcyx->nd", patch, weight) + bias
            tokens.append(embedded + positions[:, row, column])
    return np.stack(tokens, axis=1)


def layer_normalization(x: Array, scale: Array, bias: Array, *, epsilon: float) -> Float64:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, biased variance of the last axis."""
    x, scale, bias = _float64(x, scale, bias)
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + epsilon) * scale + bias)


def attention(
    x: Array,
    qkv_weight: Array,
    qkv_bias: Array,
    proj_weight: Array,
    proj_bias: Array,
    *,
    heads: int,
) -> Float64:
    """Self-attention of x (N,T,D): softmax(head_dim^-0.5 Q K^T) V, head by head, then projected.

    qkv_weight (3D,D) and qkv_bias (3D) hold the rows of Q, K and V; inside each, head i owns the
    rows i * head_dim up to (i + 1) * head_dim. proj_weight (D,D), proj_bias (D).
    """
    (x,) = _float64(x)
    width = x.shape[-1]
    head_dim = width // heads
    qkv = _linear(x, qkv_weight, qkv_bias)
    query, key, value = qkv[..., :width], qkv[..., width : 2 * width], qkv[..., 2 * width :]
    mixed = np.zeros_like(x)
    for head in range(heads):
        own = slice(head * head_dim, (head + 1) * head_dim)
        logits = query[..., own] @ key[..., own].swapaxes(-1, -2) / math.sqrt(head_dim)
        mixed[..., own] = softmax(logits) @ value[..., own]
    return _linear(mixed, proj_weight, proj_bias)


def gelu(x: Array) -> Float64:
    """x * Phi(x) with Phi the normal distribution function: x/2 * (1 + erf(x / sqrt 2)).

    Source: Hendrycks and Gimpel, 2016; the exact form, not the tanh approximation.
    """
    (x,) = _float64(x)
    return np.asarray(x / 2 * (1 + _erf(x / math.sqrt(2))))


def mlp(
    x: Array,
    fc1_weight: Array,
    fc1_bias: Array,
    fc2_weight: Array,
    fc2_bias: Array,
) -> Float64:
    """fc2(GELU(fc1(x))) of x (...,D): fc1_weight (H,D), fc1_bias (H), fc2_weight (D,H), (D)."""
    (x,) = _float64(x)
    return _linear(gelu(_linear(x, fc1_weight, fc1_bias)), fc2_weight, fc2_bias)


def router(
    x: Array,
    task: int,
    weight: Array,
    bias: Array,
    *,
    top_k: int,
    prune_scores: float,
) -> tuple[Int64, Float64]:
    """The top_k experts of every token of x (N,T,D) and their gate scores, in falling order.

    weight (R,D,E) has one router (R = 1) or one a task; bias (number of tasks, E) is added to the
    logits and is -inf for experts that the task may not use. Scores are the softmax over all E
    experts, kept as they are (not renormalised); equal scores go to the lower expert; a kept
    score at or below prune_scores becomes 0.

    Returns:
        expert_index int64 (N,T,K) and gate_score float64 (N,T,K).
    """
    x, weight, bias = _float64(x, weight, bias)
    task = int(task)
    logits = x @ weight[task if weight.shape[0] > 1 else 0] + bias[task]
    scores = softmax(logits)
    expert_index = np.argsort(-scores, axis=-1, kind="stable")[..., :top_k].astype(np.int64)
    gate_score = np.take_along_axis(scores, expert_index, axis=-1)
    return expert_index, np.where(gate_score > prune_scores, gate_score, 0.0)


def expert_mixture(x: Array, expert_index: Array, gate_score: Array, *experts: Array) -> Float64:
    """y[t] = sum over k of gate_score[t,k] * mlp(x[t]) with the weights of expert_index[t,k].

    x (N,T,D), expert_index integer (N,T,K), gate_score (N,T,K); `experts` holds fc1_weight (H,D),
    fc1_bias (H), fc2_weight (D,H) and fc2_bias (D) of each expert in turn. An expert's bias is
    inside the weighted sum; no token is ever dropped.
    """
    x, gate_score = _float64(x, gate_score)
    index = np.asarray(expert_index)
    y = np.zeros_like(x)
    for place in np.ndindex(*index.shape):
        token, expert = place[:-1], int(index[place])
        y[token] += gate_score[place] * mlp(x[token], *experts[4 * expert : 4 * expert + 4])
    return y


def feature_map(tokens: Array, image: Array, *, patch_size: int) -> Float64:
    """tokens (N,T,D) without the class token as (N,D,h,w), h x w the patches of image (N,3,H,W)."""
    (tokens,) = _float64(tokens)
    height, width = np.shape(image)[-2:]
    images, _, channels = tokens.shape
    rows, columns = height // patch_size, width // patch_size
    return tokens[:, 1:].reshape(images, rows, columns, channels).transpose(0, 3, 1, 2)


def upsample_conv(
    x: Array,
    weight: Array,
    bias: Array,
    norm_scale: Array,
    norm_bias: Array,
    norm_mean: Array,
    norm_variance: Array,
    *,
    scale: int,
    epsilon: float,
) -> Float64:
    """Enlarge x (N,C,h,w) `scale` times, convolve 3x3, batch norm (inference), ReLU.

    weight (C',C,3,3) and bias (C') convolve with one pixel of zeros around; norm_* are (C').
    """
    (x,) = _float64(x)
    y = _convolution(resize_bilinear(x, x.shape[2] * scale, x.shape[3] * scale), weight, bias)
    gain, shift, mean, variance = (
        part[:, None, None] for part in _float64(norm_scale, norm_bias, norm_mean, norm_variance)
    )
    return np.maximum((y - mean) / np.sqrt(variance + epsilon) * gain + shift, 0.0)


def head(x: Array, weight: Array, bias: Array) -> Float64:
    """1x1 convolution of x (N,C,h,w), then twice as large: weight (C',C,1,1), bias (C')."""
    (x,) = _float64(x)
    return resize_bilinear(_convolution(x, weight, bias), x.shape[2] * 2, x.shape[3] * 2)


def _convolution(x: Float64, weight: Array, bias: Array) -> Float64:
    """Stride 1 with zeros around, so that x (N,C,h,w) and y (N,C',h,w) are of one size.

    y[o,i,j] = bias[o] + sum over c, dy, dx of weight[o,c,dy,dx] * padded x[c, i + dy, j + dx].
    """
    weight, bias = _float64(weight, bias)
    height, width = x.shape[2:]
    margin = weight.shape[2] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    y = np.zeros((x.shape[0], weight.shape[0], height, width)) + bias[:, None, None]
    for dy in range(weight.shape[2]):
        for dx in range(weight.shape[3]):
            shifted = padded[:, :, dy : dy + height, dx : dx + width]
            y += np.einsum("oc,nchw->nohw", weight[:, :, dy, dx], shifted)
    return y


def resize_bilinear(x: Array, height: int, width: int) -> Float64:
    """x (N,C,h,w) at another size: half-pixel centres, edges repeated, no antialiasing.

    A pixel i of n new ones lies at (i + 1/2) * old / n - 1/2 of the old axis. In PyTorch this is
    `interpolate(mode="bilinear", align_corners=False)`.
    """
    (x,) = _float64(x)
    down, across = _interpolation(x.shape[2], height), _interpolation(x.shape[3], width)
    return np.asarray(down @ x @ across.T)


def _interpolation(old: int, new: int) -> Float64:
    """Matrix (new, old) that takes the values of an axis to their linear interpolation."""
    matrix = np.zeros((new, old))
    for i in range(new):
        place = min(max((i + 0.5) * old / new - 0.5, 0.0), old - 1.0)
        below = math.floor(place)
        above = min(below + 1, old - 1)
        matrix[i, below] += 1 - (place - below)
        matrix[i, above] += place - below
    return matrix
