"""The device that Triton kernels run on, and what is kept about it between processes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import torch

from gearshift.backends import Precision
from gearshift.cache import cache_folder
from gearshift.errors import BackendError
from gearshift_kernels.triton.launch import Device, current_target
from gearshift_kernels.triton.pack import use_pack
from gearshift_kernels.triton.targets import TARGETS
from gearshift_kernels.triton.tune import read_tuned, tuned_file


def open_device(precision: Precision) -> Device:
    """The device at hand, with the tiles that were tuned on it; its kernels come from the pack.

    Raises:
        BackendError: no GPU and no interpreter, a GPU that the kernels do not know, one without
            the precision, or a damaged file of tiles.
    """
    try:
        target = current_target()
    except RuntimeError as error:
        raise BackendError(f"backend triton: {error}") from None
    device = Device(target)
    if device.interpreted:
        return device
    if target not in TARGETS:
        raise BackendError(
            f"backend triton: the GPU is a {target}, for which there are no tile sizes; known: "
            f"{', '.join(TARGETS)}: choose backend torch"
        )
    if precision == "float8" and not TARGETS[target].has_float8:
        raise BackendError(
            f"backend triton: {TARGETS[target].card} ({target}) has no float8 (e4m3): "
            "choose precision int8"
        )
    try:
        use_pack(kernels_folder())
        return Device(target, read_tuned(tiles_file(target, torch.cuda.get_device_name())))
    except (OSError, ValueError) as error:
        raise BackendError(f"backend triton: {error}") from error


def device_name(device: Device) -> str:
    """What a reader of results wants to know of the device."""
    if device.interpreted:
        return "the CPU, interpreted"
    with suppress(RuntimeError):
        return str(torch.cuda.get_device_name())
    return device.target


def kernels_folder() -> Path:
    """Where compiled kernels are kept: $TRITON_CACHE_DIR, else `kernels` in the cache folder."""
    return Path(os.environ.get("TRITON_CACHE_DIR") or cache_folder() / "kernels")


def tiles_file(target: str, card: str) -> Path:
    """Where the tiles that were tuned on a card are kept."""
    return tuned_file(cache_folder() / "tiles", target, card)
