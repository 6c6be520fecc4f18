"""Operations on batches of pictures, in torch: bit for bit what the golden model computes.

For calibration and for measuring accuracy over many pictures. Integers are held as floats where a
float holds them exactly: a float32 product of at most `EXACT_INPUTS` 8-bit inputs, sums and their
requantisation in float64 (below 2^48). Tables that `fixed_point` defines are read from tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gearshift_hls import fixed_point as fp
from gearshift_hls import operations as ops
from gearshift_hls.build import Build

EXACT_INPUTS = 512
"""255 x 127 x 512 is below 2^24: float32 holds every partial sum."""

BAND_PIXELS = 1 << 14
"""Pixels of a map whose taps are gathered at a time."""

_POWERS_OF_TWO = torch.tensor([2.0**power for power in range(64)], dtype=torch.float64)

DTYPES = {"int8": torch.int8, "uint8": torch.uint8, "int16": torch.int16, "int32": torch.int32}

Queues: TypeAlias = tuple[Tensor, Tensor]
"""Chosen experts and their scores, int64 (N, T, K) each, best first."""


class Emulation:
    """The tensors of one task's operations, each with the pictures as its first axis."""

    def __init__(self, build: Build, tables: Mapping[str, NDArray[np.int32]]) -> None:
        self._build = build
        self._tables = tables
        self.tensors: dict[str, Tensor] = {}
        self.queues: dict[str, Queues] = {}
        self.fixed: Mapping[str, Tensor] = {}
        """By a route's queues, experts (N, T, K) to be taken instead of the best ones."""

    def execute(self, operation: ops.Operation, tensors: Mapping[str, ops.Tensor]) -> None:
        """One operation; `tensors` says the shape and dtype of its result."""
        if isinstance(operation, ops.Norm):
            self._norm(operation, tensors)
        elif isinstance(operation, ops.Linear):
            self._linear(operation, tensors)
        elif isinstance(operation, ops.Attention):
            self._attention(operation)
        elif isinstance(operation, ops.Route):
            self._route(operation)
        elif isinstance(operation, ops.Experts):
            self._experts(operation)
        elif isinstance(operation, ops.Convolution):
            self._convolution(operation)
        else:
            self.tensors[operation.y] = enlarge(self.tensors[operation.x])

    def _norm(self, op: ops.Norm, tensors: Mapping[str, ops.Tensor]) -> None:
        x = self.tensors[op.x][:, op.skip_rows :].long().clamp(-(1 << 26), (1 << 26) - 1)
        true = op.true_channels
        real = torch.arange(x.shape[-1]) < true
        mean = x.sum(-1, keepdim=True) * round(2**26 / true) + (1 << 25) >> 26
        deviation = torch.where(real, x - mean, 0)
        variance = (deviation**2).sum(-1, keepdim=True) + round(2**32 * op.epsilon * true)
        root, half = fp.reciprocal_root(np.minimum(variance.numpy(), (1 << 62) - 1))
        scale = fp.shift_right(root * round(2**11 * true**0.5), 12)
        up = torch.from_numpy(6 + half)
        values = deviation * torch.from_numpy(scale) + (1 << (up - 1)) >> up
        values = values.clamp(-(1 << 15), (1 << 15) - 1)
        gain = torch.from_numpy(op.parameters["gain"].astype(np.int64))
        offset = torch.from_numpy(op.parameters["offset"].astype(np.int64))
        y = values * gain + offset + (1 << op.shift >> 1) >> op.shift
        y = torch.where(real, y.clamp(-128, 127), 0).to(torch.int8)
        self.tensors[op.y] = y.reshape(len(y), *tensors[op.y].shape)
        if op.normalised is not None:
            self.tensors[op.normalised] = values.to(torch.int16)

    def _linear(self, op: ops.Linear, tensors: Mapping[str, ops.Tensor]) -> None:
        x, target = self.tensors[op.x], tensors[op.y]
        multiply = _Product(op.weights)
        table = gelu_table(*op.gelu) if op.gelu else None
        y = torch.empty((len(x), *target.shape), dtype=DTYPES[target.dtype])
        for picture, rows in enumerate(x):
            result = multiply(rows.flatten(0, -2))
            if table is not None:
                result = _look_up(table, result)
            if op.residual is not None:
                result += self._residual(op.residual, picture)
            result = _saturate(result + op.zero, target.dtype)
            y[picture] = result.reshape(target.shape)
        self.tensors[op.y] = y

    def _residual(self, name: str, picture: int) -> Tensor:
        if name in self._tables:
            return torch.from_numpy(self._tables[name])
        return self.tensors[name][picture]

    def _attention(self, op: ops.Attention) -> None:
        x = self.tensors[op.x]
        pictures, tokens, _ = x.shape
        heads = x.view(pictures, tokens, 3, op.heads, op.head_dim).permute(0, 2, 3, 1, 4)
        y = torch.empty((pictures, tokens, op.heads, op.head_dim), dtype=torch.int8)
        for picture, (queries, keys, values) in enumerate(heads.float()):
            mixed = _attend(queries, keys, values, op, self._build.output_lanes)
            y[picture] = mixed.transpose(0, 1)
        self.tensors[op.y] = y.flatten(2)

    def _route(self, op: ops.Route) -> None:
        x = self.tensors[op.x].double()
        weights = torch.from_numpy(op.weights.astype(np.float64))
        sums = (x.flatten(0, 1) @ weights.T).long().numpy()
        logits = sums + (op.biases.astype(np.int64) << 10)
        chosen = np.argsort(-logits, axis=1, kind="stable")[:, : op.top_k]
        if op.queues in self.fixed:
            chosen = self.fixed[op.queues].flatten(0, 1).numpy()
        powers = fp.saturate(fp.shift_right(logits * op.multiplier, op.shift), 32)
        terms = fp.power(powers.max(axis=1, keepdims=True) - powers)
        total = terms.sum(axis=1, keepdims=True)
        kept = np.take_along_axis(terms, chosen, 1)
        scores = np.minimum(((kept << fp.SCORE_BITS) + total // 2) // total, 65535)
        scores = np.where(scores <= op.prune, 0, scores)
        shape = (*x.shape[:2], op.top_k)
        self.queues[op.queues] = (
            torch.from_numpy(chosen).reshape(shape),
            torch.from_numpy(scores).reshape(shape),
        )

    def _experts(self, op: ops.Experts) -> None:
        x = self.tensors[op.x].flatten(0, 1)
        index, score = (each.flatten(0, 1) for each in self.queues[op.queues])
        residual = self.tensors[op.y].flatten(0, 1).double()
        table = gelu_table(*op.gelu)
        for expert, (first, second) in enumerate(op.experts):
            token, place = torch.nonzero(index == expert, as_tuple=True)
            if len(token) == 0:
                continue
            hidden = hidden_values(first, table, op.zero, x[token])
            answer = _saturate(_Product(second)(hidden), "int32").double()
            part = _shift(answer * score[token, place, None], fp.SCORE_BITS)
            residual[token] = _saturate(residual[token] + part, "int32").double()
        self.tensors[op.y] = residual.to(torch.int32).view(self.tensors[op.y].shape)

    def _convolution(self, op: ops.Convolution) -> None:
        x = self.tensors[op.x]
        if op.upsample:
            x = enlarge(x)
        pictures, height, width, _ = x.shape
        multiply = _Product(op.weights)
        y = torch.empty((pictures, height, width, len(op.weights.weights)), dtype=torch.uint8)
        for picture in range(pictures):
            for start, rows in bands(x[picture]):
                stop = start + len(rows)
                result = _saturate(multiply(rows.flatten(0, 1)), "uint8")
                y[picture, start:stop] = result.view(stop - start, width, -1)
        self.tensors[op.y] = y


class _Product:
    """The product of one operation: rows of integers -> requantised rows, float64."""

    def __init__(self, weights: ops.Weights) -> None:
        channels = weights.channels
        self._weights = torch.from_numpy(weights.weights.T.astype(np.float32))
        self._bias = torch.from_numpy(channels["bias"].astype(np.float64))
        self._multiplier = torch.from_numpy(channels["multiplier"].astype(np.float64))
        self._shift = torch.from_numpy(channels["shift"].astype(np.int64) & 63)

    def __call__(self, x: Tensor) -> Tensor:
        total = self._bias.expand(len(x), -1).clone()
        for start in range(0, len(self._weights), EXACT_INPUTS):
            part = slice(start, start + EXACT_INPUTS)
            total += x[:, part].float() @ self._weights[part]
        return _shift(total.mul_(self._multiplier), self._shift)


def _shift(value: Tensor, shift: Tensor | int) -> Tensor:
    """`fixed_point.shift_right` of integers below 2^48 in float64, in place."""
    step = _POWERS_OF_TWO[shift]
    return value.add_(torch.floor(step / 2)).div_(step).floor_()


def _saturate(value: Tensor, dtype: str) -> Tensor:
    limits = torch.iinfo(DTYPES[dtype])
    return value.clamp_(limits.min, limits.max).to(DTYPES[dtype])


def gelu_table(multiplier: int, shift: int) -> Tensor:
    """GELU's result, requantised, of every int16: entry i is that of i - 2^15."""
    values = fp.gelu(np.arange(-(1 << 15), 1 << 15))
    return torch.from_numpy(fp.shift_right(values * multiplier, shift).astype(np.float64))


def hidden_values(first: ops.Weights, table: Tensor, zero: int, x: Tensor) -> Tensor:
    """An expert's first product of its tokens (rows, C), GELU, as uint8 (rows, H)."""
    return _saturate(_look_up(table, _Product(first)(x)) + zero, "uint8")


def _look_up(table: Tensor, value: Tensor) -> Tensor:
    return table[value.clamp_(-(1 << 15), (1 << 15) - 1).long() + (1 << 15)]


@cache
def _softmax_table() -> Tensor:
    """A key's weight by how far its score lies below the maximum; 0 from the last entry on."""
    below = np.arange((10 << fp.VALUE_BITS) + 1)
    return torch.from_numpy(np.minimum(fp.shift_right(fp.power(below), 8), 255).astype(np.float32))


def _attend(queries: Tensor, keys: Tensor, values: Tensor, op: ops.Attention, block: int) -> Tensor:
    """All heads of a picture: float32 integers (heads, T, head_dim) each -> int8 of that shape."""
    heads, tokens, _ = queries.shape
    multiplier, shift, out_multiplier, out_shift = (
        torch.from_numpy(op.parameters[name].astype(np.int64))[:, None, None]
        for name in ("score_multiplier", "score_shift", "output_multiplier", "output_shift")
    )
    table = _softmax_table()
    largest = total = torch.zeros((heads, tokens, 1), dtype=torch.float64)
    weighted = torch.zeros(values.shape, dtype=torch.float64)
    for start in range(0, tokens, block):
        these = slice(start, start + block)
        dots = (queries @ keys[:, these].mT).double()
        scores = _shift(dots.mul_(multiplier), shift).clamp_(-(2.0**31), 2.0**31 - 1)
        ceiling = torch.ceil(scores.amax(-1, keepdim=True) / (1 << fp.VALUE_BITS))
        new = ceiling if start == 0 else torch.maximum(largest, ceiling)
        fall = ((new - largest).clamp_(max=31) if start else torch.zeros_like(new)).long()
        largest = new
        below = (largest * (1 << fp.VALUE_BITS)).sub(scores).clamp_(max=len(table) - 1)
        weights = table[below.int()]
        total = _shift(total.clone(), fall) + weights.sum(-1, keepdim=True)
        weighted = _shift(weighted, fall) + weights @ values[:, these]
    sums = total.long()
    inverse = ((1 << 32) + sums // 2) // sums
    mean = weighted.long() * inverse + (1 << 31 - fp.VALUE_BITS) >> 32 - fp.VALUE_BITS
    return _saturate(_shift(mean.double().mul_(out_multiplier), out_shift), "int8")


def enlarge(x: Tensor) -> Tensor:
    """Integer maps (N, h, w, C) -> (N, 2h, 2w, C): `golden.enlarge`."""
    return (_double(_double(x.int(), 1), 2) + 8 >> 4).to(x.dtype)


def _double(x: Tensor, axis: int) -> Tensor:
    size = x.shape[axis]
    before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, size - 1)], axis)
    after = torch.cat([x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1)], axis)
    return torch.stack([before + 3 * x, 3 * x + after], axis + 1).flatten(axis, axis + 1)


def bands(x: Tensor) -> Iterator[tuple[int, Tensor]]:
    """A map (h, w, C) as the rows of its 3x3 convolution (rows, w, 9 C), some map rows at a time.

    With each band goes the number of its first row. The taps of a pixel stand row by row.
    """
    height, width, _ = x.shape
    padded = torch.nn.functional.pad(x, (0, 0, 1, 1, 1, 1))
    step = max(BAND_PIXELS // width, 1)
    for start in range(0, height, step):
        stop = min(start + step, height)
        taps = [
            padded[start + dy : stop + dy, dx : dx + width] for dy in range(3) for dx in range(3)
        ]
        yield start, torch.cat(taps, 2)


def run(
    build: Build,
    quantised: ops.Quantised,
    patches: NDArray[np.uint8],
    fixed: Mapping[str, Tensor] | None = None,
) -> Emulation:
    """A task over pictures that are packed as patches (N, T, C); the tensors stay in the result.

    `fixed` says, by the name of their queues, which experts (N, T, K) routes shall choose.
    """
    emulation = Emulation(build, quantised.tables)
    emulation.fixed = fixed or {}
    emulation.tensors[quantised.input.tensor] = torch.from_numpy(patches)
    with torch.inference_mode():
        for operation in quantised.operations:
            emulation.execute(operation, quantised.tensors)
    return emulation
