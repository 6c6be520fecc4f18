"""Which layers a build cannot hold, and what they would need: `descriptor.check`, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from gearshift_hls.build import Build
from gearshift_hls.descriptor import (
    Attention,
    Command,
    Convolution,
    Experts,
    Linear,
    Norm,
    Resize,
    Route,
)


def problems(command: Command, build: Build) -> list[str]:
    """What keeps the build from executing a command, its addresses aside; empty: nothing does."""
    return [*_fields(command, build), *_buffers(command, build), *_relations(command)]


def _fields(command: Command, build: Build) -> Iterator[str]:
    """Fields outside their limits."""
    for each in fields(command):
        value, least, most = (
            getattr(command, each.name),
            each.metadata["least"],
            each.metadata["most"],
        )
        limit = ""
        if isinstance(most, str):
            limit, most = f" ({most})", getattr(build, most)
        text = f"{each.name} {value}"
        if value < least:
            yield f"{text}, at least {least}"
        if value > most:
            yield f"{text}, at most {most}{limit}"
        if each.metadata["lanes"] and value % build.channel_multiple:
            yield f"{text}, wanted a multiple of {build.channel_multiple}"


def _buffers(command: Command, build: Build) -> Iterator[str]:
    """Buffers that are too small."""
    for what, buffer, needed in _needs(command):
        available = getattr(build, buffer)
        if needed > available:
            yield f"{what} need {needed:,} bytes of {buffer}, which holds {available:,}"


def _needs(command: Command) -> list[tuple[str, str, int]]:
    """What a command keeps in which buffer, and how many bytes of it."""
    match command:
        case Linear():
            return [("input channels", "input_bytes", command.inputs)]
        case Attention():
            nbytes = 2 * command.tokens * command.head_dim
            return [("keys and values", "input_bytes", nbytes)]
        case Experts():
            return [
                ("tokens", "input_bytes", command.tokens * command.channels),
                ("hidden values", "hidden_bytes", command.tokens * command.hidden),
            ]
        case Convolution():
            return [("three rows of the map", "input_bytes", 3 * command.width * command.inputs)]
        case Resize():
            nbytes = 4 * command.width * command.channels
            return [("two rows of the map", "input_bytes", nbytes)]
    return []


def _relations(command: Command) -> Iterator[str]:
    """Fields that do not go together."""
    match command:
        case Norm() if command.true_channels > command.channels:
            yield f"true_channels {command.true_channels}, at most channels {command.channels}"
        case Route() if command.top_k > command.experts:
            yield f"top_k {command.top_k}, at most experts {command.experts}"
        case Linear() if command.gelu and command.format > 1:
            yield "GELU goes with an 8-bit result only"
        case Convolution() if command.upsample and (command.height % 2 or command.width % 2):
            yield f"an enlarged map of {command.height}x{command.width}, wanted even numbers"
