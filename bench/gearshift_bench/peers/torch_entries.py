"""torch: eager, the faster of the engine's program and an idiomatic module; and torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gearshift.backends import Precision
from gearshift_bench.peers.entries import engine_form
from gearshift_bench.peers.entry import Entry, Form, Match, Output, Run
from gearshift_bench.peers.onnx_graph import MixtureForm
from gearshift_bench.peers.plain_torch import PlainModule

LIBRARY = f"torch {torch.__version__.split('+')[0]}"
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def eager_entries() -> list[Entry]:
    """A precision each. torch's thread count is the process's: the caller sets it."""
    return [
        Entry(
            f"{LIBRARY}, eager",
            precision,
            {
                "engine's torch backend": engine_form("torch", precision),
                "module, sort": Form(partial(_open_eager, precision, "sort")),
                "module, dense": Form(partial(_open_eager, precision, "dense")),
            },
        )
        for precision in DTYPES
    ]


def compiled_entries() -> list[Entry]:
    """Inductor in its default mode, a precision each.

    Only of the dense mixture: the lengths of sorted queues are data, at which the compiler breaks
    the graph in every mixture, and compiles for minutes.
    """
    return [
        Entry(
            f"{LIBRARY}, compile",
            precision,
            {"module, dense": Form(partial(_open_compiled, precision))},
        )
        for precision in DTYPES
    ]


def _open_eager(precision: Precision, mixture: MixtureForm, match: Match) -> Run:
    return _runner(PlainModule(match.program, DTYPES[precision], mixture), match)


def _open_compiled(precision: Precision, match: Match) -> Run:
    module = PlainModule(match.program, DTYPES[precision], "dense").eval()
    return _runner(torch.compile(module, dynamic=False), match)


def _runner(module: Callable[[Tensor], Tensor], match: Match) -> Run:
    image = torch.from_numpy(match.image)

    def run() -> Output:
        with torch.inference_mode():
            output: Output = module(image).float().contiguous().numpy()
        return output

    return run
