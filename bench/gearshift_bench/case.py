"""A case: one GPU kernel on inputs of a program's sizes, its reference and its peers.

A case says how to run a kernel and what it must compute: the same arithmetic in plain torch, once
on float64 for the reference and once as it is for the peers. Its tolerance follows from how often
the kernel rounds to 16 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gearshift.backends import Precision
from gearshift.backends.lowering import Lowering
from gearshift.backends.triton_weights import PRODUCT_DTYPE, narrow
from gearshift.program import Program, Step
from gearshift_kernels.triton.launch import Device, Launch
from gearshift_kernels.triton.norm import Norm
from gearshift_kernels.triton.quantise import Quantised, Weight

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int32": torch.int32,
}

ROUNDING = {torch.float32: 2**-24, torch.float16: 2**-11, torch.bfloat16: 2**-8}
"""What one rounding to the dtype costs at most, relative."""

FLOAT32_SUMS = 2**-16
"""Sums of some thousand products in float32, exponentials and three-part tf32 products, relative
to the largest result."""


@dataclass(frozen=True)
class Case:
    """One kernel on one set of inputs."""

    launches: tuple[Launch, ...]
    error: Callable[[], float]
    """After a run: the largest difference to the reference, as a share of its largest value."""
    tolerance: float
    plain: Callable[..., object] | None = None
    """The same in torch and in the kernel's dtypes, eager; takes `arguments`."""
    arguments: tuple[Tensor | None, ...] = ()
    plain_name: str = "torch"
    peers: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    """Other ways to the same result, by name."""

    def run(self) -> None:
        for launch in self.launches:
            launch.run()


@dataclass(frozen=True)
class Bench:
    """Where cases are made and in what precision they run."""

    device: Device
    precision: Precision
    seed: int = 0

    @cached_property
    def _random(self) -> torch.Generator:
        return torch.Generator(self.place).manual_seed(self.seed)

    @property
    def place(self) -> str:
        return "cpu" if self.device.interpreted else "cuda"

    @property
    def dtype(self) -> torch.dtype:
        """Of both operands of a matrix product."""
        return PRODUCT_DTYPE[self.precision]

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> Tensor:
        numbers = torch.randn(shape, generator=self._random, device=self.place)
        return (scale * numbers).to(dtype)

    def weight(self, *shape: int) -> Weight:
        """In the precision of the bench; products of it and standard normal numbers are so too."""
        return narrow(self.normal(*shape, scale=shape[-1] ** -0.5), self.precision)

    def norm(self, width: int) -> Norm:
        return Norm(1 + self.normal(width, scale=0.1), self.normal(width, scale=0.1), 1e-6)

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """An output; what a kernel leaves out shows up as NaN."""
        value = float("nan") if dtype.is_floating_point else -1
        return torch.full(shape, value, dtype=dtype, device=self.place)


@dataclass(frozen=True)
class Sizes:
    """A step of a lowered program: what a case is made for."""

    program: Program
    lowering: Lowering
    step: Step

    def shape(self, name: str) -> tuple[int, ...]:
        return self.lowering.values[name].shape

    def dtype(self, name: str) -> torch.dtype:
        return DTYPES[self.lowering.values[name].dtype]

    @property
    def input(self) -> str:
        """The last input: before it there may be a residual."""
        return self.step.inputs[-1]

    @property
    def output(self) -> str:
        return self.step.outputs[0]

    @property
    def has_norm(self) -> bool:
        return "epsilon" in self.step.attributes

    @property
    def has_residual(self) -> bool:
        return self.step.kernel.endswith("_add")

    def weight(self, number: int) -> tuple[int, ...]:
        """Shape of a weight in the graph."""
        return tuple(self.program.weights[self.step.weights[number]].shape)

    @property
    def key(self) -> str:
        """The same for steps whose launches are alike."""
        values = [
            f"{'x'.join(map(str, self.shape(name)))} {self.lowering.values[name].dtype}"
            for name in (*self.step.inputs, *self.step.outputs)
            if not name.endswith((".counts", ".offsets", ".order"))
        ]
        attributes = [f"{name}={value}" for name, value in self.step.attributes.items() if value]
        experts = [f"experts={self.experts}"] if self.step.kernel == "expert_fc1" else []
        return " ".join([self.step.kernel, ", ".join(values), *attributes, *experts])

    @property
    def leaves_tokens(self) -> bool:
        """Whether a router writes the normalised tokens for its experts."""
        return len(self.step.outputs) == 6

    @property
    def experts(self) -> int:
        return len(self.step.weights) // 4


def dense(weight: Tensor | Quantised | None, dtype: torch.dtype | None = None) -> Tensor | None:
    """A weight without its scales, in `dtype` or as it is; anything else likewise."""
    if weight is None:
        return None
    if isinstance(weight, Quantised):
        wide = weight.values.to(torch.float64) * weight.scale[..., None]
        return wide.to(dtype or weight.dtype)
    return weight.to(dtype) if dtype and weight.is_floating_point() else weight


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """The largest difference as a share of the largest value; NaN counts as infinite."""
    if not wanted.numel():
        return 0.0
    difference = (found.double() - wanted.double()).abs().max()
    return float((difference / wanted.double().abs().max()).nan_to_num(float("inf")))


def plain_case(
    launches: Sequence[Launch],
    found: Tensor,
    function: Callable[..., Tensor],
    arguments: Sequence[Weight | None],
    options: Mapping[str, Any],
    rounds_to: Sequence[torch.dtype],
) -> Case:
    """A case whose arithmetic is a torch function.

    Args:
        found: the output of the launches.
        function: the same in torch, of any float dtype; takes `arguments` and `options`.
        rounds_to: one dtype for each time that the kernel rounds an operand or its result.
    """

    def reference() -> Tensor:
        wide = [dense(argument, torch.float64) for argument in arguments]
        return function(*wide, **options)

    dtype = found.dtype

    def plain(*tensors: Tensor | None) -> Tensor:
        return function(*tensors, **options).to(dtype)

    return Case(
        tuple(launches),
        lambda: relative_error(found, reference()),
        tolerance(*rounds_to),
        plain,
        tuple(dense(argument) for argument in arguments),
    )


def tolerance(*rounds_to: torch.dtype) -> float:
    """The sum of what each rounding costs at most.

    That bounds a rounding of the result; those of operands are independent of one another and
    mostly cancel in a sum of many products, so that as much again is enough for them.
    """
    return FLOAT32_SUMS + sum(ROUNDING[dtype] for dtype in rounds_to)
