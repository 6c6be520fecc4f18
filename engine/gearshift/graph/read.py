"""Artifact to graph: checks everything that can be known without reading the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from onnx import ModelProto

from gearshift.cache import Mark
from gearshift.errors import ArtifactError
from gearshift.graph.card import FORMAT_VERSION
from gearshift.graph.card_file import CardFile, FileRecord, card_from_toml
from gearshift.graph.check import check_graph
from gearshift.graph.from_proto import check_versions, compare_models, read_extents, read_nodes
from gearshift.graph.graph import Array, Graph
from gearshift.graph.layout import CARD_FILE, MODEL_FILE, WEIGHTS_FILE, Extent
from gearshift.graph.proto import to_proto

LARGEST_CARD = 2**18
LARGEST_MODEL = 2**24
"""Bytes. A model of 12 blocks of 256 experts has about 2 MiB of nodes and names."""


def read_artifact(folder: Path) -> Graph:
    """Open the artifact `folder`: its graph, with the weights mapped and not yet read.

    The weights are views of one private (copy-on-write) memory map. Their bytes are checked by
    `verify_artifact`; everything else is checked here.

    Raises:
        ArtifactError: the artifact is missing, damaged, hostile or of another version; one line
            that names the file, the thing in it, its value and what it should be.
    """
    folder = folder.expanduser()
    content = read_card_file(folder)
    with blame(folder / MODEL_FILE, "export the model again, or fetch an undamaged copy"):
        model = _parse(_read_model(folder, content.model))
        check_versions(model)
        trunk, decoders = read_nodes(model, len(content.card.tasks))
        shapes, extents = read_extents(model.graph.initializer)
    with blame(folder / WEIGHTS_FILE, "export the model again, or fetch an undamaged copy"):
        path = artifact_file(folder, WEIGHTS_FILE)
        needed = max((extent.end for extent in extents.values()), default=0)
        for size, source in ((content.weights.size, CARD_FILE), (needed, MODEL_FILE)):
            if path.stat().st_size != size:
                raise ArtifactError(f"size {path.stat().st_size}, but {source} says {size} bytes")
        weights = _map_weights(path, shapes, extents)
    with blame(folder / MODEL_FILE, "export the model again, or fetch an undamaged copy"):
        graph = Graph(content.card, trunk, decoders, weights)
        # Both depend on the card and, through its hash, on the model: once passed, always passed.
        mark = Mark("graph", version("gearshift"), FORMAT_VERSION, repr(content))
        if not mark.is_set():
            check_graph(graph)
            compare_models(model, to_proto(graph))
            mark.set()
    return graph


def read_card_file(folder: Path) -> CardFile:
    """Read and check `card.toml` of the artifact `folder`. Raises ArtifactError."""
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is no folder; a model is a folder NAME.gs with {CARD_FILE}")
    with blame(folder / CARD_FILE, "mend it, or export the model again"):
        return card_from_toml(_read_limited(artifact_file(folder, CARD_FILE), LARGEST_CARD))


def artifact_file(folder: Path, name: str) -> Path:
    """The file `name` of the artifact: a true file, not a link that leads out of the folder.

    Raises:
        ArtifactError: it is missing, no regular file, or lies elsewhere.
    """
    path = folder / name
    if not path.is_file():
        raise ArtifactError("no such file")
    if path.resolve().parent != folder.resolve():
        raise ArtifactError(f"a link that leaves the artifact, to {path.resolve()}")
    return path


@contextmanager
def blame(file: Path, remedy: str) -> Iterator[None]:
    """Put the file before, and the remedy behind, what goes wrong inside."""
    try:
        yield
    except (ArtifactError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ArtifactError(f"{file}: {reason}; {remedy}") from None


def _read_limited(path: Path, limit: int) -> bytes:
    """The whole of a file that may have `limit` bytes."""
    with open(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ArtifactError(f"size {path.stat().st_size}; at most {limit} bytes are read")
    return content


def _read_model(folder: Path, record: FileRecord) -> bytes:
    content = _read_limited(artifact_file(folder, MODEL_FILE), LARGEST_MODEL)
    if len(content) != record.size:
        raise ArtifactError(f"size {len(content)}, but {CARD_FILE} says {record.size} bytes")
    digest = hashlib.sha256(content).hexdigest()
    if digest != record.sha256:
        raise ArtifactError(f"sha256 {digest}, but {CARD_FILE} says {record.sha256}")
    return content


def _parse(content: bytes) -> ModelProto:
    try:
        model: ModelProto = ModelProto.FromString(content)
    except DecodeError as error:
        raise ArtifactError(f"not an ONNX model ({error})") from None
    return model


def _map_weights(
    path: Path, shapes: Mapping[str, tuple[int, ...]], extents: Mapping[str, Extent]
) -> dict[str, Array]:
    """Views of one private map of the file, whose size is already checked."""
    pages = np.memmap(path, dtype=np.uint8, mode="c")
    return {
        name: np.ndarray(shape, dtype="<f4", buffer=pages, offset=extents[name].offset)
        for name, shape in shapes.items()
    }
