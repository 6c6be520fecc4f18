"""Kernels compiled for a GPU that is not here, and what each asks of a multiprocessor.

A stand-in takes the place of Triton's driver, and each launch goes through the same steps as on a
card, short of running: the binary lands in Triton's cache under the very key that a run on such a
card looks up.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from torch import Tensor
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from gearshift_kernels.triton.launch import TRITON_DTYPE, Launch, is_interpreted
from gearshift_kernels.triton.quantise import FLOAT8
from gearshift_kernels.triton.targets import Target, find_target, occupancy

Progress = Callable[[list[Any]], Iterable[Any]]
"""Gives the members of a list one by one, and may show how far it has come."""


@dataclass(frozen=True)
class Resources:
    """One compiled kernel, and what it asks of a multiprocessor."""

    name: str
    """The kernel and what makes this variant of it; variants that differ only in how the JIT
    specialised an argument have one name."""
    dtype: str
    """Of the weights; without any, of the products; without those, the narrowest of the data."""
    target: str
    registers: int
    """Of a thread."""
    spills: int
    """Bytes of local memory of a thread; kernels keep nothing there but spilled registers."""
    shared: int
    """Bytes of shared memory of a block."""
    tensor_columns: int
    """Columns of tensor memory of a block."""
    warps: int
    stages: int
    occupancy: float
    """Resident warps as a share of the most that a multiprocessor holds; 0: no block fits."""
    seconds: float
    """What compiling took; 0 if the binary was in Triton's cache."""
    folder: Path
    """Of the binary, in Triton's cache."""


def compile_launches(
    launches: Iterable[Launch], target: str, progress: Progress = iter, threads: int | None = None
) -> list[Resources]:
    """Compile what the launches need on `target` into Triton's cache.

    Launches share a binary when the JIT says so: same kernel, options and constants, and arguments
    of the same dtypes that are alike in being 1, a multiple of 16 or neither. A launch without
    work is left out, as it is when it runs.

    Args:
        progress: wraps the list of kernels that are waited for, as `tqdm` does.
        threads: that compile at a time; as many as there are processors by default. Most of the
            compiler runs outside Python's lock.

    Returns:
        One for each binary, in the order in which the launches first need it.

    Raises:
        ValueError: there is no such target.
        RuntimeError: kernels are interpreted (TRITON_INTERPRET was set), or one does not compile.
    """
    chosen = find_target(target)
    if is_interpreted():
        raise RuntimeError("kernels are interpreted: unset TRITON_INTERPRET to compile them")
    needed: dict[int, tuple[Launch, Any]] = {}
    found: dict[str, Resources] = {}
    with (
        stand_in(chosen) as device,
        _compile_seconds() as seconds,
        ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool,
        triton.AsyncCompileMode(pool) as mode,
    ):
        try:
            for launch in launches:
                if all(launch.grid(launch.tiles.blocks)):
                    kernel = launch.kernel.warmup(**launch.arguments, **launch.options, grid=(1,))
                    needed.setdefault(id(kernel), (launch, kernel))
            for launch, future in progress(list(needed.values())):
                kernel = _finished(future, launch, target)
                if kernel.hash not in found:
                    spent = seconds.get(kernel.hash, 0.0)
                    found[kernel.hash] = _resources(launch, kernel, chosen, spent)
        except BaseException:
            # Nobody waits for the rest.
            mode.raw_futures.clear()
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            for launch, _ in needed.values():
                launch.kernel.device_caches.pop(device, None)
    return list(found.values())


_DEVICES = itertools.count(-1, -1)
"""Numbers of devices that do not exist: the JIT remembers the target of each number."""


class _StandIn:
    """What the JIT asks of a driver when nothing is launched."""

    def __init__(self, target: Target) -> None:
        self.target = GPUTarget(target.backend, target.arch, target.warp_size)
        self.device = next(_DEVICES)

    def get_current_target(self) -> Any:
        return self.target

    def get_current_device(self) -> int:
        return self.device

    def get_current_stream(self, device: int) -> int:
        return 0


@contextmanager
def stand_in(target: Target) -> Iterator[int]:
    """While it lasts Triton compiles for `target`; gives the device's number."""
    # Not `driver.active`, which looks for a GPU.
    before = driver._active
    substitute = _StandIn(target)
    driver.set_active(substitute)
    try:
        yield substitute.device
    finally:
        driver.set_active(before)


@contextmanager
def _compile_seconds() -> Iterator[dict[str, float]]:
    """How long each kernel that is compiled meanwhile took, by its hash."""
    seconds: dict[str, float] = {}

    def listen(*, metadata: dict[str, Any], times: Any, cache_hit: bool, **_: Any) -> None:
        if not cache_hit:
            seconds[metadata["hash"]] = times.total / 1e6

    with knobs.compilation.scope():
        knobs.compilation.listener = listen
        yield seconds


def _finished(future: Any, launch: Launch, target: str) -> Any:
    """The compiled kernel, once it is there."""
    try:
        return future.result()
    except Exception as error:
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise RuntimeError(
            f"kernel {_variant(launch)} does not compile for {target}: {reason[0]}"
        ) from error


def _resources(launch: Launch, kernel: Any, target: Target, seconds: float) -> Resources:
    metadata = kernel.metadata
    folder = Path(next(iter(kernel.metadata_group.values()))).parent
    if target.backend == "cuda":
        registers, spills = _nvidia_registers(next(folder.glob("*.cubin")))
    else:
        registers, spills = _amd_registers(kernel.asm["amdgcn"])
    tensor_columns = getattr(metadata, "tmem_size", None) or 0
    return Resources(
        name=_variant(launch),
        dtype=_dtype(launch),
        target=target.name,
        registers=registers,
        spills=spills,
        shared=metadata.shared,
        tensor_columns=tensor_columns,
        warps=metadata.num_warps,
        stages=metadata.num_stages,
        occupancy=occupancy(target, registers, metadata.shared, metadata.num_warps, tensor_columns),
        seconds=seconds,
        folder=folder,
    )


def _nvidia_registers(cubin: Path) -> tuple[int, int]:
    """Registers and bytes of local memory of a thread, as the binary states them."""
    command = [knobs.nvidia.cuobjdump.path, "-res-usage", str(cubin)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    numbers = {name: int(number) for name, number in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}
    return numbers["REG"], numbers["STACK"] + numbers["LOCAL"]


def _amd_registers(assembly: str) -> tuple[int, int]:
    """Vector registers and bytes of scratch memory of a thread, from the metadata of the kernel."""
    fields = r"\.(vgpr_count|private_segment_fixed_size):\s+(\d+)"
    numbers = {name: int(number) for name, number in re.findall(fields, assembly)}
    return numbers["vgpr_count"], numbers["private_segment_fixed_size"]


def _variant(launch: Launch) -> str:
    """The kernel, the constants that are on, the optional arguments that are given, its blocks."""
    words = [launch.name]
    for name, value in launch.constants.items():
        if value is True:
            words.append(name.lower())
        elif isinstance(value, int) and value is not False:
            words.append(f"{name.lower()}={value}")
    optional = set(re.findall(r"(\w+) is (?:not )?None", launch.kernel.src))
    words += [k for k, v in launch.arguments.items() if k in optional and v is not None]
    words.append("x".join(str(size) for size in launch.tiles.blocks.values()))
    return " ".join(filter(None, words))


def _dtype(launch: Launch) -> str:
    """`float8` for float8_e4m3fn; the others as torch calls them."""
    tensors = {k: v.dtype for k, v in launch.arguments.items() if isinstance(v, Tensor)}
    floats = [dtype for dtype in tensors.values() if dtype.is_floating_point]
    products = [k for k, v in TRITON_DTYPE.items() if v == launch.constants.get("DTYPE")]
    if "weight" in tensors:
        found = tensors["weight"]
    elif products:
        (found,) = products
    else:
        found = min(floats or tensors.values(), key=lambda dtype: dtype.itemsize)
    return "float8" if found == FLOAT8 else str(found).removeprefix("torch.")
