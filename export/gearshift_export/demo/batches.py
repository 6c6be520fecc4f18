"""Training batches: rooms and their targets, mirrored and seen through another camera."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gearshift_export.demo.dataset import SceneArrays

BATCH = 32
"""Pictures a step; a quarter of them for each task."""

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


def batches(
    scenes: SceneArrays, seed: int, steps: range
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Normalised images (N, 3, H, W) and the targets of all tasks, for each of `steps`.

    Everything random comes from (seed, epoch) and (seed, step): a resumed run sees the same data.
    """
    per_epoch = len(scenes) // BATCH
    for step in steps:
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng((seed, 1, epoch)).permutation(len(scenes))
        chosen = order[place * BATCH : (place + 1) * BATCH]
        random = np.random.default_rng((seed, 2, step))
        flip = torch.from_numpy(random.random(BATCH) < 0.5)
        image = unit_range(scenes.image[chosen])
        normals = torch.from_numpy(scenes.normals[chosen]).permute(0, 3, 1, 2).float()
        normals = F.normalize(normals, dim=1)
        mirror = torch.tensor([-1.0, 1.0, 1.0]).view(1, 3, 1, 1)
        targets = {
            "semseg": torch.from_numpy(scenes.labels[chosen]).long(),
            "depth": torch.from_numpy(scenes.depth[chosen]).float(),
            "edge": torch.from_numpy(scenes.edges[chosen]).float(),
        }
        targets = {name: _flip(value, value, flip) for name, value in targets.items()}
        targets["normals"] = _flip(normals, normals * mirror, flip)
        image = _augment(_flip(image, image, flip), random)
        yield normalise(image), targets


def _flip(plain: Tensor, mirrored: Tensor, flip: Tensor) -> Tensor:
    shape = (-1,) + (1,) * (plain.ndim - 1)
    return torch.where(flip.view(shape), mirrored.flip(-1), plain)


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
