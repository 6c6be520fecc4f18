"""Parameters as they lie in constant memory, and the weight streams of a product."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift_hls.build import CHANNEL_BYTES, Build

Records = NDArray[Any]
"""An array of one of the record types below."""

NORM = np.dtype([("offset", "<i4"), ("gain", "<i2"), ("unused", "<i2")])
"""A channel of a norm."""

CHANNEL = np.dtype([("bias", "<i4"), ("multiplier", "<u2"), ("shift", "u1"), ("unused", "u1")])
"""An output channel of a product: y = (sum + bias) multiplier / 2^shift."""

HEAD = np.dtype(
    [
        ("score_multiplier", "<u2"),
        ("score_shift", "u1"),
        ("unused", "u1"),
        ("output_multiplier", "<u2"),
        ("output_shift", "u1"),
        ("unused2", "u1"),
    ]
)
"""A head of an attention."""

ENTRY = np.dtype([("token", "<u2"), ("score", "<u2")])
"""An entry of an expert queue."""


def pack_stream(build: Build, weights: NDArray[np.int8], channels: Records) -> bytes:
    """The streams of one product, port by port: see `Build.stream_bytes`.

    Args:
        weights: (outputs, inputs), both padded.
        channels: `CHANNEL` of every output, (outputs).
    """
    outputs, inputs = weights.shape
    ports, rows, lanes = build.weight_ports, build.port_lanes, build.input_lanes
    tiles = weights.reshape(-1, ports, rows, inputs // lanes, lanes).transpose(1, 0, 3, 2, 4)
    heads = channels.view(np.uint8).reshape(-1, ports, rows * CHANNEL_BYTES).transpose(1, 0, 2)
    bodies = (
        np.ascontiguousarray(tiles).view(np.uint8).reshape(ports, outputs // (ports * rows), -1)
    )
    return np.concatenate([heads, bodies], axis=2).tobytes()


def unpack_stream(
    build: Build, stream: NDArray[np.uint8], inputs: int, outputs: int
) -> tuple[NDArray[np.int8], Records]:
    """What `pack_stream` packed: weights (outputs, inputs) and channels (outputs)."""
    ports, rows, lanes = build.weight_ports, build.port_lanes, build.input_lanes
    tiles = stream.reshape(ports, outputs // (ports * rows), rows * (CHANNEL_BYTES + inputs))
    heads, bodies = np.split(tiles, [rows * CHANNEL_BYTES], axis=2)
    channels = np.ascontiguousarray(heads.transpose(1, 0, 2)).view(CHANNEL).reshape(outputs)
    weights = bodies.reshape(ports, -1, inputs // lanes, rows, lanes).transpose(1, 0, 3, 2, 4)
    return weights.reshape(outputs, inputs).view(np.int8), channels
