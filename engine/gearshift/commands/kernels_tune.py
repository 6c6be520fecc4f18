"""`gearshift kernels tune`: the fastest tiles of a model's launches, measured on the GPU here."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from gearshift.backends import Precision
    from gearshift_kernels.triton.launch import Launch, Tiles
    from gearshift_kernels.triton.tune import Measure, Measurement

HELP = "measure the fastest tiles of a model's kernels on the GPU that is here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="an artifact's folder, or a built-in name such as demo")
    parser.add_argument(
        "--precision",
        default="bfloat16",
        help="float32, float16, bfloat16, int8, float8 or several (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    from gearshift.commands.kernels_launches import check_compiler, choose_precisions
    from gearshift.errors import BackendError
    from gearshift.models import find_model

    check_compiler()
    import torch
    from triton.testing import do_bench

    from gearshift.backends.triton_device import tiles_file
    from gearshift_kernels.triton.launch import current_target
    from gearshift_kernels.triton.tune import read_tuned, write_tuned

    try:
        target = current_target()
    except RuntimeError:
        raise BackendError(
            "kernels are tuned on the GPU that will run them, and torch finds none here: "
            "install a CUDA or ROCm build of torch on a machine with one"
        ) from None
    card = torch.cuda.get_device_name()
    path = tiles_file(target, card)
    try:
        tiles = read_tuned(path)
    except ValueError as error:
        raise BackendError(str(error)) from None
    folder = find_model(arguments.model)
    found: list[Measurement] = []
    for precision in choose_precisions(arguments.precision):
        found += tune_model(folder, precision, do_bench)
    write_tuned(path, target, card, {**tiles, **{m.key: m.tiles for m in found}})
    print(f"{_text(found)}\n\n{path}")
    return 0


def tune_model(folder: Path, precision: Precision, measure: Measure) -> list[Measurement]:
    """Tune what each task of a model launches, on noise for an image.

    What comes before a launch runs first, so that its indices and queues are those of a real run.
    """
    import torch
    from tqdm import tqdm

    from gearshift.backends import Options
    from gearshift.backends.triton_backend import TritonBackend
    from gearshift.backends.triton_plan import Memory, Plan, open_pool
    from gearshift.graph import read_artifact
    from gearshift.specialise import specialise
    from gearshift_kernels.triton.launch import Launch
    from gearshift_kernels.triton.tune import tune

    graph = read_artifact(folder)
    backend = TritonBackend(Options(folder, precision))
    found: dict[str, Measurement] = {}
    for task in range(len(graph.card.tasks)):
        program = specialise(graph, task)
        pool = backend.pool = backend.pool or open_pool(program, backend.place, precision, None)
        plan = Plan(program, backend.device, Memory(backend.arena, backend.weights, pool))
        launches = [action for action in plan.actions if isinstance(action, Launch)]
        image = torch.randn(plan.input.shape, generator=torch.Generator().manual_seed(0))
        new: dict[str, Launch] = {}
        for launch in launches:
            if launch.key not in found:
                new.setdefault(launch.key, launch)
        before = partial(_run_until, launches, plan.input, image)
        bar = tqdm(new.values(), desc=graph.card.tasks[task].name, unit="launch", delay=2)
        found |= {m.key: m for m in tune(bar, candidates, measure, before)}
    return list(found.values())


def _run_until(launches: list[Launch], place: Tensor, image: Tensor, last: Launch) -> None:
    """A run of a program up to one of its launches: those after it reuse its inputs' memory."""
    place.copy_(image)
    for launch in launches:
        if launch is last:
            return
        launch.run()


def _text(found: list[Measurement]) -> str:
    """A line for each launch: what it took before, what it takes now, with which tiles."""
    from gearshift.text import columns

    rows = [("launch", "before", "now", "blocks", "warps", "stages")]
    for m in found:
        before = "does not run" if m.time_before is None else f"{1e3 * m.time_before:.1f} us"
        blocks = "x".join(map(str, m.tiles.blocks.values()))
        numbers = blocks, str(m.tiles.warps), str(m.tiles.stages)
        rows.append((m.key, before, f"{1e3 * m.time:.1f} us", *numbers))
    return columns(rows, right=(1, 2, 3, 4, 5))


def candidates(launch: Launch) -> Sequence[Tiles]:
    """What is tried for a launch; nothing for a kernel that has no tiles to tune."""
    import torch

    from gearshift_kernels.triton.attention import attention_candidates
    from gearshift_kernels.triton.experts import COMBINE_CANDIDATES
    from gearshift_kernels.triton.launch import TRITON_DTYPE
    from gearshift_kernels.triton.queues import QUEUE_CANDIDATES
    from gearshift_kernels.triton.router import ROUTER_CANDIDATES
    from gearshift_kernels.triton.tiles import product_candidates
    from gearshift_kernels.triton.upsample_conv import upsample_conv_candidates

    product = launch.constants.get("DTYPE")
    dtype = next((k for k, v in TRITON_DTYPE.items() if v == product), None)
    match launch.name, dtype:
        case (("linear" | "patch_embedding" | "expert_fc1" | "expert_fc2"), torch.dtype()):
            return product_candidates(dtype)
        case "attention", torch.dtype():
            return attention_candidates(dtype, launch.constants["HEAD_DIM"])
        case "upsample_conv", torch.dtype():
            return upsample_conv_candidates(dtype)
        case "router", _:
            return ROUTER_CANDIDATES
        case "expert_queues", _:
            return QUEUE_CANDIDATES
        case "combine", _:
            return COMBINE_CANDIDATES
    return ()
