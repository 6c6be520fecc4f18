"""The expert-sparse graph: in memory, its operators, its card, and its artifact on disk."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from gearshift.graph.card import Card, Preprocessing, TaskCard, TaskKind
from gearshift.graph.graph import IMAGE, OUTPUT, TASK, TOKENS, Graph, Node
from gearshift.graph.vocabulary import OPERATORS

if TYPE_CHECKING:
    from gearshift.graph.read import read_artifact
    from gearshift.graph.verify import verify_artifact
    from gearshift.graph.write import write_artifact

__all__ = [
    "IMAGE",
    "OPERATORS",
    "OUTPUT",
    "TASK",
    "TOKENS",
    "Card",
    "Graph",
    "Node",
    "Preprocessing",
    "TaskCard",
    "TaskKind",
    "read_artifact",
    "verify_artifact",
    "write_artifact",
]

# Reading and writing need onnx, which is slow to import; the graph in memory does not.
_LAZY = {
    "read_artifact": "gearshift.graph.read",
    "verify_artifact": "gearshift.graph.verify",
    "write_artifact": "gearshift.graph.write",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
