"""The energy of NVIDIA GPUs, as their driver counts it since it was loaded.

nvidia-smi's power is an average of samples that on some cards cover a quarter of the time; the
counter covers all of it, in windows that are long enough.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from gearshift_bench.energy.counter import Counter
from gearshift_bench.energy.meter import Clock, MeterError, Sleep

LEAST_SECONDS = 30.0


def find_counters(root: Path, clock: Clock, sleep: Sleep) -> tuple[list[Counter], list[str]]:
    """Counters of all GPUs, and why others cannot be read."""
    try:
        nvml: Any = import_module("pynvml")
    except ImportError:
        if (root / "module" / "nvidia").exists():
            return [], ["NVIDIA's meter needs nvidia-ml-py: pip install 'gearshift[energy]'"]
        return [], ["no NVIDIA driver"]
    try:
        nvml.nvmlInit()
        devices = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        return [], [f"no NVIDIA driver (NVML: {error})"]
    counters: list[Counter] = []
    reasons: list[str] = [] if devices else ["no NVIDIA GPU"]
    for number, device in enumerate(devices):
        name = f"GPU {number}"
        try:
            name = f"GPU {number}, {_text(nvml.nvmlDeviceGetName(device))}"
            counter = Counter(
                name, "NVML energy counter", partial(_count, nvml, device, name), 1e-3, None, clock
            )
            counter.learn_step(sleep, LEAST_SECONDS)
            counters.append(counter)
        except MeterError as error:
            reasons.append(str(error))
        except nvml.NVMLError as error:
            reasons.append(f"{name} cannot be read (NVML: {error})")
    return counters, reasons


def _count(nvml: Any, device: Any, name: str) -> int:
    """Millijoules since the driver was loaded; raises MeterError on cards without the counter."""
    try:
        return int(nvml.nvmlDeviceGetTotalEnergyConsumption(device))
    except nvml.NVMLError as error:
        raise MeterError(f"{name} counts no energy (NVML: {error})") from error


def _text(name: str | bytes) -> str:
    """Old versions give bytes."""
    return name.decode() if isinstance(name, bytes) else name
