"""All contenders, library by library."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gearshift.backends import Compiled, Options, Precision, load_backend
from gearshift.errors import BackendError
from gearshift_bench.peers.entry import OURS, Entry, Form, Match, Nodes, Run, typical

PEERS = ("onnxruntime", "openvino", "torch", "compile")


def our_entries(backend: str, precisions: Sequence[Precision]) -> list[Entry]:
    """A backend of the engine, a precision each."""
    return [
        Entry(f"{OURS} {backend}", precision, {"program": engine_form(backend, precision)})
        for precision in precisions
    ]


def peer_entries(peer: str) -> list[Entry]:
    """The contenders of one of `PEERS`.

    Raises:
        BackendError: it is not installed; the message says what installs it.
    """
    if peer == "onnxruntime":
        from gearshift_bench.peers.onnxruntime_entries import entries
    elif peer == "openvino":
        try:
            from gearshift_bench.peers.openvino_entries import entries
        except ModuleNotFoundError as error:
            raise BackendError(
                f"peer openvino needs the package {error.name}: pip install 'gearshift[peers]'"
            ) from None
    elif peer == "torch":
        from gearshift_bench.peers.torch_entries import eager_entries as entries
    else:
        from gearshift_bench.peers.torch_entries import compiled_entries as entries
    return entries()


def engine_form(backend: str, precision: Precision) -> Form:
    """A backend of the engine, without the session around it."""
    return Form(
        partial(_open, backend, precision),
        partial(_profile, backend, precision),
    )


def _compile(backend: str, precision: Precision, match: Match) -> Compiled:
    opened = load_backend(backend, Options(match.folder, precision, match.threads))
    if reasons := opened.supports(match.program):
        raise BackendError("; ".join(reasons))
    return opened.compile(match.program)


def _open(backend: str, precision: Precision, match: Match) -> Run:
    return partial(_compile(backend, precision, match).run, match.image)


def _profile(backend: str, precision: Precision, match: Match, runs: int) -> Nodes:
    compiled = _compile(backend, precision, match)
    compiled.run(match.image)
    seen: list[Nodes] = []
    for _ in range(runs):
        compiled.run(match.image)
        if compiled.stats.seconds_per_node is None:
            return {}
        seen.append(dict(compiled.stats.seconds_per_node))
    return typical(seen)
