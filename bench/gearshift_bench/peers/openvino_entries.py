"""OpenVINO's CPU plugin, its products in float32 and in bfloat16."""

from __future__ import annotations

from functools import partial

import openvino

from gearshift.backends import Precision
from gearshift_bench.peers.entry import Entry, Form, Match, Nodes, Output, Run, by_node, typical
from gearshift_bench.peers.onnx_graph import STANDARD_FORMS, onnx_model
from gearshift_bench.peers.onnx_graph import Form as GraphForm

LIBRARY = f"OpenVINO {openvino.__version__.split('-')[0]}"
PRECISIONS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}
"""Ours -> OpenVINO's INFERENCE_PRECISION_HINT."""


def entries() -> list[Entry]:
    """A precision each, with every graph of standard operators."""
    return [
        Entry(
            LIBRARY,
            precision,
            {
                str(form): Form(partial(_open, form, hint), partial(_profile, form, hint))
                for form in STANDARD_FORMS
            },
        )
        for precision, hint in PRECISIONS.items()
    ]


def _request(
    form: GraphForm, hint: str, match: Match, profiled: bool = False
) -> openvino.InferRequest:
    core = openvino.Core()
    model = core.read_model(onnx_model(match.program, form).SerializeToString())
    settings = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": match.threads,
        "NUM_STREAMS": 1,
        "PERF_COUNT": profiled,
    }
    return core.compile_model(model, "CPU", settings).create_infer_request()


def _open(form: GraphForm, hint: str, match: Match) -> Run:
    request = _request(form, hint, match)
    inputs = {0: match.image}

    def run() -> Output:
        outputs: Output = request.infer(inputs, share_inputs=True, share_outputs=True)[0]
        return outputs

    return run


def _profile(form: GraphForm, hint: str, match: Match, runs: int) -> Nodes:
    request = _request(form, hint, match, profiled=True)
    request.infer({0: match.image})
    seen = []
    for _ in range(runs):
        request.infer({0: match.image})
        nodes = request.profiling_info
        times = ((node.node_name, node.real_time.total_seconds()) for node in nodes)
        seen.append(by_node(times, match.program))
    return typical(seen)
