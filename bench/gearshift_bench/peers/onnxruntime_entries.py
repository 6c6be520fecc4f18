"""onnxruntime: the artifact's own file, and the best plain graph that it can be given."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path

import onnxruntime

from gearshift_bench.peers import onnx_graph
from gearshift_bench.peers.entries import engine_form
from gearshift_bench.peers.entry import Entry, Form, Match, Nodes, Output, Run, by_node, typical

LIBRARY = f"onnxruntime {onnxruntime.__version__}"
KERNEL_TIME = "_kernel_time"
"""How the events of its profile end that are kernels."""


def entries() -> list[Entry]:
    """Float32 only: its CPU kernels have no bfloat16."""
    forms = {
        str(form): Form(partial(_open, form), partial(_profile, form))
        for form in onnx_graph.CONTRIB_FORMS
    }
    exported = {"model.onnx": Form(engine_form("onnxruntime", "float32").open)}
    return [
        Entry(f"{LIBRARY}, exported file", "float32", exported, ("task",)),
        Entry(f"{LIBRARY}, plain graph", "float32", forms),
    ]


def _open(form: onnx_graph.Form, match: Match) -> Run:
    return _runner(_session(form, match, _options(match.threads)), match)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Warnings about constants that fold away are of no use here; errors are exceptions.
    options.log_severity_level = 3
    return options


def _session(
    form: onnx_graph.Form, match: Match, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    model = onnx_graph.onnx_model(match.program, form).SerializeToString()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _runner(session: onnxruntime.InferenceSession, match: Match) -> Run:
    inputs = {session.get_inputs()[0].name: match.image}
    outputs = [session.get_outputs()[0].name]

    def run() -> Output:
        (output,) = session.run(outputs, inputs)
        return output

    return run


def _profile(form: onnx_graph.Form, match: Match, runs: int) -> Nodes:
    options = _options(match.threads)
    with tempfile.TemporaryDirectory(prefix="gearshift-") as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = _session(form, match, options)
        run = _runner(session, match)
        for _ in range(runs + 1):
            run()
        events = json.loads(Path(session.end_profiling()).read_text())
    kernels = [
        (event["name"], event["ts"], event["dur"])
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL_TIME)
    ]
    kernels.sort(key=lambda kernel: kernel[1])
    # All runs have equally many kernels; the first, which fills caches, is left out.
    number = len(kernels) // (runs + 1)
    seen = [kernels[start : start + number] for start in range(number, len(kernels), number)]
    return typical(
        [by_node(((name, 1e-6 * us) for name, _, us in one), match.program) for one in seen]
    )
