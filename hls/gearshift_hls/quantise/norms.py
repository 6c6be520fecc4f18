"""Norms and routers: gains, offsets and codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gearshift.errors import BackendError
from gearshift_hls.fixed_point import VALUE_BITS
from gearshift_hls.quantise.layers import Mixture, Norm, Product
from gearshift_hls.quantise.requantise import one_multiplier
from gearshift_hls.quantise.scales import Coding, channel_ranges
from gearshift_hls.records import NORM, Records

Float64 = NDArray[np.float64]

BALANCE = 0.75
"""How much of a channel's range goes into its scale; the rest makes its weights larger. Of 1, 3/4,
1/2 and 1/4, the best for the demo's tokens."""

MOST_OFFSET = float(1 << 30)
MOST_GAIN = float((1 << 15) - 1)
MOST_SHIFT = 40


def norm_coding(values: Float64, readers: Sequence[Product], centred: bool = True) -> Coding:
    """Codes of a norm's results (rows, C), a scale and an offset a channel.

    Scales and offsets a channel cost nothing: the norm's gain and offset make them, the next
    products' weights and biases undo them. How much of a channel's range goes into its scale and
    how much into the weights that read it: Xiao et al., "SmoothQuant" (ICML 2023).

    Args:
        readers: the products that read the norm.
        centred: the mean is taken off; not where zeros stand around a map.
    """
    offset = values.mean(axis=0) if centred else np.zeros(values.shape[1])
    ranges = channel_ranges(values - offset)
    columns = channel_ranges(np.concatenate([product.weight for product in readers]))
    shape = ranges**BALANCE * columns ** (BALANCE - 1)
    return Coding(shape * (ranges / shape).max() / 127, offset)


def norm_parameters(norm: Norm, coding: Coding, channels: int) -> tuple[int, Records]:
    """Shift, and a record a padded channel: y = (gain x value + offset) / 2^shift.

    Raises:
        BackendError: the scale is so small that no shift keeps the gain in 16 bits.
    """
    gain = norm.gain / coding.scale * 2.0**-VALUE_BITS
    offset = (norm.offset - coding.offset) / coding.scale
    room = [
        np.floor(np.log2(most / max(float(np.abs(values).max()), 2.0**-30)))
        for values, most in ((gain, MOST_GAIN), (offset, MOST_OFFSET))
    ]
    if min(room) < 0:
        raise BackendError(
            f"{norm.name}: its results hardly change in calibration: calibrate on more, and more "
            "different, pictures"
        )
    shift = int(min(*room, MOST_SHIFT))
    parameters = np.zeros(channels, NORM)
    parameters["gain"][: len(gain)] = np.rint(gain * 2.0**shift)
    parameters["offset"][: len(gain)] = np.rint(offset * 2.0**shift)
    return shift, parameters


def router_constants(
    layer: Mixture, channels: int
) -> tuple[NDArray[np.int16], NDArray[np.int32], int, int]:
    """Weights (E, channels), biases (E), multiplier and shift of a router of normalised values.

    logits = weight (gain z + offset) + bias: the gain goes into the weights, the offset into the
    biases, the logarithm's base into the multiplier.
    """
    weight = layer.router.weight * layer.norm.gain
    bias = layer.router.bias + layer.router.weight @ layer.norm.offset
    finite = np.abs(bias[np.isfinite(bias)]).max(initial=0.0)
    largest = max(float(np.abs(weight).max()), float(finite) / 2**15, 2.0**-20)
    scale = MOST_GAIN / largest
    weights = np.zeros((len(weight), channels), np.int16)
    weights[:, : weight.shape[1]] = np.rint(weight * scale)
    # A shut expert stays below every other: no sum of products of 1,024 channels comes down to it.
    least = float(-(1 << 31))
    biases = np.rint(np.where(np.isneginf(bias), least, bias * scale)).astype(np.int32)
    multiplier, shift = one_multiplier(np.log2(np.e) / scale, layer.router_name)
    return weights, biases, multiplier, shift
