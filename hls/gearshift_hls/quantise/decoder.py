"""A task's decoder: convolutions, the head, and the last enlargement."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from gearshift_hls import operations as ops
from gearshift_hls.quantise import reference
from gearshift_hls.quantise.emulate import enlarge
from gearshift_hls.quantise.layers import Convolution, Decoder, Product
from gearshift_hls.quantise.norms import norm_coding, norm_parameters
from gearshift_hls.quantise.products import Seen, pad_weights, quantise_product
from gearshift_hls.quantise.sample import seen, take
from gearshift_hls.quantise.scales import Coding, channel_ranges
from gearshift_hls.quantise.track import RESIDUAL, Track

OUTPUT_MARGIN = 2.0
"""How far beyond calibration's largest result int16 reaches; it has bits to spare."""


def quantise_decoder(track: Track, layer: Decoder) -> ops.Output:
    """Adds the decoder's operations to a task whose backbone is quantised."""
    values = track.normalised(layer.norm)[:, 1:].unflatten(1, track.grid)
    convolutions = layer.convolutions
    width = values.shape[-1]
    readers = [Product(_columns(each.weight), each.bias) for each in convolutions[:1]]
    coding = norm_coding(take([values]), readers or [layer.head], centred=False)
    shift, parameters = norm_parameters(layer.norm, coding, track.pad(width))
    x = track.declare(layer.norm.name, (*track.grid, track.pad(width)), "int8")
    epsilon = layer.norm.epsilon
    track.emit(x, ops.Norm(x, RESIDUAL, 1, x, None, width, epsilon, shift, parameters))
    track.forget(RESIDUAL)
    for each in convolutions:
        values, coding = _convolution(track, each, x, values, coding)
        track.forget(x)
        x = each.name
    return _head(track, layer, x, values, coding)


def _columns(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """(O, I, 3, 3) -> (O 9, I): what reads an input channel."""
    return weight.transpose(0, 2, 3, 1).reshape(-1, weight.shape[1])


def _convolution(
    track: Track, layer: Convolution, x: str, values: Tensor, coding: Coding
) -> tuple[Tensor, Coding]:
    """The float32 run's map (N, h, w, C) after it, and the code of the integer run's."""
    outputs, inputs = layer.weight.shape[:2]
    given, padded = track.emulation.tensors[x], track.pad(inputs)
    if layer.scale == 2:
        values, given = reference.enlarge(values), enlarge(given)
    flat = layer.weight.transpose(0, 2, 3, 1).reshape(outputs, -1)
    places = (np.arange(9)[:, None] * padded + np.arange(inputs)).reshape(-1)
    found = Seen(_tap_means(values, inputs), _tap_means(given, inputs))
    result = reference.convolve(values, layer)
    ranges = channel_ranges(take([result]))
    code = Coding(ranges / 255, np.zeros(outputs))
    taps = Coding(np.tile(coding.scale, 9), np.zeros(9 * inputs))
    weights = quantise_product(Product(flat, layer.bias), taps, found, code, layer.name)
    weights = pad_weights(weights, np.arange(outputs), places, track.pad(outputs), 9 * padded)
    height, width = values.shape[1:3]
    track.declare(layer.name, (height, width, track.pad(outputs)), "uint8")
    operation = ops.Convolution(layer.name, x, layer.name, layer.scale == 2, weights)
    track.emit(layer.name, operation)
    return result, code


def _tap_means(maps: Tensor, channels: int) -> NDArray[np.float64]:
    """Means of what the nine taps see of each channel, the border's zeros with it: (9 C)."""
    total = maps.sum(0, dtype=torch.float64)
    height, width, _ = total.shape
    padded = pad(total, (0, 0, 1, 1, 1, 1))
    taps = [
        padded[dy : dy + height, dx : dx + width].sum((0, 1))[:channels]
        for dy in range(3)
        for dx in range(3)
    ]
    return torch.cat(taps).numpy() / (len(maps) * height * width)


def _head(track: Track, layer: Decoder, x: str, values: Tensor, coding: Coding) -> ops.Output:
    """Products pixel by pixel as int16, then enlarged: all channels of one scale."""
    outputs, inputs = layer.head.weight.shape
    found = seen([values], [track.emulation.tensors[x]], np.arange(inputs))
    largest = max(float(reference.linear(each, layer.head).abs().max()) for each in values)
    scale = OUTPUT_MARGIN * max(largest, 2.0**-20) / (2**15 - 1)
    code = Coding(np.full(outputs, scale), np.zeros(outputs))
    weights = quantise_product(layer.head, coding, found, code, layer.head_name)
    padded = track.tensors[x].shape[-1]
    weights = pad_weights(
        weights, np.arange(outputs), np.arange(inputs), track.pad(outputs), padded
    )
    height, width = values.shape[1:3]
    name = track.declare(layer.head_name, (height, width, track.pad(outputs)), "int16")
    track.emit(name, ops.Linear(name, x, name, None, weights))
    output = track.declare("output", (2 * height, 2 * width, track.pad(outputs)), "int16")
    track.emit(f"{name}.resize", ops.Resize(name, output))
    track.forget(x, name)
    return ops.Output(output, outputs, scale)
