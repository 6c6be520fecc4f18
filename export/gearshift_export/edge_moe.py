"""Edge-MoE's folder of weights: raw little-endian float32 files without headers, encoder only.

Source: the published repository's `weights/` and the test bench that reads it. Layers are `l0`,
`l1`, ...; routers are stored transposed, one a task; row 0 of `pos_embed` already includes the
class token.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gearshift.errors import CheckpointError
from gearshift_export.checkpoint import build_model, list_problems
from gearshift_export.config import ModelConfig, Routing, TaskConfig
from gearshift_export.infer_shapes import check_positions, make_config
from gearshift_export.model import MultiTaskModel
from gearshift_export.recipe import Recipe

SUFFIX = ".float32.bin"
FLOAT_BYTES = 4

_NO_WEIGHT = re.compile(r"image|l\d+_x_post_(moe|mlp)")
"""The sample picture, and the reference output of a layer."""

_LAYER_FILES = {
    "norm1_weight": "norm1.weight",
    "norm1_bias": "norm1.bias",
    "qkv_weight": "attn.qkv.weight",
    "qkv_bias": "attn.qkv.bias",
    "attn_proj_weight": "attn.proj.weight",
    "attn_proj_bias": "attn.proj.bias",
    "norm2_weight": "norm2.weight",
    "norm2_bias": "norm2.bias",
}
_DENSE_FILES = {
    f"{layer}_{part}": f"mlp.{layer}.{part}"
    for layer in ("fc1", "fc2")
    for part in ("weight", "bias")
}
_EXPERT_FILES = {
    f"{layer}_{part}": f"mlp.experts.{layer}.{part}"
    for layer in ("htoh4", "h4toh")
    for part in ("weight", "bias")
}


def read_edge_moe(
    folder: Path, recipe: Recipe, report: Callable[[str], None] = print
) -> MultiTaskModel:
    """The encoder in `folder`, in evaluation mode; its output is the tokens.

    `report` receives one line that names the files that are no weights, if there are any.

    Raises:
        CheckpointError: a file is missing, of the wrong size or unknown, holds a value that is not
            finite, or does not fit the recipe; no model is made.
    """
    sizes = _file_sizes(folder)
    ignored = sorted(name for name in sizes if _NO_WEIGHT.fullmatch(name))
    config = _infer_config(sizes, recipe, folder)
    keys = _state_keys(config)
    with torch.device("meta"):
        shapes = {key: tuple(t.shape) for key, t in MultiTaskModel(config).state_dict().items()}
    _check_files(sizes, keys, shapes, ignored, folder)
    state = {key: _read_file(folder, name, shapes[key]) for name, key in keys.items()}
    state["backbone.cls_token"] = torch.zeros(1, 1, config.width)
    model = build_model(config, state, folder.name)
    if ignored:
        names = ", ".join(name + SUFFIX for name in ignored)
        report(f"ignored {len(ignored)} files that are no weights: {names}")
    return model


def _file_sizes(folder: Path) -> dict[str, int]:
    """Bytes by name without suffix, of every binary file."""
    if not folder.is_dir():
        raise CheckpointError(
            f"checkpoint {folder}: is no folder, expected Edge-MoE's folder of *{SUFFIX} files"
        )
    files = sorted(folder.glob("*.bin"))
    if not files:
        raise CheckpointError(f"checkpoint {folder}: holds no *{SUFFIX} files")
    return {file.name.removesuffix(SUFFIX): file.stat().st_size for file in files}


def _infer_config(sizes: dict[str, int], recipe: Recipe, folder: Path) -> ModelConfig:
    def count(name: str, unit: int = FLOAT_BYTES, of: str = "float32 values") -> int:
        """How many units `name` holds, a whole number above zero."""
        size = sizes.get(name)
        if size is None:
            raise CheckpointError(f"checkpoint {folder}: {name}{SUFFIX} is missing")
        if size == 0 or size % unit:
            raise CheckpointError(
                f"checkpoint {folder}: {name}{SUFFIX} has {size} bytes, expected a multiple of "
                f"{unit}: {of}"
            )
        return size // unit

    width = count("patch_embed_bias")
    row = FLOAT_BYTES * width
    patch_size = math.isqrt(count("patch_embed_weight", 3 * row, f"(width {width}, 3, P, P)"))
    tokens = count("pos_embed", row, f"tokens of width {width}")
    check_positions(f"pos_embed{SUFFIX}", tokens, patch_size, recipe, str(folder))
    if recipe.routing not in (None, Routing.MULTI_GATE):
        raise CheckpointError(
            f"recipe {recipe.name}: routing is {recipe.routing}, expected {Routing.MULTI_GATE}, "
            "the only one that Edge-MoE's files can hold"
        )
    routers = _numbers(r"l1_w_gate_T_task(\d+)", sizes)
    if routers != set(range(len(recipe.tasks))):
        raise CheckpointError(
            f"checkpoint {folder}: l1_w_gate_T_task* exist for tasks {sorted(routers)}, but recipe "
            f"{recipe.name} names {len(recipe.tasks)} tasks: one a task from 0 is expected"
        )
    experts = count("l1_w_gate_T_task0", row, f"(experts, width {width})")
    return make_config(
        recipe,
        str(folder),
        patch_size=patch_size,
        width=width,
        depth=len(_numbers(r"l(\d+)_norm1_weight", sizes)),
        dense_hidden=count("l0_fc1_bias"),
        experts=experts,
        expert_hidden=count("l1_htoh4_bias", FLOAT_BYTES * experts, "one row an expert"),
        tasks=tuple(TaskConfig(task.name, width) for task in recipe.tasks),
        routing=Routing.MULTI_GATE,
        decoder=None,
    )


def _numbers(pattern: str, sizes: dict[str, int]) -> set[int]:
    return {int(found[1]) for name in sizes if (found := re.fullmatch(pattern, name))}


def _state_keys(config: ModelConfig) -> dict[str, str]:
    """The state dict's key of every file."""
    keys = {
        "patch_embed_weight": "backbone.patch_embed.proj.weight",
        "patch_embed_bias": "backbone.patch_embed.proj.bias",
        "pos_embed": "backbone.pos_embed",
    }
    for layer in range(config.depth):
        files = _LAYER_FILES | (_EXPERT_FILES if config.has_experts(layer) else _DENSE_FILES)
        if config.has_experts(layer):
            files |= {
                f"w_gate_T_task{task}": f"mlp.gate.{task}.w_gate"
                for task in range(len(config.tasks))
            }
        keys |= {f"l{layer}_{file}": f"backbone.blocks.{layer}.{k}" for file, k in files.items()}
    return keys


def _check_files(
    sizes: dict[str, int],
    keys: dict[str, str],
    shapes: dict[str, tuple[int, ...]],
    ignored: list[str],
    folder: Path,
) -> None:
    problems = [f"{name}{SUFFIX} is missing" for name in keys if name not in sizes]
    for name, size in sizes.items():
        if name in ignored:
            continue
        if name not in keys:
            problems.append(f"{name if '.' in name else name + SUFFIX} is unexpected")
        elif size != (expected := FLOAT_BYTES * math.prod(shapes[keys[name]])):
            problems.append(f"{name}{SUFFIX} has {size} bytes, expected {expected}")
    if problems:
        raise CheckpointError(f"checkpoint {folder}: {list_problems(problems)}")


def _read_file(folder: Path, name: str, shape: tuple[int, ...]) -> Tensor:
    values = np.fromfile(folder / (name + SUFFIX), dtype="<f4").astype(np.float32, copy=False)
    if "_w_gate_T_" in name:
        inputs, experts = shape
        return torch.from_numpy(values.reshape(experts, inputs).T.copy())
    return torch.from_numpy(values.reshape(shape))
