"""Edge-MoE's folder of raw float32 files, written here byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gearshift.errors import CheckpointError
from gearshift_export.config import ModelConfig, Routing, TaskConfig
from gearshift_export.edge_moe import read_edge_moe
from gearshift_export.recipe import CheckpointFormat, Recipe, load_recipe


@pytest.fixture
def encoder(fields: dict[str, Any]) -> ModelConfig:
    width = fields["width"]
    tasks = (TaskConfig("semseg", width), TaskConfig("depth", width))
    return ModelConfig(**(fields | {"decoder": None, "tasks": tasks}))


@pytest.fixture
def edge_recipe(encoder: ModelConfig, recipe_for: Any) -> Recipe:
    result: Recipe = recipe_for(encoder, format=CheckpointFormat.EDGE_MOE)
    return result


@pytest.fixture
def folder(encoder: ModelConfig, upstream: Any, edge_moe_raw: Any, tmp_path: Path) -> Path:
    state = upstream.random_state_dict(encoder, 4)
    edge_moe_raw.write(tmp_path / "weights", edge_moe_raw.from_state(state))
    return tmp_path / "weights"


def test_outputs_equal_upstream(
    encoder: ModelConfig, edge_recipe: Recipe, upstream: Any, edge_moe_raw: Any, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).normal(size=(2, 3, 32, 48)).astype(np.float32)
    state = upstream.clear_state_dict(encoder, image, seed=7)
    edge_moe_raw.write(tmp_path / "weights", edge_moe_raw.from_state(state))
    model = read_edge_moe(tmp_path / "weights", edge_recipe)
    assert model.config == encoder
    for task in range(2):
        expected = upstream.forward(state, encoder, image, task)
        actual = model(torch.from_numpy(image), task).numpy()
        assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


def test_single_values_land_where_the_layout_says(
    encoder: ModelConfig, edge_recipe: Recipe, folder: Path
) -> None:
    """Each marked byte offset by hand: row-major, little-endian, routers as (expert, input)."""
    marks = {
        "l1_w_gate_T_task1": (3 * 24 + 5, 1.5),
        "l3_htoh4_weight": ((4 * 20 + 7) * 24 + 11, 2.5),
        "l3_h4toh_bias": (5 * 24 + 9, -3.5),
        "pos_embed": (6 * 24 + 1, 4.5),
        "l2_qkv_weight": (50 * 24 + 2, 5.5),
        "patch_embed_weight": (((8 * 3 + 2) * 16 + 15) * 16 + 14, 6.5),
    }
    for name, (index, value) in marks.items():
        path = folder / f"{name}.float32.bin"
        content = bytearray(path.read_bytes())
        content[4 * index : 4 * index + 4] = struct.pack("<f", value)
        path.write_bytes(content)
    backbone = read_edge_moe(folder, edge_recipe).backbone
    assert backbone.blocks[1].mlp.gate[1].w_gate[5, 3] == 1.5
    assert backbone.blocks[3].mlp.experts.htoh4.weight[4, 7, 11] == 2.5
    assert backbone.blocks[3].mlp.experts.h4toh.bias[5, 9] == -3.5
    assert backbone.pos_embed[0, 6, 1] == 4.5
    assert backbone.blocks[2].attn.qkv.weight[50, 2] == 5.5
    assert backbone.patch_embed.proj.weight[8, 2, 15, 14] == 6.5
    assert not backbone.cls_token.any()


def test_published_sizes(tmp_path: Path) -> None:
    """The table of the published folder: names and bytes, written out apart from the reader."""
    kib = 1024
    sizes = {"image": 384 * kib, "patch_embed_weight": 576 * kib, "patch_embed_bias": 768}
    sizes |= {"pos_embed": 99_072, "l11_x_post_moe": 99_072}
    for layer in range(12):
        part = {"norm1_weight": 768, "norm1_bias": 768, "norm2_weight": 768, "norm2_bias": 768}
        part |= {"qkv_weight": 432 * kib, "qkv_bias": 2_304}
        part |= {"attn_proj_weight": 144 * kib, "attn_proj_bias": 768}
        if layer % 2 == 0:
            part |= {"fc1_weight": 576 * kib, "fc1_bias": 3_072}
            part |= {"fc2_weight": 576 * kib, "fc2_bias": 768}
        else:
            part |= {"w_gate_T_task0": 12 * kib, "w_gate_T_task1": 12 * kib}
            part |= {"htoh4_weight": 4_608 * kib, "htoh4_bias": 24 * kib}
            part |= {"h4toh_weight": 4_608 * kib, "h4toh_bias": 12 * kib}
        sizes |= {f"l{layer}_{name}": size for name, size in part.items()}
    for name, size in sizes.items():
        with (tmp_path / f"{name}.float32.bin").open("wb") as file:
            file.truncate(size)
    lines: list[str] = []
    config = read_edge_moe(tmp_path, load_recipe("edge-moe-tiny"), lines.append).config
    assert (config.width, config.heads, config.depth, config.patch_size) == (192, 3, 12, 16)
    assert (config.experts, config.expert_hidden, config.top_k) == (16, 384, 2)
    assert (config.dense_hidden, config.tokens, config.decoder) == (768, 129, None)
    assert lines == [
        "ignored 2 files that are no weights: image.float32.bin, l11_x_post_moe.float32.bin"
    ]


def rename(old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / f"{old}.float32.bin").rename(folder / new)


def resize(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: (folder / f"{name}.float32.bin").write_bytes(bytes(size))


FAULTS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "missing": (
        rename("l2_fc1_weight", "x.txt"),
        ["l2_fc1_weight.float32.bin is missing"],
    ),
    "missing size": (rename("l0_fc1_bias", "x.txt"), ["l0_fc1_bias.float32.bin is missing"]),
    "extra": (
        lambda folder: (folder / "l0_extra.float32.bin").write_bytes(bytes(4)),
        ["l0_extra.float32.bin is unexpected"],
    ),
    "other type": (
        lambda folder: (folder / "a.float64.bin").write_bytes(bytes(4)),
        ["a.float64.bin is unexpected"],
    ),
    "short": (resize("l3_htoh4_weight", 400), ["l3_htoh4_weight", "400 bytes", "expected 11520"]),
    "ragged": (resize("pos_embed", 97), ["pos_embed", "97 bytes", "multiple of 96"]),
    "empty": (resize("patch_embed_bias", 0), ["patch_embed_bias", "0 bytes"]),
    "tokens": (resize("pos_embed", 96 * 8), ["8 tokens", "make 7"]),
    "no router": (rename("l1_w_gate_T_task1", "x.txt"), ["tasks [0]", "2 tasks"]),
    "lost layer": (
        rename("l2_norm1_weight", "l9_norm1_weight.float32.bin"),
        ["l2_norm1_weight.float32.bin is missing", "l9_norm1_weight.float32.bin is unexpected"],
    ),
    "nan": (
        lambda folder: (folder / "l0_qkv_bias.float32.bin").write_bytes(b"\xff" * 288),
        ["blocks.0.attn.qkv.bias", "72 values", "NaN"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named(fault: str, folder: Path, edge_recipe: Recipe) -> None:
    damage, words = FAULTS[fault]
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        read_edge_moe(folder, edge_recipe)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_wrong_places_and_recipes(folder: Path, edge_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no folder"):
        read_edge_moe(tmp_path / "nothing", edge_recipe)
    with pytest.raises(CheckpointError, match=r"holds no \*\.float32\.bin"):
        read_edge_moe(tmp_path, edge_recipe)
    with pytest.raises(CheckpointError, match="5 heads"):
        read_edge_moe(folder, replace(edge_recipe, heads=5))
    with pytest.raises(CheckpointError, match="routing is single, expected multi_gate"):
        read_edge_moe(folder, replace(edge_recipe, routing=Routing.SINGLE))
