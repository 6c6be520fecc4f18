"""Training of the demo model: deterministic data, resumable, bfloat16 products on a CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from gearshift.errors import InputError
from gearshift_export.config import DecoderConfig, ModelConfig, Routing, TaskConfig
from gearshift_export.demo.batches import BATCH, batches
from gearshift_export.demo.dataset import SIZE, render_split
from gearshift_export.demo.losses import TASK_LOSSES, routing_loss
from gearshift_export.demo.scenes import CLASSES
from gearshift_export.model import MultiTaskModel

DEMO_CONFIG = ModelConfig(
    image_height=SIZE,
    image_width=SIZE,
    patch_size=8,
    width=128,
    heads=4,
    depth=8,
    dense_hidden=512,
    experts=8,
    expert_hidden=128,
    top_k=2,
    tasks=(
        TaskConfig("semseg", len(CLASSES)),
        TaskConfig("normals", 3),
        TaskConfig("edge", 1),
        TaskConfig("depth", 1),
    ),
    routing=Routing.MULTI_GATE,
    decoder=DecoderConfig(channels=48, stages=3),
)
"""Tasks stand in M3ViT's gate order: semseg, human_parts, sal, normals, edge, depth."""

SAVE_EVERY = 250
AVERAGE_DECAY = 0.998
MAY_CHANGE = ("steps", "decay_share")
"""Options that a resumed run may have otherwise."""


@dataclass(frozen=True)
class TrainOptions:
    """Length and pace of a training run.

    The learning rate warms up, stays, and falls to zero over the last `decay_share` of the
    steps ("warmup-stable-decay", Hu et al., MiniCPM, 2024), so that a stopped run can be resumed
    with another number of steps while it still stands on the plateau.
    """

    steps: int = 3600
    scenes: int = 24_000
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 300
    decay_share: float = 0.4
    seed: int = 0

    def learning_rate_at(self, step: int) -> float:
        decay_steps = max(int(self.steps * self.decay_share), 1)
        left = (self.steps - step) / decay_steps
        return self.learning_rate * min((step + 1) / self.warmup, 1.0, max(left, 0.0))


def _loss(
    model: MultiTaskModel, image: Tensor, targets: dict[str, Tensor]
) -> tuple[Tensor, dict[str, float]]:
    """Each quarter of the batch does one task; returns the total and its parts."""
    tasks = model.config.tasks
    share = len(image) // len(tasks)
    task = torch.arange(len(tasks)).repeat_interleave(share)
    with torch.autocast("cpu", torch.bfloat16):
        tokens, probabilities = model.encode(image, task)
        outputs = [model.decode(tokens[task == t], t).float() for t in range(len(tasks))]
    parts = {
        config.name: TASK_LOSSES[config.name](output, targets[config.name][task == t])
        for t, (config, output) in enumerate(zip(tasks, outputs, strict=True))
    }
    parts["routing"] = routing_loss(probabilities, task, len(tasks), model.config.top_k)
    return torch.stack(list(parts.values())).sum(), {k: v.item() for k, v in parts.items()}


def _wave_positions(model: MultiTaskModel) -> Tensor:
    """A start for the positions: sines and cosines of row and column, (1, T, D), class token 0.

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.5, a half for each axis.
    """
    rows, columns = model.config.grid
    frequencies = 100.0 ** -torch.linspace(0, 1, model.config.width // 4)
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [axis.flatten().unsqueeze(1) * frequencies for axis in (row, column)]
    waves = torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1)
    return 0.3 * F.pad(waves, (0, 0, 1, 0)).unsqueeze(0)


def _parameter_groups(model: MultiTaskModel, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices alone: not for biases, norms, class token and positions."""
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim >= 2 and not name.endswith((".bias", "cls_token", "pos_embed"))
        (decayed if is_matrix else plain).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


@torch.no_grad()
def _follow(averages: Sequence[Tensor], values: Sequence[Tensor], _: Tensor | int) -> None:
    """The running average moves a little towards the weights; counters are taken over."""
    for average, value in zip(averages, values, strict=True):
        if average.is_floating_point():
            average.lerp_(value, 1.0 - AVERAGE_DECAY)
        else:
            average.copy_(value)


def _save(path: Path, value: object) -> None:
    partial = path.with_suffix(".partial")
    torch.save(value, partial)
    os.replace(partial, path)


@dataclass
class _Run:
    """Everything that a resumed training needs back."""

    model: MultiTaskModel
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    options: TrainOptions
    step: int = 0

    @classmethod
    def start(cls, options: TrainOptions) -> _Run:
        torch.manual_seed(options.seed)
        model = MultiTaskModel(DEMO_CONFIG).train()
        model.backbone.pos_embed.data.copy_(_wave_positions(model))
        average = AveragedModel(model, multi_avg_fn=_follow, use_buffers=True)
        optimizer = torch.optim.AdamW(
            _parameter_groups(model, options.weight_decay), betas=(0.9, 0.98), fused=True
        )
        return cls(model, average, optimizer, options)

    def load(self, path: Path) -> None:
        """Raises InputError when the saved run was another one."""
        state = torch.load(path, weights_only=True)
        fixed = {k: v for k, v in asdict(self.options).items() if k not in MAY_CHANGE}
        changed = {k: state["options"][k] for k, v in fixed.items() if state["options"][k] != v}
        if changed:
            raise InputError(f"{path} is of a run with {changed}: ask for the same, or delete it")
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def save(self, path: Path) -> None:
        parts = {
            name: getattr(self, name).state_dict() for name in ("model", "average", "optimizer")
        }
        _save(path, {**parts, "step": self.step, "options": asdict(self.options)})

    def advance(self, image: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        """One step of the optimizer; returns the losses."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate_at(self.step)
        loss, parts = _loss(self.model, image, targets)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        self.step += 1
        return parts


def train(folder: Path, options: TrainOptions) -> Path:
    """Train, or go on from the last saved step, and return the checkpoint's path.

    The checkpoint is what M3ViT's code would write: {"epoch", "state_dict"} with `module.` before
    every key, holding the running average of the weights.

    Raises:
        InputError: the folder holds a run with other options.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scenes = render_split(folder, "train", options.scenes, os.cpu_count() or 1)
    run = _Run.start(options)
    state_file = folder / "state.pt"
    if state_file.exists():
        run.load(state_file)
    progress = tqdm(total=options.steps, initial=run.step, unit="step", desc="training")
    for image, targets in batches(scenes, options.seed, range(run.step, options.steps)):
        parts = run.advance(image, targets)
        progress.update()
        progress.set_postfix({name: f"{value:.3f}" for name, value in parts.items()})
        if run.step % SAVE_EVERY == 0 or run.step == options.steps:
            run.save(state_file)
    progress.close()
    checkpoint = folder / "checkpoint.pth"
    weights = {f"module.{k}": v for k, v in run.average.module.state_dict().items()}
    epoch = run.step // (options.scenes // BATCH)
    _save(checkpoint, {"epoch": epoch, "state_dict": weights})
    return checkpoint
