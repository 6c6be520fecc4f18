"""Results and costs as people and programs are shown them: by `gearshift run` and by the server."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from gearshift import results
from gearshift.backends import Stats
from gearshift.graph.card import TaskKind
from gearshift.results import Result


def picture_at(result: Result, size: tuple[int, int], index: int = 0) -> Image.Image:
    """The result's picture at `size` (width, height).

    Raises:
        InputError: the result has no picture.
    """
    # Colours of labels must not mix; everything else may be smooth.
    are_labels = result.task.kind is TaskKind.SEGMENTATION
    method = Image.Resampling.NEAREST if are_labels else Image.Resampling.BICUBIC
    return result.picture(index).resize(size, method)


def legend(result: Result) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    """The labels that occur, most frequent first, with their colours."""
    if not isinstance(result, results.SegmentationResult):
        return ()
    red_green_blue = dict(zip(result.label_names, result.colours.tolist(), strict=True))
    return tuple((name, tuple(red_green_blue[name])) for name in numbers(result))


def numbers(result: Result) -> dict[str, Any]:
    """A result in a few numbers, as JSON has them: what they are depends on the task's kind."""
    if isinstance(result, results.SegmentationResult):
        counts = np.bincount(result.labels.ravel(), minlength=len(result.label_names))
        share = counts / counts.sum()
        order = np.argsort(-share, kind="stable")
        return {result.label_names[i]: round(float(share[i]), 4) for i in order if share[i]}
    if isinstance(result, results.DepthResult):
        near, far = result.scale()
        middle = float(np.median(result.values))
        return {"nearest": near, "median": middle, "farthest": far, "unit": result.task.unit}
    if isinstance(result, results.ProbabilityResult):
        return {"share_above_threshold": float(result.mask.mean())}
    if isinstance(result, results.NormalsResult):
        return {"mean_direction": [float(x) for x in result.vectors.mean((0, 2, 3))]}
    return {"shape": list(result.raw.shape)}


def cost(stats: Stats) -> dict[str, Any]:
    """What a run took, as JSON has it; None where the backend cannot tell."""
    used = stats.tokens_per_expert
    return {
        "backend": stats.backend,
        "milliseconds": 1e3 * stats.seconds,
        "experts_used": used and [sum(n > 0 for n in counts) for counts in used.values()],
        "weight_bytes": stats.weight_bytes,
        "moved_bytes": stats.moved_bytes,
        "expert_hits": stats.expert_hits,
        "expert_misses": stats.expert_misses,
        "activation_bytes": stats.activation_bytes,
        **_simulated(stats),
    }


def _simulated(stats: Stats) -> dict[str, Any]:
    """Of a simulated accelerator; nothing of others."""
    if stats.cycles is None or stats.clock_mhz is None:
        return {}
    total = sum(stats.cycles.values())
    return {
        "cycles": total,
        "cycles_by_command": dict(stats.cycles),
        "array_busy_cycles": stats.busy_cycles,
        "clock_mhz": stats.clock_mhz,
        "accelerator_milliseconds": total / (1e3 * stats.clock_mhz),
    }
