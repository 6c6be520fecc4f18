"""What a checkpoint cannot say about itself: a small TOML file beside it, or a built-in one.

    format = "m3vit"              # or "edge-moe"
    top_k = 4                     # experts a token
    expert_hidden = 384           # optional: the experts' size that this top_k goes with
    heads = 12                    # attention heads
    image_height = 480
    image_width = 640
    provenance = "where the model comes from"

    [preprocessing]               # optional: uint8 / divisor, then (x - mean) / deviation
    mean = [0.485, 0.456, 0.406]
    standard_deviation = [0.229, 0.224, 0.225]

    [[tasks]]                     # in the order of the routers
    name = "depth"
    kind = "depth"                # segmentation, depth, normals, probability; or, for all tasks
                                  # of a model without decoders, tokens
    unit = "metre"

Every other number (width, depth, patch size, experts, decoders) is read from the tensors' shapes.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gearshift.errors import CheckpointError
from gearshift.graph.card import Preprocessing, TaskKind
from gearshift_export import recipe_table as expect
from gearshift_export.config import Routing
from gearshift_export.recipe_table import Table
from gearshift_export.recipes import FOLDER, built_in_recipes


class CheckpointFormat(StrEnum):
    """Who wrote the checkpoint."""

    M3VIT = "m3vit"
    """A PyTorch file, or a folder of shards, from M3ViT's training code."""

    EDGE_MOE = "edge-moe"
    """Edge-MoE's folder of raw float32 files."""


@dataclass(frozen=True)
class TaskRecipe:
    """One task; fields as in `gearshift.graph.TaskCard`."""

    name: str
    kind: TaskKind
    channels: int | None = None
    """Output channels to insist on; None takes whatever the decoder has."""
    labels: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    unit: str = ""
    threshold: float = 0.5


@dataclass(frozen=True)
class Recipe:
    """A checked recipe; `name` is the built-in's name or the file's stem."""

    name: str
    format: CheckpointFormat
    top_k: int
    heads: int
    image_height: int
    image_width: int
    tasks: tuple[TaskRecipe, ...]
    expert_hidden: int | None = None
    """The size of the experts that `top_k` goes with; a checkpoint of another size is a hint that
    its `top_k` is another, too."""
    routing: Routing | None = None
    """What the checkpoint's keys must show; None takes whatever they show."""
    gate_input_ahead: bool = False
    experts_per_task: int | None = None
    prune_scores: float = 0.0
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    provenance: str = ""


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A built-in recipe by name, or a TOML file by path (anything that ends in `.toml`).

    Raises:
        CheckpointError: no such recipe, no TOML, or a key that is unknown, missing or of the wrong
            kind; the message names the file, the key, the value and what is expected.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix != ".toml":
        if str(name_or_path) not in built_in_recipes():
            raise CheckpointError(
                f"recipe {str(name_or_path)!r} is neither a .toml file nor built in; "
                f"built in are {', '.join(built_in_recipes())}"
            )
        path = FOLDER / f"{name_or_path}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"recipe {path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"recipe {path}: is not TOML: {error}") from None
    return _read(path.stem, Table(path.name, "", values))


def _read(name: str, table: Table) -> Recipe:
    recipe = Recipe(
        name=name,
        format=CheckpointFormat(table.take("format", expect.one_of(CheckpointFormat))),
        top_k=table.take("top_k", expect.POSITIVE),
        heads=table.take("heads", expect.POSITIVE),
        image_height=table.take("image_height", expect.POSITIVE),
        image_width=table.take("image_width", expect.POSITIVE),
        expert_hidden=table.take("expert_hidden", expect.POSITIVE, None),
        routing=_routing(table),
        gate_input_ahead=table.take("gate_input_ahead", expect.TRUTH, False),
        experts_per_task=table.take("experts_per_task", expect.POSITIVE, None),
        prune_scores=float(table.take("prune_scores", expect.FRACTION, 0.0)),
        provenance=table.take("provenance", expect.TEXT, ""),
        preprocessing=_preprocessing(table.table("preprocessing")),
        tasks=tuple(_task(task) for task in table.tables("tasks")),
    )
    table.finish()
    names = [task.name for task in recipe.tasks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise CheckpointError(f"recipe {table.file}: tasks hold the name {twice!r} twice")
    encoders = [task.name for task in recipe.tasks if task.kind is TaskKind.TOKENS]
    if 0 < len(encoders) < len(names):
        raise CheckpointError(
            f"recipe {table.file}: task {encoders[0]} has kind tokens, expected all tasks or none "
            "to have it: a model has decoders or it has not"
        )
    return recipe


def _routing(table: Table) -> Routing | None:
    value = table.take("routing", expect.one_of(Routing), None)
    return None if value is None else Routing(value)


def _preprocessing(table: Table) -> Preprocessing:
    usual = Preprocessing()
    result = Preprocessing(
        divisor=float(table.take("divisor", expect.ABOVE_ZERO, usual.divisor)),
        mean=expect.triple(table.take("mean", expect.THREE_NUMBERS, usual.mean)),
        standard_deviation=expect.triple(
            table.take("standard_deviation", expect.THREE_ABOVE_ZERO, usual.standard_deviation)
        ),
    )
    table.finish()
    return result


def _task(table: Table) -> TaskRecipe:
    task = TaskRecipe(
        name=table.take("name", expect.IDENTIFIER),
        kind=TaskKind(table.take("kind", expect.one_of(TaskKind))),
        channels=table.take("channels", expect.POSITIVE, None),
        labels=tuple(table.take("labels", expect.TEXTS, [])),
        colours=tuple(tuple(colour) for colour in table.take("colours", expect.COLOURS, [])),
        unit=table.take("unit", expect.TEXT, ""),
        threshold=float(table.take("threshold", expect.FRACTION, 0.5)),
    )
    table.finish()
    if task.labels and task.colours and len(task.labels) != len(task.colours):
        raise CheckpointError(
            f"recipe {table.file}: {table.where}colours has {len(task.colours)} entries, "
            f"expected {len(task.labels)}, one a label"
        )
    return task
