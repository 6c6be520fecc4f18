"""From the shapes of an M3ViT state dict, and the recipe, to the model's configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gearshift.errors import CheckpointError
from gearshift.graph import TaskKind
from gearshift.graph.card import CHANNELS_OF_KIND
from gearshift_export.config import DecoderConfig, ModelConfig, Routing, TaskConfig
from gearshift_export.recipe import Recipe, TaskRecipe

BLOCK = "backbone.blocks."
GATE = BLOCK + "1.mlp.gate."


def infer_config(state: Mapping[str, Tensor], recipe: Recipe, source: str) -> ModelConfig:
    """Read every number that the shapes determine; `source` names the checkpoint in errors.

    Keys are upstream's: `backbone.*`, `decoders.<task>.*`.

    Raises:
        CheckpointError: a tensor that decides a number is missing or has the wrong rank, or the
            recipe says something else than the tensors.
    """
    shapes = _Shapes(state, source)
    routing = _routing(state, recipe, source)
    gate = GATE + ("0.w_gate" if routing is Routing.MULTI_GATE else "w_gate")
    width, _, patch_size, _ = shapes.of("backbone.patch_embed.proj.weight", "(width, 3, P, P)")
    _, tokens, _ = shapes.of("backbone.pos_embed", "(1, tokens, width)")
    check_positions("backbone.pos_embed", tokens, patch_size, recipe, source)
    task_embedding = 0
    if routing is Routing.TASK_CONDITIONED:
        key = "backbone.gate_task_represent.fc1.weight"
        task_embedding, tasks = shapes.of(key, "(task embedding, tasks)")
        _check_task_count(f"{key} knows {tasks} tasks", tasks, recipe, source)
    decoder, channels = _decoders(shapes, state, recipe, source)
    return make_config(
        recipe,
        source,
        patch_size=patch_size,
        width=width,
        depth=_depth(state, source),
        dense_hidden=shapes.of(BLOCK + "0.mlp.fc1.weight", "(hidden, width)")[0],
        # The router knows all experts; a lone shard holds only its share of their weights.
        experts=shapes.of(gate, "(width, experts)")[1],
        expert_hidden=shapes.of(BLOCK + "1.mlp.experts.htoh4.weight", "(experts, hidden, width)")[
            1
        ],
        tasks=tuple(
            TaskConfig(task.name, count) for task, count in zip(recipe.tasks, channels, strict=True)
        ),
        routing=routing,
        task_embedding=task_embedding,
        decoder=decoder,
    )


def make_config(recipe: Recipe, source: str, **inferred: Any) -> ModelConfig:
    """The configuration of what the recipe says and of what was `inferred` from a checkpoint.

    Raises:
        CheckpointError: the two together cannot be a model.
    """
    try:
        return ModelConfig(
            image_height=recipe.image_height,
            image_width=recipe.image_width,
            heads=recipe.heads,
            top_k=recipe.top_k,
            gate_input_ahead=recipe.gate_input_ahead,
            experts_per_task=recipe.experts_per_task,
            prune_scores=recipe.prune_scores,
            **inferred,
        )
    except ValueError as error:
        raise CheckpointError(f"checkpoint {source} with recipe {recipe.name}: {error}") from None


class _Shapes:
    """Shapes by key, or an error that says what was expected there."""

    def __init__(self, state: Mapping[str, Tensor], source: str) -> None:
        self.state = state
        self.source = source

    def of(self, key: str, expected: str) -> tuple[int, ...]:
        if key not in self.state:
            raise CheckpointError(
                f"checkpoint {self.source}: {key} is missing, expected {expected}"
            )
        shape = tuple(self.state[key].shape)
        if len(shape) != expected.count(",") + 1 or 0 in shape:
            raise CheckpointError(
                f"checkpoint {self.source}: {key} has shape {shape}, expected {expected}"
            )
        return shape


def _depth(state: Mapping[str, Tensor], source: str) -> int:
    pattern = re.compile(re.escape(BLOCK) + r"(\d+)\.")
    blocks = {int(found[1]) for key in state if (found := pattern.match(key))}
    if lacking := sorted(set(range(len(blocks))) - blocks):
        raise CheckpointError(
            f"checkpoint {source}: {BLOCK}{lacking[0]}.* is missing, "
            f"expected {len(blocks)} blocks without a gap; the last is {max(blocks)}"
        )
    return len(blocks)


def _routing(state: Mapping[str, Tensor], recipe: Recipe, source: str) -> Routing:
    pattern = re.compile(re.escape(GATE) + r"(\d+)\.w_gate")
    gates = sum(1 for key in state if pattern.fullmatch(key))
    if gates:
        routing = Routing.MULTI_GATE
        _check_task_count(f"{GATE}* holds {gates} routers", gates, recipe, source)
    elif any(key.startswith("backbone.gate_task_represent.") for key in state):
        routing = Routing.TASK_CONDITIONED
    else:
        routing = Routing.SINGLE
    if recipe.routing not in (None, routing):
        raise CheckpointError(
            f"checkpoint {source}: its keys show routing {routing}, "
            f"but recipe {recipe.name} says {recipe.routing}"
        )
    return routing


def _check_task_count(fact: str, count: int, recipe: Recipe, source: str) -> None:
    if count != len(recipe.tasks):
        raise CheckpointError(
            f"checkpoint {source}: {fact}, but recipe {recipe.name} names {len(recipe.tasks)} "
            f"tasks ({', '.join(task.name for task in recipe.tasks)}): one a router is expected"
        )


def check_positions(name: str, tokens: int, patch_size: int, recipe: Recipe, source: str) -> None:
    """Raises CheckpointError: the positions called `name` are not those of the recipe's image."""
    rows, columns = recipe.image_height // patch_size, recipe.image_width // patch_size
    if tokens != rows * columns + 1:
        raise CheckpointError(
            f"checkpoint {source}: {name} holds {tokens} tokens, but image_height "
            f"{recipe.image_height} and image_width {recipe.image_width} of recipe {recipe.name} "
            f"make {rows * columns + 1} with patches of {patch_size}"
        )


def _decoders(
    shapes: _Shapes, state: Mapping[str, Tensor], recipe: Recipe, source: str
) -> tuple[DecoderConfig | None, list[int]]:
    """The decoders' common shape, and each task's channels (the width when there is none)."""
    found = {key.split(".")[1] for key in state if key.startswith("decoders.")}
    wanted = {task.name for task in recipe.tasks if task.kind is not TaskKind.TOKENS}
    if found != wanted:
        raise CheckpointError(
            f"checkpoint {source}: has decoders for {', '.join(sorted(found)) or 'no task'}, but "
            f"recipe {recipe.name} wants them for {', '.join(sorted(wanted)) or 'no task'} "
            "(kind tokens is an encoder without decoders)"
        )
    if not found:
        return None, [shapes.state["backbone.pos_embed"].shape[2]] * len(recipe.tasks)
    stages = [_stages(state, task.name, source) for task in recipe.tasks]
    heads = [
        _head(shapes, f"decoders.{task.name}.conv_{count}.weight")
        for task, count in zip(recipe.tasks, stages, strict=True)
    ]
    for task, shape in zip(recipe.tasks, heads, strict=True):
        _check_channels(task, shape[0], recipe, source)
    return DecoderConfig(channels=heads[0][1], stages=stages[0]), [shape[0] for shape in heads]


def _head(shapes: _Shapes, key: str) -> tuple[int, ...]:
    expected = "(channels, features, 1, 1)"
    shape = shapes.of(key, expected)
    if shape[2:] != (1, 1):
        raise CheckpointError(
            f"checkpoint {shapes.source}: {key}, the decoder's last, has shape {shape}, "
            f"expected {expected}: a 1x1 convolution"
        )
    return shape


def _stages(state: Mapping[str, Tensor], task: str, source: str) -> int:
    """How many 3x3 convolutions come before the 1x1 head."""
    pattern = re.compile(rf"decoders\.{task}\.conv_(\d+)\.weight")
    stages = sum(1 for key in state if pattern.fullmatch(key)) - 1
    # With two convolutions upstream enlarges once, straight to the picture: another network.
    if stages < 2:
        raise CheckpointError(
            f"checkpoint {source}: decoders.{task} has {stages + 1} convolutions conv_*, expected "
            "at least 3: the progressively up-sampling decoder (num_conv 4 upstream)"
        )
    return stages


def _check_channels(task: TaskRecipe, found: int, recipe: Recipe, source: str) -> None:
    expectations = (
        (task.channels, "its channels are"),
        (len(task.labels) or None, "the number of its labels is"),
        (CHANNELS_OF_KIND.get(task.kind), f"kind {task.kind} has"),
    )
    for expected, why in expectations:
        if expected not in (None, found):
            raise CheckpointError(
                f"checkpoint {source}: the decoder of {task.name} puts out {found} channels, "
                f"but in recipe {recipe.name} {why} {expected}"
            )
