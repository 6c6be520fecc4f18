"""What keeps a program from the accelerator: wiring that it does not have, sizes beyond a build."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from gearshift.program import Program, Step
from gearshift_hls import descriptor as commands
from gearshift_hls.build import Build
from gearshift_hls.compile.limits import problems
from gearshift_hls.descriptor import Command


def unsupported(program: Program, build: Build) -> list[str]:
    """Why this program cannot run on `build`; empty when it can. A reason names its step."""
    reasons = [*_unknown(program), *_wiring(program)]
    if reasons:
        return reasons
    sizes = _Sizes(program, build)
    return [
        f"{step.name}: {problem}"
        for step in program.steps
        for command in sizes.commands(step)
        for problem in problems(command, build)
    ]


def _unknown(program: Program) -> Iterator[str]:
    """Steps that there is no command for."""
    for step in program.steps:
        if step.kernel not in _READS:
            remedy = _REMEDY.get(step.kernel, "")
            yield f"{step.name}: there is no command for {step.kernel}{remedy}"
        scale = step.attributes.get("scale", 1)
        if scale not in (1, 2):
            yield f"{step.name}: maps are enlarged twice or not at all, not {scale} times"


_READS: dict[str, tuple[str, ...]] = {
    "patch_embedding": ("image",),
    "layer_normalization": ("stream",),
    "attention": ("norm",),
    "mlp": ("norm",),
    "router": ("norm",),
    "expert_mixture": ("norm", "index", "score"),
    "add": ("stream", "branch"),
    "feature_map": ("norm",),
    "upsample_conv": ("map",),
    "head": ("map",),
}
"""What each kernel must read: the last value of that role before it."""

_WRITES: dict[str, tuple[str, ...]] = {
    "patch_embedding": ("stream",),
    "layer_normalization": ("norm",),
    "attention": ("branch",),
    "mlp": ("branch",),
    "router": ("index", "score"),
    "expert_mixture": ("branch",),
    "add": ("stream",),
    "feature_map": ("map",),
    "upsample_conv": ("map",),
    "head": ("result",),
}

_REMEDY = {
    "resize_bilinear": ": the decoder's last map must be half the picture's size",
}

_ROLES = {
    "stream": "the residual stream",
    "norm": "the norm before its block",
    "map": "the map before it",
    "branch": "the block before it",
}


def _wiring(program: Program) -> Iterator[str]:
    """Steps that read something else than a transformer's block does."""
    last = {"image": program.input}
    for step in program.steps:
        wanted = _READS.get(step.kernel, ())
        for role, name in zip(wanted, step.inputs, strict=False):
            if last.get(role) != name:
                what = _ROLES.get(role, role)
                yield f"{step.name}: it reads {name}, and the accelerator only {what}" + (
                    f" ({last[role]})" if role in last else ""
                )
        last.update(zip(_WRITES.get(step.kernel, ()), step.outputs, strict=False))


class _Sizes:
    """The commands of a program's steps, without addresses or constants."""

    def __init__(self, program: Program, build: Build) -> None:
        self._program = program
        self._build = build

    def commands(self, step: Step) -> list[Command]:
        """Of one step; none for an add, which its block's last product does."""
        make = getattr(self, f"_{step.kernel}", None)
        found: list[Command] = make(step) if make else []
        return found

    def _pad(self, channels: int) -> int:
        multiple = self._build.channel_multiple
        return -(-channels // multiple) * multiple

    def _shape(self, name: str) -> tuple[int, ...]:
        return self._program.values[name].shape

    def _tokens(self, step: Step) -> tuple[int, int]:
        """Tokens and true width of what a step reads."""
        _, tokens, width = self._shape(step.inputs[0])
        return tokens, width

    def _linear(self, rows: int, inputs: int, outputs: int) -> Command:
        sizes = {"inputs": self._pad(inputs), "outputs": self._pad(outputs)}
        return _command(commands.Linear, rows=rows, **sizes)

    def _patch_embedding(self, step: Step) -> list[Command]:
        _, tokens, width = self._shape(step.outputs[0])
        return [self._linear(tokens, 3 * int(step.attributes["patch_size"]) ** 2, width)]

    def _layer_normalization(self, step: Step) -> list[Command]:
        tokens, width = self._tokens(step)
        sizes = {"channels": self._pad(width), "true_channels": width}
        epsilon = round(2**32 * float(step.attributes["epsilon"]) * width)
        return [_command(commands.Norm, rows=tokens, epsilon=epsilon, **sizes)]

    def _attention(self, step: Step) -> list[Command]:
        tokens, width = self._tokens(step)
        heads = int(step.attributes["heads"])
        head_dim = self._pad(width // heads)
        return [
            self._linear(tokens, width, 3 * heads * head_dim),
            _command(commands.Attention, tokens=tokens, heads=heads, head_dim=head_dim),
            self._linear(tokens, heads * head_dim, width),
        ]

    def _mlp(self, step: Step) -> list[Command]:
        tokens, width = self._tokens(step)
        hidden = self._program.weights[step.weights[0]].shape[0]
        return [self._linear(tokens, width, hidden), self._linear(tokens, hidden, width)]

    def _router(self, step: Step) -> list[Command]:
        tokens, width = self._tokens(step)
        experts = self._program.weights[step.weights[0]].shape[1]
        sizes = {"experts": experts, "top_k": int(step.attributes["top_k"])}
        return [_command(commands.Route, tokens=tokens, channels=self._pad(width), **sizes)]

    def _expert_mixture(self, step: Step) -> list[Command]:
        tokens, width = self._tokens(step)
        hidden = self._program.weights[step.weights[0]].shape[0]
        sizes = {"channels": self._pad(width), "hidden": self._pad(hidden)}
        experts = int(step.attributes["experts"])
        return [_command(commands.Experts, tokens=tokens, experts=experts, **sizes)]

    def _upsample_conv(self, step: Step) -> list[Command]:
        _, outputs, height, width = self._shape(step.outputs[0])
        inputs = self._shape(step.inputs[0])[1]
        sizes = {"inputs": self._pad(inputs), "outputs": self._pad(outputs)}
        upsample = int(step.attributes["scale"] == 2)
        return [
            _command(commands.Convolution, height=height, width=width, upsample=upsample, **sizes)
        ]

    def _head(self, step: Step) -> list[Command]:
        _, inputs, height, width = self._shape(step.inputs[0])
        outputs = self._shape(step.outputs[0])[1]
        channels = self._pad(outputs)
        return [
            self._linear(height * width, inputs, outputs),
            _command(commands.Resize, height=height, width=width, channels=channels),
        ]


def _command(kind: type[Command], **sizes: int) -> Command:
    """A command whose other fields are as small as they may be."""
    least: dict[str, Any] = {each.name: each.metadata["least"] for each in fields(kind)}
    return kind(**(least | sizes))
