"""M3ViT checkpoints: a state dict becomes a model, whole or not at all.

Source of the layout: the released M3ViT training code (`state_dict` of its multi-task and
single-task models, and of its pre-trained backbones).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from gearshift.errors import CheckpointError
from gearshift_export.config import ModelConfig
from gearshift_export.containers import EXPERT_KEY, StateDict, read_container
from gearshift_export.infer_shapes import infer_config
from gearshift_export.model import MultiTaskModel
from gearshift_export.recipe import Recipe

LISTED_PROBLEMS = 8

_TRAINING_ONLY = re.compile(
    r"tam_model\d*\..*"
    r"|.*\.w_noise(_aux)?|.*\.w_gate_aux"
    r"|.*\.mlp\.gate\.(\d+\.)?head\.(weight|bias)"
    r"|decoders\.\w+\.output_level_\d+\.(weight|bias)"
    r"|backbone\.(head|norm|pre_logits)\..*"
)
"""Distillation, routing noise, regularisers' heads, multi-level losses, the pre-training's head."""

_COUNTER = ".num_batches_tracked"
"""Batch norm's count of training steps: no part of inference, present or not."""


def read_m3vit(path: Path, recipe: Recipe, report: Callable[[str], None] = print) -> MultiTaskModel:
    """The model in `path` (a file, or a folder of shards), in evaluation mode, float32.

    `report` receives one line that names the ignored keys, if there are any.

    Raises:
        CheckpointError: anything about the checkpoint or its fit to the recipe; no model is made.
    """
    source = path.name
    state = _upstream_names(read_container(path), recipe, source)
    ignored = sorted(key for key in state if _TRAINING_ONLY.fullmatch(key))
    state = {
        key: tensor
        for key, tensor in state.items()
        if key not in set(ignored) and not key.endswith(_COUNTER)
    }
    config = infer_config(state, recipe, source)
    _check_expert_share(state, config, path)
    model = build_model(config, state, source)
    if ignored:
        report(f"ignored {len(ignored)} keys that only training uses: {_summary(ignored)}")
    return model


def build_model(config: ModelConfig, state: Mapping[str, Tensor], source: str) -> MultiTaskModel:
    """A model of `config` whose parameters are the very tensors of `state` (float32 ones).

    Raises:
        CheckpointError: names the tensors that are missing, too many, mis-shaped, of another type
            or not finite, each with what was expected.
    """
    with torch.device("meta"):
        model = MultiTaskModel(config)
    expected = model.state_dict()
    counters = {key: torch.tensor(0) for key in expected if key.endswith(_COUNTER)}
    wanted = {key: tuple(expected[key].shape) for key in expected if key not in counters}
    problems = _differences(wanted, state)
    if not problems:
        weights = tqdm(state.items(), "reading", leave=False, delay=2, disable=None)
        checked = {key: _as_float32(key, tensor, problems) for key, tensor in weights}
    if problems:
        raise CheckpointError(f"checkpoint {source}: {list_problems(problems)}")
    model.load_state_dict(checked | counters, strict=True, assign=True)
    return model.requires_grad_(False).eval()


def list_problems(problems: list[str]) -> str:
    """The first few, and how many more there are."""
    rest = len(problems) - LISTED_PROBLEMS
    more = f"; and {rest} more" if rest > 0 else ""
    return f"{'; '.join(problems[:LISTED_PROBLEMS])}{more}"


def _differences(wanted: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> list[str]:
    missing = [
        f"{key} is missing, expected {shape}" for key, shape in wanted.items() if key not in state
    ]
    extra = [f"{key} {tuple(state[key].shape)} is unexpected" for key in state if key not in wanted]
    misshaped = [
        f"{key} has shape {tuple(state[key].shape)}, expected {shape}"
        for key, shape in wanted.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    return missing + extra + misshaped


def _as_float32(key: str, tensor: Tensor, problems: list[str]) -> Tensor:
    if not tensor.is_floating_point():
        problems.append(f"{key} is of type {tensor.dtype}, expected floating point")
        return tensor
    tensor = tensor.float()
    if not torch.isfinite(tensor).all():
        bad = int((~torch.isfinite(tensor)).sum())
        problems.append(f"{key} holds {bad} values that are NaN or infinite, expected finite ones")
    if key.endswith(".running_var") and (tensor < 0).any():
        problems.append(f"{key} holds negative values, expected variances")
    return tensor


def _upstream_names(state: StateDict, recipe: Recipe, source: str) -> StateDict:
    """Single-task and pre-training checkpoints under the names of the multi-task model."""
    if "patch_embed.proj.weight" in state:
        return {f"backbone.{key}": tensor for key, tensor in state.items()}
    if not any(key.startswith("decoder.") for key in state):
        return state
    if len(recipe.tasks) != 1:
        raise CheckpointError(
            f"checkpoint {source}: decoder.* is a single-task model's, "
            f"but recipe {recipe.name} names {len(recipe.tasks)} tasks"
        )
    prefix = f"decoders.{recipe.tasks[0].name}."
    return {re.sub(r"^decoder\.", prefix, key): tensor for key, tensor in state.items()}


def _check_expert_share(state: StateDict, config: ModelConfig, path: Path) -> None:
    """A forgotten shard shows as fewer experts than the routers choose among."""
    shares = {len(t) for key, t in state.items() if EXPERT_KEY.search(key) and t.ndim > 0}
    held = min(shares)
    if len(shares) == 1 and held < config.experts:
        raise CheckpointError(
            f"checkpoint {path.name}: holds {held} of the {config.experts} experts that its "
            "routers choose among: give the folder with the {rank}.pth files of all ranks"
        )


def _summary(keys: list[str]) -> str:
    """The keys with numbers and tasks left out, each kind once."""
    kinds = {re.sub(r"\b\d+\b", "*", re.sub(r"^decoders\.\w+", "decoders.*", key)) for key in keys}
    kinds = {re.sub(r"^tam_model(\d*)\..*", r"tam_model\1.*", kind) for kind in kinds}
    return ", ".join(sorted(kinds))
