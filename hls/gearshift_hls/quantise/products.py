"""Float products as integer ones: int8 weights, biases that correct the mean, requantisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gearshift_hls.operations import Weights
from gearshift_hls.quantise.layers import Product
from gearshift_hls.quantise.requantise import multiplier_and_shift
from gearshift_hls.quantise.scales import Coding
from gearshift_hls.records import CHANNEL

Float64 = NDArray[np.float64]

LEVELS = 127
"""Weights are -LEVELS..LEVELS. Each output channel's largest weight is LEVELS: cutting some off
gains less than 0.1 dB of the tokens' signal-to-noise."""

MOST_BIAS = float(1 << 30)


@dataclass(frozen=True)
class Seen:
    """The mean of a product's input over the calibration pictures, channel by channel (I)."""

    mean: Float64
    """Of the float32 run."""
    integers: Float64
    """Of the integer run, which the quantised layers before have made."""

    @staticmethod
    def nothing(coding: Coding) -> Seen:
        """For a product that no calibration picture reached: zero is the value to be right at."""
        return Seen(np.zeros_like(coding.scale), -coding.offset / coding.scale)


def _round(weights: Float64, scale: Float64) -> Float64:
    """Integers of weights (O, I) by a scale a row (O)."""
    return np.clip(np.rint(weights / scale[:, None]), -LEVELS, LEVELS)


def quantise_product(
    product: Product, inputs: Coding, seen: Seen, outputs: Coding, layer: str
) -> Weights:
    """The product of coded inputs, its results in the code of `outputs`; nothing padded.

    The bias makes the mean over calibration that of the float32 run: it takes in the offset of the
    inputs, and the mean of what rounding did to the weights and to the layers before (bias
    correction: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
    Correction", ICCV 2019, here with the mean that was measured). For the demo's tokens that is
    worth 0.2 dB, for those of seeded weights 5 dB.

    Args:
        layer: named in an error.
    """
    scaled = product.weight * inputs.scale
    mean = product.bias + product.weight @ seen.mean - outputs.offset
    largest = np.abs(scaled).max(axis=1)
    scale = np.where(largest > 0, largest, 1.0) / LEVELS
    integers = _round(scaled, scale)
    bias = mean - scale * (integers @ seen.integers)
    # A bias that int32 does not hold beside such small weights: a coarser scale for both.
    coarse = np.abs(bias) > MOST_BIAS * scale
    if coarse.any():
        scale = np.where(coarse, np.abs(bias) / MOST_BIAS, scale)
        integers = _round(scaled, scale)
        bias = mean - scale * (integers @ seen.integers)
    channels = np.zeros(len(scale), CHANNEL)
    channels["bias"] = np.rint(bias / scale)
    channels["multiplier"], channels["shift"] = multiplier_and_shift(scale / outputs.scale, layer)
    return Weights(integers.astype(np.int8), channels)


def pad_weights(weights: Weights, rows: NDArray[np.int64], columns: NDArray[np.int64],
                outputs: int, inputs: int) -> Weights:  # fmt: skip
    """Row i moved to `rows[i]` of `outputs`, column j to `columns[j]` of `inputs`; zeros between.

    A channel of zeros gives 0 whatever its input.
    """
    padded = np.zeros((outputs, inputs), np.int8)
    padded[np.ix_(rows, columns)] = weights.weights
    channels = np.zeros(outputs, CHANNEL)
    channels[rows] = weights.channels
    return Weights(padded, channels)
