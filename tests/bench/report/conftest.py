"""Documents as `gearshift bench` writes them, from figures that are made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TASKS = ("semseg", "depth")
EXPERTS = 8


def make_run(
    task: str | None = "semseg",
    backend: str = "native",
    precision: str = "float32",
    median: float = 0.008,
    count: int = 400,
    seed: int = 0,
    **changes: Any,
) -> dict[str, Any]:
    """One run with log-normal latencies; `changes` replace whole entries."""
    rng = np.random.default_rng(seed)
    seconds = median * np.exp(rng.normal(0.0, 0.03, count) + (rng.random(count) < 0.02) * 0.8)
    low, middle, p90, p99 = np.quantile(seconds, (0.0, 0.5, 0.9, 0.99)).tolist()
    return {
        "task": task,
        "backend": backend,
        "precision": precision,
        "batch": 1,
        "threads": 1,
        "approximate": [],
        "memory": None,
        "mode": {"kind": "closed"},
        "mix": None,
        "cold": {"open_seconds": 0.031, "first_seconds": 0.164},
        "warm_up": {"runs": 12, "seconds": 0.1, "settled": True},
        "latency": {
            "count": count,
            "min": low,
            "median": middle,
            "mean": seconds.mean().item(),
            "p90": p90,
            "p99": p99 if count >= 100 else None,
            "max": seconds.max().item(),
            "median_low": middle * 0.998,
            "median_high": middle * 1.003,
            "confidence": 0.95,
        },
        "seconds": seconds.tolist(),
        "tasks": None,
        "throughput": 1 / middle,
        "requests_per_second": 1 / middle,
        "memory_peak_bytes": 412_000_000,
        "work": {
            "macs": 181_000_000,
            "flops": 362_000_000,
            "bytes": 11_226_496,
            "weight_bytes": 10_243_456,
            "activation_bytes": 983_040,
            "flops_per_second": 362_000_000 / middle,
            "bytes_per_second": 11_226_496 / middle,
            "share_of_flops": 362_000_000 / middle / 1.1e11,
            "share_of_bytes": 11_226_496 / middle / 1.4e10,
        },
        "switches": None,
        "experts": {
            f"blocks.{block}.experts": rng.multinomial(256, rng.dirichlet([1.0] * EXPERTS)).tolist()
            for block in (1, 3, 5, 7)
        },
        "nodes": _nodes(task or "semseg", middle),
        "energy": {"not_measured": "no RAPL on this machine, no NVIDIA driver"},
        "assumed_energy": None,
    } | changes


def _nodes(task: str, total: float) -> dict[str, float]:
    shares = {"patch_embedding": 1.4}
    for block in range(8):
        rest = {"mlp": 5.2} if block % 2 == 0 else {"router": 0.6, "experts": 3.2}
        shares |= {
            f"blocks.{block}.{part}": one for part, one in ({"attention": 6.6} | rest).items()
        }
    convolutions = {"features": 0.2, "conv_0": 0.9, "conv_1": 1.1, "conv_2": 4.4, "head": 1.3}
    shares |= {f"decoders.{task}.{part}": one for part, one in convolutions.items()}
    return {node: total * one / sum(shares.values()) for node, one in shares.items()}


def make_mix(**changes: Any) -> dict[str, Any]:
    """Of both tasks, a switch every other request or so."""
    settings: dict[str, Any] = {
        "task": None,
        "mix": {"kind": "weights", "description": "semseg:0.7,depth:0.3"},
        "tasks": [TASKS[index % 3 == 0] for index in range(400)],
        "switches": {
            "count": 170,
            "median_same": 0.00801,
            "median_after_switch": 0.00843,
            "ratio": 1.052,
            "by_pair": [],
        },
    }
    return make_run(**(settings | changes))


def make_record(**changes: Any) -> dict[str, Any]:
    """What `gearshift bench accuracy` says of one task run in one way."""
    return {
        "task": "depth",
        "backend": "native",
        "precision": "int8",
        "approximate": "nothing",
        "latency_ms": 7.25,
        "latency_of": "median of 20, batch 1",
        "energy": "not measured: no meter",
        "metric": "RMSE, metres",
        "value": 0.505,
        "value_float32": 0.5,
        "change_percent": 1.0,
        "output_change_percent": 0.2,
        "routed_alike": {"blocks.1.router": 0.995, "blocks.3.router": 0.9825},
        "rooms": 1,
    } | changes


def make_document(runs: Sequence[dict[str, Any]] = (), **changes: Any) -> dict[str, Any]:
    """A whole result; without `runs`, of two tasks, two backends, two precisions and a mix."""
    return {
        "format": "gearshift-bench",
        "version": 1,
        "machine": {
            "processor": "A processor of 4 GHz",
            "cores": 2,
            "memory_bytes": 25_000_000_000,
            "system": "Linux x86_64",
            "governor": None,
            "clock_mhz": {"min": 1500.0, "max": 4000.0},
            "load_before": [0.3, 0.2, 0.2],
            "noise": {"spread": 0.012, "noisy": False},
            "warnings": [],
        },
        "software": {"gearshift": "0.1.0", "python": "3.12.3", "numpy": "2.4.0"},
        "model": {
            "name": "demo",
            "sha256": "5f" * 32,
            "parameters": 6_200_000,
            "image": [3, 128, 128],
            "experts": EXPERTS,
            "top_k": 2,
            "tasks": list(TASKS),
        },
        "roofs": {
            "threads": 1,
            "flops": {"float32": 1.1e11, "bfloat16": 2.1e11, "int8": None},
            "bytes": 1.4e10,
        },
        "runs": list(runs) or _every_run(),
        "accuracy": [],
    } | changes


def _every_run() -> list[dict[str, Any]]:
    engines = (("native", "float32", 0.008), ("native", "bfloat16", 0.006))
    runs = [
        make_run(task, backend, precision, median * (1 + 0.2 * place), seed=place)
        for place, task in enumerate(TASKS)
        for backend, precision, median in (*engines, ("onnxruntime", "float32", 0.019))
    ]
    return [*runs, make_mix()]


def colours(pixels: NDArray[np.uint8]) -> int:
    """How many different ones (height, width, 3) pixels have: one, when blank."""
    return len(np.unique(pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])))
