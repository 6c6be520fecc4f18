"""Attention heads: codes of queries, keys, values and results, and a head's parameters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gearshift_hls.fixed_point import VALUE_BITS
from gearshift_hls.quantise.requantise import multiplier_and_shift
from gearshift_hls.quantise.scales import Coding, channel_ranges
from gearshift_hls.records import HEAD, Records

Float64 = NDArray[np.float64]


def qkv_coding(parts: Float64) -> tuple[Coding, Float64]:
    """Codes of queries, keys and values (rows, 3, heads, head_dim), and a head's step (heads).

    A key's offset adds the same to all scores of a query, which softmax does not see; a value's
    offset passes through softmax as it is. Inside a head, what divides a channel of the queries
    multiplies that of the keys: a channel's two scales have the head's step squared as product, and
    both its integers reach equally far.
    """
    _, _, heads, head_dim = parts.shape
    means = parts.mean(axis=0)
    means[0] = 0.0
    ranges = channel_ranges((parts - means).reshape(len(parts), -1))
    query, key, value = ranges.reshape(3, heads, head_dim)
    step = np.sqrt(query * key).max(axis=1) / 127
    lean = np.sqrt(query / key)
    scale = np.stack([step[:, None] * lean, step[:, None] / lean, value / 127])
    return Coding(scale.reshape(-1), means.reshape(-1)), step


def mixed_coding(mixed: Float64, qkv: Coding, heads: int) -> tuple[Coding, Float64]:
    """Code of what softmax mixes of the values (rows, D), and a head's ratio (heads).

    The accelerator divides a head's results, in units of its values, by the ratio: they are means,
    and reach less far than the values do.
    """
    width = mixed.shape[1]
    values = Coding(qkv.scale[-width:], qkv.offset[-width:])
    shares = (mixed - values.offset) / values.scale
    ratio = channel_ranges(shares).reshape(heads, -1).max(axis=1) / 127
    return Coding(values.scale * np.repeat(ratio, width // heads), values.offset), ratio


def head_parameters(step: Float64, ratio: Float64, head_dim: int, layer: str) -> Records:
    """Records of all heads: scores to base 2 of queries times keys, and results by their ratio."""
    scores = step**2 * head_dim**-0.5 * np.log2(np.e) * 2**VALUE_BITS
    parameters = np.zeros(len(step), HEAD)
    for field, factors in (("score", scores), ("output", 2.0**-VALUE_BITS / ratio)):
        multiplier, shift = multiplier_and_shift(factors, layer)
        parameters[f"{field}_multiplier"], parameters[f"{field}_shift"] = multiplier, shift
    return parameters
