"""Training of the demo model: deterministic data, resumable, bfloat16 products on a CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from gearshift.errors import InputError
from gearshift_export.config import DecoderConfig, ModelConfig, Routing, TaskConfig
from gearshift_export.demo.dataset import SIZE, SceneArrays, render_split
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

MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)


def unit_range(image: NDArray[np.uint8]) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in 0..1."""
    return torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255.0


def normalise(image: Tensor) -> Tensor:
    """float32 (N, 3, H, W) in 0..1 -> as the network wants it."""
    mean, deviation = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STANDARD_DEVIATION)
    )
    return (image - mean) / deviation


BATCH = 32
"""Pictures a step; a quarter of them for each task."""
SAVE_EVERY = 250
AVERAGE_DECAY = 0.998


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


def _augment(image: Tensor, random: np.random.Generator) -> Tensor:
    """Exposure, contrast, colour cast, a little blur and noise: float (N, 3, H, W) in 0..1."""
    count = len(image)

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        values = random.uniform(low, high, (count, channels, 1, 1))
        return torch.from_numpy(values.astype(np.float32))

    image = image.pow(uniform(0.7, 1.4)) * uniform(0.75, 1.25) * uniform(0.9, 1.1, 3)
    grey = image.mean(1, keepdim=True)
    image = grey + (image - grey) * uniform(0.6, 1.3)
    soft = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    image = torch.lerp(image, soft, uniform(0.0, 0.8))
    noise = torch.from_numpy(random.standard_normal(image.shape, dtype=np.float32))
    return (image + uniform(0.0, 0.03) * noise).clamp(0.0, 1.0)


def _batches(
    scenes: SceneArrays, options: TrainOptions, first_step: int
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Normalised images (N, 3, H, W) and targets of steps first_step ... steps - 1.

    Everything random comes from (seed, epoch) and (seed, step): a resumed run sees the same data.
    """
    per_epoch = len(scenes) // BATCH
    for step in range(first_step, options.steps):
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng((options.seed, 1, epoch)).permutation(len(scenes))
        chosen = order[place * BATCH : (place + 1) * BATCH]
        random = np.random.default_rng((options.seed, 2, step))
        flip = torch.from_numpy(random.random(BATCH) < 0.5)
        image = unit_range(scenes.image[chosen])
        normals = torch.from_numpy(scenes.normals[chosen]).permute(0, 3, 1, 2).float()
        mirrored = F.normalize(normals, dim=1) * torch.tensor([-1.0, 1.0, 1.0]).view(1, 3, 1, 1)
        targets = {
            "semseg": torch.from_numpy(scenes.labels[chosen]).long(),
            "depth": torch.from_numpy(scenes.depth[chosen]).float(),
            "edge": torch.from_numpy(scenes.edges[chosen]).float(),
        }
        targets = {name: _flip(value, value, flip) for name, value in targets.items()}
        targets["normals"] = _flip(F.normalize(normals, dim=1), mirrored, flip)
        image = _augment(_flip(image, image, flip), random)
        yield normalise(image), targets


def _flip(plain: Tensor, mirrored: Tensor, flip: Tensor) -> Tensor:
    shape = (-1,) + (1,) * (plain.ndim - 1)
    return torch.where(flip.view(shape), mirrored.flip(-1), plain)


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


_MAY_CHANGE = ("steps", "decay_share")


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
        fixed = {k: v for k, v in asdict(self.options).items() if k not in _MAY_CHANGE}
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
    for image, targets in _batches(scenes, options, run.step):
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
