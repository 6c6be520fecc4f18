"""Graph to artifact: the folder `NAME.gs/` with `model.onnx`, `weights.bin` and `card.toml`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gearshift.errors import ArtifactError
from gearshift.graph.card_file import CardFile, FileRecord, card_to_toml, check_card
from gearshift.graph.check import check_graph
from gearshift.graph.graph import Graph
from gearshift.graph.layout import (
    CARD_FILE,
    MODEL_FILE,
    WEIGHTS_FILE,
    lay_out,
    shapes_in_file_order,
)
from gearshift.graph.proto import to_proto
from gearshift.output import check_folder, whole_folder

_FILES = {MODEL_FILE, WEIGHTS_FILE, CARD_FILE}


def write_artifact(graph: Graph, folder: Path) -> None:
    """Write `graph` as the artifact `folder`; the same graph gives the same bytes.

    An artifact that stands there is replaced once the new one is complete, and stays as it is
    when anything fails. Float attributes are float32 in the file.

    Raises:
        ArtifactError: the graph breaks a rule of `check_graph` or of the card, or `folder` holds
            something else than an artifact.
        OSError: the disk refuses.
    """
    folder = folder.expanduser().resolve()
    check_replaceable(folder)
    try:
        check_card(graph.card)
        check_graph(graph)
        with whole_folder(folder) as new:
            _write_files(graph, new)
    except ArtifactError as error:
        raise ArtifactError(f"{folder.name} cannot be written: {error}") from None


def _write_files(graph: Graph, folder: Path) -> None:
    with open(folder / WEIGHTS_FILE, "wb") as file:
        weights = _write_weights(graph, file)
    model = to_proto(graph).SerializeToString(deterministic=True)
    (folder / MODEL_FILE).write_bytes(model)
    record = FileRecord(len(model), hashlib.sha256(model).hexdigest())
    (folder / CARD_FILE).write_bytes(card_to_toml(CardFile(graph.card, record, weights)))


def _write_weights(graph: Graph, file: BinaryIO) -> FileRecord:
    """Write tensor after tensor at its extent, with zeros between."""
    digest = hashlib.sha256()
    size = 0
    for name, extent in lay_out(shapes_in_file_order(graph)).items():
        values = np.ascontiguousarray(graph.weights[name], dtype="<f4")
        for piece in (bytes(extent.offset - size), values.data):
            digest.update(piece)
            file.write(piece)
        size = extent.end
    return FileRecord(size, digest.hexdigest())


def check_replaceable(folder: Path) -> None:
    """Refuse to replace a file, or a folder with anything but an artifact's files.

    Raises:
        ArtifactError: `folder` is one of these.
    """
    check_folder(folder, _FILES, "an artifact", ArtifactError)
