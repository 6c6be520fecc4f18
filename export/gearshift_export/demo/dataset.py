"""Rendered rooms kept on disk as flat arrays, one file a quantity, mapped when read."""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gearshift_export.demo.scenes import Scene, render_scene

SIZE = 128
SPLIT_FIRST_SEED = {"train": 0, "validation": 1_000_000_000, "test": 2_000_000_000}
"""Seeds of different splits never meet, so no test room is ever trained on."""

FIELDS: dict[str, tuple[tuple[int, ...], type]] = {
    "image": ((SIZE, SIZE, 3), np.uint8),
    "labels": ((SIZE, SIZE), np.uint8),
    "depth": ((SIZE, SIZE), np.float16),
    "normals": ((SIZE, SIZE, 3), np.int8),
    "edges": ((SIZE, SIZE), np.bool_),
}
_CHUNK = 64


@dataclass(frozen=True)
class SceneArrays:
    """Scenes stacked along the first axis.

    image uint8 (S, H, W, 3), labels uint8 (S, H, W), depth float16 metres, normals int8 in
    1/127, edges bool.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    depth: NDArray[np.float16]
    normals: NDArray[np.int8]
    edges: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.image)


def encode(scene: Scene) -> dict[str, NDArray[Any]]:
    """A scene in the dtypes of `SceneArrays`."""
    return {
        "image": scene.image,
        "labels": scene.labels,
        "depth": scene.depth.astype(np.float16),
        "normals": np.rint(scene.normals * 127).astype(np.int8),
        "edges": scene.edges,
    }


def _render_chunk(folder: Path, first_seed: int, start: int, stop: int) -> int:
    """Render scenes [start, stop) into the mapped files; returns how many."""
    files = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in FIELDS}
    for index in range(start, stop):
        for name, value in encode(render_scene(first_seed + index, SIZE, SIZE)).items():
            files[name][index] = value
    return stop - start


def render_split(folder: Path, split: str, scenes: int, processes: int) -> SceneArrays:
    """The arrays of a split, rendered on first use with a progress bar and kept in `folder`.

    Raises:
        ValueError: an unknown split or a count below one.
    """
    if split not in SPLIT_FIRST_SEED or scenes < 1:
        raise ValueError(f"split {split!r} with {scenes} scenes: know {list(SPLIT_FIRST_SEED)}")
    target = folder / f"{split}-{scenes}"
    done = target / "done.json"
    if not done.exists():
        target.mkdir(parents=True, exist_ok=True)
        for name, (shape, dtype) in FIELDS.items():
            np.lib.format.open_memmap(
                target / f"{name}.npy", mode="w+", dtype=dtype, shape=(scenes, *shape)
            ).flush()
        _render_all(target, SPLIT_FIRST_SEED[split], scenes, processes)
        partial = target / "done.json.partial"
        partial.write_text(json.dumps({"split": split, "scenes": scenes}))
        os.replace(partial, done)
    return SceneArrays(**{name: np.load(target / f"{name}.npy", mmap_mode="r") for name in FIELDS})


def _render_all(target: Path, first_seed: int, scenes: int, processes: int) -> None:
    with (
        # Fresh processes: a fork of one that runs torch's threads may hang.
        ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool,
        tqdm(total=scenes, unit="room", desc=f"rendering {target.name}") as progress,
    ):
        jobs = [
            pool.submit(_render_chunk, target, first_seed, start, min(start + _CHUNK, scenes))
            for start in range(0, scenes, _CHUNK)
        ]
        for job in jobs:
            progress.update(job.result())
