"""What a kernel's planning function returns: one launch, bound to its arguments.

A planning function checks shapes and dtypes, chooses tiles and returns a `Launch`. It never touches
data, so it plans for tensors of the device `meta` as well: that is how kernels are compiled ahead
of time for a GPU that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import triton
import triton.language as tl
from triton import knobs

INTERPRETER = "interpreter"
"""The target of kernels that run in Triton's interpreter, on the CPU."""

TRITON_DTYPE: Mapping[torch.dtype, tl.dtype] = {
    torch.float32: tl.float32,
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
}
"""The dtypes of matrix products."""


@dataclass(frozen=True)
class Tiles:
    """How the work of a kernel is cut, and how the compiler is to schedule a piece of it."""

    blocks: Mapping[str, int]
    """Block sizes by the kernel's constexpr name; powers of two."""
    warps: int = 4
    stages: int = 1
    """Depth of the software pipeline that loads operands ahead of their use."""


@dataclass(frozen=True)
class Device:
    """What launches are planned for."""

    target: str
    """`sm_80`, `gfx942` and the like (see `targets`), or `INTERPRETER`."""
    tuned: Mapping[str, Tiles] = field(default_factory=dict)
    """Tiles measured to be best on this device, by `Launch.key`; they go before the tables."""

    @property
    def interpreted(self) -> bool:
        return self.target == INTERPRETER

    @property
    def product_precision(self) -> str:
        """How a product of float32 operands is computed.

        On NVIDIA's tensor cores as three tf32 products, whose error is near float32's own
        (Ootomo and Yokota, 2022); elsewhere in float32.
        """
        return "tf32x3" if self.target.startswith("sm_") else "ieee"


@dataclass(frozen=True)
class Launch:
    """One call of a kernel."""

    key: str
    """Kernel, sizes and dtypes: launches with the same key are tuned alike."""
    kernel: Any
    grid: Callable[[Mapping[str, int]], tuple[int, ...]]
    """Number of programs along each axis, given `tiles.blocks`."""
    arguments: Mapping[str, torch.Tensor | int | float | None]
    constants: Mapping[str, Any]
    """Compile-time arguments besides the blocks."""
    tiles: Tiles

    @property
    def name(self) -> str:
        """The kernel's name."""
        return self.key.split(" ", 1)[0]

    @property
    def options(self) -> dict[str, Any]:
        """Everything that is passed by keyword besides `arguments`."""
        return {
            **self.constants,
            **self.tiles.blocks,
            "num_warps": self.tiles.warps,
            "num_stages": self.tiles.stages,
            # Triton's default differs between versions.
            "enable_fp_fusion": True,
        }

    def with_tiles(self, tiles: Tiles) -> Launch:
        """The same work cut in another way."""
        return replace(self, tiles=tiles)

    def run(self) -> None:
        """Launch on the current device and stream; nothing happens when there is no work."""
        grid = self.grid(self.tiles.blocks)
        if all(grid):
            self.kernel[grid](**self.arguments, **self.options)


def is_interpreted() -> bool:
    """Whether kernels run in Triton's interpreter: TRITON_INTERPRET was set at import."""
    return bool(knobs.runtime.interpret)


def current_target() -> str:
    """The target of the device on which a launch would run now.

    Raises:
        RuntimeError: there is no GPU, and kernels are not interpreted.
    """
    if is_interpreted():
        return INTERPRETER
    if not torch.cuda.is_available():
        raise RuntimeError(
            "no GPU that torch can use: install a CUDA or ROCm build of torch on a machine with a "
            "GPU, or set TRITON_INTERPRET=1 to run the kernels on the CPU (slow, for checking)"
        )
    if torch.version.hip:
        return str(torch.cuda.get_device_properties().gcnArchName).split(":")[0]
    major, minor = torch.cuda.get_device_capability()
    return f"sm_{major}{minor}"


def cdiv(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def power_of_two(number: int, least: int = 16) -> int:
    """The smallest power of two that holds `number`, at least `least`."""
    return max(least, int(triton.next_power_of_2(number)))


def require(condition: bool, message: str) -> None:
    """Raises ValueError with `message` unless the condition holds."""
    if not condition:
        raise ValueError(message)


def require_rows(name: str, x: torch.Tensor, rows: int | None, columns: int | None) -> None:
    """A matrix whose rows are contiguous; any distance between rows. None: any size.

    Raises:
        ValueError: it is not.
    """
    shape = tuple(x.shape)
    fits = (
        x.ndim == 2
        and (rows is None or shape[0] == rows)
        and (columns is None or shape[1] == columns)
    )
    wanted = f"({'any' if rows is None else rows}, {'any' if columns is None else columns})"
    require(fits, f"{name} has shape {shape}, not {wanted}")
    require(
        x.stride(1) == 1 or x.shape[1] <= 1 or x.numel() == 0,
        f"{name} has strides {x.stride()}: the elements of a row must be contiguous",
    )
