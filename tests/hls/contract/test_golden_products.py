"""The golden model's products and maps against float64 formulas."""

from __future__ import annotations

import numpy as np
import pytest

from gearshift_hls.build import SMALL_BUILD as SMALL
from gearshift_hls.descriptor import (
    Convolution,
    Linear,
    Resize,
)
from gearshift_hls.records import pack_stream, unpack_stream
from gearshift_kernels import oracle

from .one_command import (
    GELU_ERROR,
    GELU_SLOPE,
    Generator,
    OneCommand,
    channels_of,
    int8,
    product,
    scale_of,
)


@pytest.fixture
def rng() -> Generator:
    return np.random.default_rng(11)


# Linear.


@pytest.mark.parametrize("rows", [1, 9, 130])
@pytest.mark.parametrize("x_unsigned", [0, 1])
@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_linear(rng: Generator, rows: int, x_unsigned: int, kind: int) -> None:
    inputs, outputs, zero = 48, 32, 7
    x = rng.integers(0, 256, (rows, inputs), np.uint8)
    weights, bits = int8(rng, outputs, inputs), (7, 8, 15, 26)[kind]
    channels = channels_of(rng, inputs, outputs, bits)
    stream = np.frombuffer(pack_stream(SMALL, weights, channels), np.uint8)
    residual = rng.integers(-(1 << 31), 1 << 31, (rows, outputs)).astype("<i4")
    command = Linear(rows, inputs, outputs, x_unsigned, kind, 0, 0, 0, zero, 0, 0, 0, 0)
    arrays = {"x": x, "weights": stream} | ({"residual": residual} if kind == 3 else {})
    done = OneCommand(SMALL, command, arrays).run()
    exact = product(x if x_unsigned else x.view(np.int8), weights, channels)
    if kind < 2:
        exact = exact + zero
    if kind == 3:
        exact = exact + residual
    dtype, low, high = [
        ("i1", -128, 127),
        ("u1", 0, 255),
        ("<i2", -(1 << 15), (1 << 15) - 1),
        ("<i4", -(1 << 31), (1 << 31) - 1),
    ][kind]
    y = done.result("y", dtype, rows, outputs)
    assert np.abs(y - np.clip(exact, low, high)).max() <= 0.5
    assert ((exact > high) | (exact < low)).any() or rows < 100, "nothing saturates"


@pytest.mark.parametrize("kind", [0, 1])
def test_linear_with_gelu(rng: Generator, kind: int) -> None:
    x, weights = int8(rng, 20, 32), int8(rng, 16, 32)
    channels = channels_of(rng, 32, 16, 13)
    stream = np.frombuffer(pack_stream(SMALL, weights, channels), np.uint8)
    multiplier, shift, zero = 50_000, 26, 40
    command = Linear(20, 32, 16, 0, kind, 1, multiplier, shift, zero, 0, 0, 0, 0)
    done = OneCommand(SMALL, command, {"x": x, "weights": stream}).run()
    inside = np.clip(product(x, weights, channels), -(1 << 15), (1 << 15) - 1)
    scale = 2**16 * multiplier / 2**shift
    exact = oracle.gelu(inside / 2**10) * scale + zero
    low, high = ((-128, 127), (0, 255))[kind]
    tolerance = (GELU_ERROR + GELU_SLOPE * 2**-11) * scale + 0.5
    y = done.result("y", ("i1", "u1")[kind], 20, 16)
    assert np.abs(y - np.clip(exact, low, high)).max() <= tolerance
    assert len(np.unique(y)) > 30


def test_streams_of_weights(rng: Generator) -> None:
    """Port by port, tile by tile: every weight and every parameter is where `build.py` says."""
    weights, channels = int8(rng, 16, 32), channels_of(rng, 32, 16)
    stream = np.frombuffer(pack_stream(SMALL, weights, channels), np.uint8)
    assert len(stream) == SMALL.weight_ports * SMALL.stream_bytes(32, 16)
    parts = []
    for port in range(2):
        for tile in range(2):
            rows = slice(8 * tile + 4 * port, 8 * tile + 4 * port + 4)
            parts.append(channels[rows].tobytes())
            parts += [weights[rows, 8 * i : 8 * i + 8].tobytes() for i in range(4)]
    assert stream.tobytes() == b"".join(parts)
    unpacked = unpack_stream(SMALL, stream, 32, 16)
    assert (unpacked[0] == weights).all()
    assert (unpacked[1] == channels).all()


# Maps.


@pytest.mark.parametrize("upsample", [0, 1])
@pytest.mark.parametrize("x_unsigned", [0, 1])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (6, 10), (16, 4)])
def test_convolution(
    rng: Generator, upsample: int, x_unsigned: int, height: int, width: int
) -> None:
    inputs, outputs = 16, 32
    small = height >> upsample, width >> upsample
    x = rng.integers(0, 256, (*small, inputs), np.uint8)
    given = x if x_unsigned else x.view(np.int8)
    weight = int8(rng, outputs, inputs, 3, 3)
    rows = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(outputs, 9 * inputs)
    channels = channels_of(rng, 9 * inputs, outputs)
    stream = np.frombuffer(pack_stream(SMALL, rows, channels), np.uint8)
    command = Convolution(height, width, inputs, outputs, upsample, x_unsigned, 0, 0, 0)
    done = OneCommand(SMALL, command, {"x": x, "weights": stream}).run()
    ones, zeros = np.ones(outputs), np.zeros(outputs)
    wanted = oracle.upsample_conv(
        given.transpose(2, 0, 1)[None],
        weight,
        channels["bias"],
        scale_of(channels),
        zeros,
        zeros,
        ones,
        scale=1 + upsample,
        epsilon=0.0,
    )[0].transpose(1, 2, 0)
    enlarged = 0.5 * upsample * np.abs(rows.astype(float)).sum(axis=1) * scale_of(channels)
    y = done.result("y", "u1", height, width, outputs)
    assert (np.abs(y - np.clip(wanted, 0, 255)) <= 0.5 + enlarged + 1e-6).all()
    assert len(np.unique(y)) > 40


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (4, 1), (7, 6)])
def test_resize(rng: Generator, height: int, width: int) -> None:
    x = rng.integers(-(1 << 15), 1 << 15, (height, width, 16)).astype("<i2")
    done = OneCommand(SMALL, Resize(height, width, 16, 0, 0), {"x": x}).run()
    y = done.result("y", "<i2", 2 * height, 2 * width, 16)
    wanted = oracle.resize_bilinear(x.transpose(2, 0, 1)[None], 2 * height, 2 * width)[0]
    assert np.abs(y - wanted.transpose(1, 2, 0)).max() <= 0.5
