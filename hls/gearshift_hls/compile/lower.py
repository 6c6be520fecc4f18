"""Operations to commands: sizes from the tensors' shapes, addresses from where things lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from gearshift_hls import operations as ops
from gearshift_hls.descriptor import (
    Attention,
    Command,
    Convolution,
    Experts,
    Format,
    Linear,
    Norm,
    Resize,
    Route,
)

Tensors = Mapping[str, ops.Tensor]

FORMATS = {
    "int8": Format.INT8,
    "uint8": Format.UINT8,
    "int16": Format.INT16,
    "int32": Format.RESIDUAL,
}
NORM_ROUNDING = 26
"""Fraction bits of a norm's reciprocal; see `descriptor.Norm`."""


def size(operation: ops.Operation, tensors: Tensors) -> Command:
    """The command of an operation, all addresses 0."""
    match operation:
        case ops.Norm():
            return _norm(operation, tensors)
        case ops.Linear():
            return _linear(operation, tensors)
        case ops.Attention():
            tokens, channels = tensors[operation.y].shape
            heads, head_dim = operation.heads, operation.head_dim
            _match(operation.constants, channels == heads * head_dim)
            _match(operation.constants, tensors[operation.x].shape == (tokens, 3 * channels))
            return Attention(tokens, heads, head_dim, 0, 0, 0)
        case ops.Route():
            return _route(operation, tensors)
        case ops.Experts():
            return _experts(operation, tensors)
        case ops.Convolution():
            return _convolution(operation, tensors)
        case ops.Resize():
            height, width, channels = tensors[operation.x].shape
            _match(operation.x, tensors[operation.y].shape == (2 * height, 2 * width, channels))
            return Resize(height, width, channels, 0, 0)


def address(
    command: Command,
    operation: ops.Operation,
    places: Mapping[str, int],
    constants: Mapping[str, int],
) -> Command:
    """The command of `size` with its addresses.

    Args:
        places: addresses of tensors and tables.
        constants: addresses of the operation's constants by field.
    """
    where = {field: places[name] for field, name in tensor_fields(operation).items()}
    if isinstance(operation, ops.Norm) and isinstance(command, Norm):
        where["x"] += operation.skip_rows * 4 * command.channels
    return replace(command, **where, **constants)


def tensor_fields(operation: ops.Operation) -> dict[str, str]:
    """Names of the tensors that an operation reads or writes, by the field of its command."""
    if isinstance(operation, ops.Route):
        return {"normalised": operation.x, "queues": operation.queues}
    fields = {"x": operation.x, "y": operation.y}
    if isinstance(operation, ops.Norm) and operation.normalised is not None:
        fields["normalised"] = operation.normalised
    if isinstance(operation, ops.Linear) and operation.residual is not None:
        fields["residual"] = operation.residual
    if isinstance(operation, ops.Experts):
        fields["queues"] = operation.queues
    return fields


def writes(operation: ops.Operation) -> set[str]:
    """Names of the tensors that an operation writes."""
    fields = tensor_fields(operation)
    if isinstance(operation, ops.Route):
        return {fields["queues"]}
    if isinstance(operation, ops.Norm):
        return {fields[field] for field in ("y", "normalised") if field in fields}
    return {fields["y"]}


def reads(operation: ops.Operation) -> set[str]:
    """Names of the tensors and tables that an operation reads."""
    fields = tensor_fields(operation)
    inputs = {fields[field] for field in ("x", "residual", "queues") if field in fields}
    if isinstance(operation, ops.Route):
        return {fields["normalised"]}
    if isinstance(operation, ops.Experts):
        return inputs | {fields["y"]}
    return inputs


def _norm(operation: ops.Norm, tensors: Tensors) -> Norm:
    x, y, true = tensors[operation.x], tensors[operation.y], operation.true_channels
    rows = prod(y.shape[:-1])
    _match(operation.constants, prod(x.shape[:-1]) == rows + operation.skip_rows)
    _match(operation.constants, x.shape[-1] == y.shape[-1] == len(operation.parameters))
    return Norm(
        rows=rows,
        channels=y.shape[-1],
        true_channels=true,
        reciprocal=round(2**NORM_ROUNDING / true),
        root=round(2**11 * true**0.5),
        epsilon=round(2**32 * operation.epsilon * true),
        shift=operation.shift,
        x=0,
        parameters=0,
        y=0,
        normalised=0,
    )


def _linear(operation: ops.Linear, tensors: Tensors) -> Linear:
    x, y = tensors[operation.x], tensors[operation.y]
    outputs, inputs = operation.weights.weights.shape
    multiplier, shift = operation.gelu or (0, 0)
    _match(operation.constants, x.shape[-1] == inputs and y.shape[-1] == outputs)
    _match(operation.constants, prod(x.shape[:-1]) == prod(y.shape[:-1]))
    _match(operation.constants, (y.dtype == "int32") == (operation.residual is not None))
    return Linear(
        rows=prod(y.shape[:-1]),
        inputs=inputs,
        outputs=outputs,
        x_unsigned=int(x.dtype == "uint8"),
        format=FORMATS[y.dtype],
        gelu=int(operation.gelu is not None),
        gelu_multiplier=multiplier,
        gelu_shift=shift,
        zero=operation.zero,
        x=0,
        weights=0,
        residual=0,
        y=0,
    )


def _route(operation: ops.Route, tensors: Tensors) -> Route:
    tokens, channels = tensors[operation.x].shape
    experts, inputs = operation.weights.shape
    _match(operation.constants, channels == inputs)
    _match(operation.constants, tensors[operation.queues].shape == (experts, tokens))
    return Route(
        tokens=tokens,
        channels=channels,
        experts=experts,
        top_k=operation.top_k,
        multiplier=operation.multiplier,
        shift=operation.shift,
        prune=operation.prune,
        normalised=0,
        weights=0,
        biases=0,
        queues=0,
    )


def _experts(operation: ops.Experts, tensors: Tensors) -> Experts:
    tokens, channels = tensors[operation.x].shape
    hidden = operation.experts[0][0].weights.shape[0]
    shapes = {(one.weights.shape, two.weights.shape) for one, two in operation.experts}
    _match(operation.constants, shapes == {((hidden, channels), (channels, hidden))})
    _match(operation.constants, tensors[operation.y].shape == (tokens, channels))
    multiplier, shift = operation.gelu
    return Experts(
        tokens=tokens,
        channels=channels,
        hidden=hidden,
        experts=len(operation.experts),
        gelu_multiplier=multiplier,
        gelu_shift=shift,
        zero=operation.zero,
        x=0,
        queues=0,
        weights=0,
        y=0,
    )


def _convolution(operation: ops.Convolution, tensors: Tensors) -> Convolution:
    x, y = tensors[operation.x], tensors[operation.y]
    height, width, outputs = y.shape
    inputs = x.shape[-1]
    _match(operation.constants, operation.weights.weights.shape == (outputs, 9 * inputs))
    return Convolution(
        height=height,
        width=width,
        inputs=inputs,
        outputs=outputs,
        upsample=int(operation.upsample),
        x_unsigned=int(x.dtype == "uint8"),
        x=0,
        weights=0,
        y=0,
    )


def _match(name: str, holds: bool) -> None:
    """The quantiser's word, checked: shapes that do not fit would be computed without complaint."""
    assert holds, f"{name}: tensors and constants of one operation do not fit each other"
