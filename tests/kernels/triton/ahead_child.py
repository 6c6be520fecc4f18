"""What `test_ahead` and `test_pack` run in a process of its own, in which kernels are compiled.

Usage: ahead_child.py ACTION [ARGUMENT ...]; prints JSON as its last line.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import compiler
from triton.runtime import driver

from gearshift_kernels.triton.ahead import compile_launches
from gearshift_kernels.triton.launch import Device, Launch, Tiles
from gearshift_kernels.triton.linear import linear
from gearshift_kernels.triton.norm import Norm
from gearshift_kernels.triton.pack import pack, use_pack
from gearshift_kernels.triton.quantise import FLOAT8, Quantised

HUGE = Tiles({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 16}, warps=4, stages=1)


def layer(
    target: str,
    dtype: torch.dtype = torch.bfloat16,
    rows: int = 129,
    width: int = 192,
    place: str = "meta",
) -> Launch:
    """A linear layer with norm, bias and GELU."""

    def make(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=place)

    weight: Any = make(width, width, dtype=dtype)
    if dtype.itemsize == 1:
        weight = Quantised(weight, make(width), torch.bfloat16)
    norm = Norm(make(width), make(width), 1e-6)
    x, out = make(rows, width), make(rows, width)
    return linear(Device(target), x, weight, out, bias=make(width), norm=norm, gelu=True)


def variants(target: str) -> list[Launch]:
    """Four binaries for seven launches."""
    tiles = layer(target).tiles
    launches = [
        layer(target),
        layer(target, torch.float16),
        # Other sizes, specialised alike: odd, and a multiple of 16.
        layer(target, rows=131, width=320),
        layer(target, torch.int8),
        layer(target),
        # The number of rows is a multiple of 16 too.
        layer(target, rows=128),
        # No work, no kernel.
        layer(target, torch.float32, rows=0),
    ]
    return [launch.with_tiles(tiles) for launch in launches]


def resources(target: str) -> Any:
    found = compile_launches(variants(target), target)
    assert driver._active is None, "the stand-in is still there"
    return [
        {**dataclasses.asdict(kernel), "folder": kernel.folder.name, "seconds": kernel.seconds > 0}
        for kernel in found
    ]


def spilling(target: str, warps: str) -> Any:
    """Resources of a tile that is far too large for so few warps."""
    tiles = dataclasses.replace(HUGE, warps=int(warps))
    (found,) = compile_launches([layer(target, torch.float16).with_tiles(tiles)], target)
    return {**dataclasses.asdict(found), "folder": str(found.folder)}


def failing(target: str) -> Any:
    """A kernel that does not compile, before one that does."""
    launches = [layer(target, FLOAT8), layer(target)]
    try:
        compile_launches(launches, target)
    except RuntimeError as error:
        assert driver._active is None
        after = compile_launches(launches[1:], target)
        return {"error": str(error), "after": len(after)}
    return None


def packed(target: str, folder: str) -> Any:
    kernels = [kernel.folder for kernel in compile_launches(variants(target), target)]
    return [pack(kernels, Path(folder)), pack(kernels, Path(folder))]


def found_again(target: str, folder: str) -> Any:
    """As on a card: tensors with data, another driver, and a compiler that must not be asked."""

    class Card:
        def get_current_target(self) -> Any:
            if target.startswith("sm_"):
                return GPUTarget("cuda", int(target[3:]), 32)
            return GPUTarget("hip", target, 64)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int) -> int:
            return 7

    class AskedError(Exception):
        pass

    make_backend = compiler.make_backend

    def without_compiler(target: Any) -> Any:
        backend = make_backend(target)

        def add_stages(*_: Any) -> None:
            raise AskedError

        backend.add_stages = add_stages
        return backend

    use_pack(Path(folder))
    driver.set_active(Card())
    compiler.make_backend = without_compiler
    names = []
    tiles = layer(target).tiles
    for launch in (layer(target, place="cpu"), layer(target, torch.int8, place="cpu")):
        launch = launch.with_tiles(tiles)
        kernel = launch.kernel.warmup(**launch.arguments, **launch.options, grid=(1,))
        names.append(kernel.metadata.name)
    other = layer(target, place="cpu").with_tiles(HUGE)
    try:
        other.kernel.warmup(**other.arguments, **other.options, grid=(1,))
    except AskedError:
        names.append("asked for another")
    return {"names": names, "cache": knobs.cache.dir}


if __name__ == "__main__":
    _, action, *arguments = sys.argv
    actions = (resources, spilling, failing, packed, found_again)
    print(json.dumps({a.__name__: a for a in actions}[action](*arguments)))
