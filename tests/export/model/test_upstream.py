"""The independent forward pass itself: layouts it accepts, and cases with a known answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gearshift_export.config import DecoderConfig, ModelConfig, Routing, TaskConfig

Pictures = Callable[..., Any]


def test_names_and_shapes_of_a_published_state_dict(
    upstream: ModuleType, fields: dict[str, Any]
) -> None:
    config = ModelConfig(**fields | {"routing": Routing.TASK_CONDITIONED, "task_embedding": 9})
    state = upstream.random_state_dict(config, seed=0)
    shapes = {
        "backbone.cls_token": (1, 1, 24),
        "backbone.pos_embed": (1, 7, 24),
        "backbone.patch_embed.proj.weight": (24, 3, 16, 16),
        "backbone.gate_task_represent.fc1.weight": (9, 2),
        "backbone.gate_task_represent.norm.bias": (9,),
        "backbone.blocks.2.attn.qkv.weight": (72, 24),
        "backbone.blocks.2.mlp.fc1.weight": (40, 24),
        "backbone.blocks.3.mlp.gate.w_gate": (24 + 9, 6),
        "backbone.blocks.3.mlp.experts.htoh4.weight": (6, 20, 24),
        "backbone.blocks.3.mlp.experts.htoh4.bias": (6, 20),
        "backbone.blocks.3.mlp.experts.h4toh.weight": (6, 24, 20),
        "decoders.semseg.norm.weight": (24,),
        "decoders.semseg.conv_0.weight": (8, 24, 3, 3),
        "decoders.semseg.conv_3.weight": (8, 8, 3, 3),
        "decoders.semseg.syncbn_fc_3.running_var": (8,),
        "decoders.semseg.conv_4.weight": (5, 8, 1, 1),
        "decoders.depth.conv_4.bias": (1,),
    }
    assert {key: state[key].shape for key in shapes} == shapes
    assert {value.dtype for value in state.values()} == {np.dtype("f4"), np.dtype("i8")}


def test_seeds_decide_the_weights(upstream: ModuleType, fields: dict[str, Any]) -> None:
    config = ModelConfig(**fields)
    first, again, other = (upstream.random_state_dict(config, seed) for seed in (1, 1, 2))
    assert all((first[key] == again[key]).all() for key in first)
    assert (first["backbone.pos_embed"] != other["backbone.pos_embed"]).any()


def test_wrapper_prefix_and_single_task_layout(
    upstream: ModuleType, fields: dict[str, Any], pictures: Pictures
) -> None:
    config = ModelConfig(**fields | {"tasks": (TaskConfig("depth", 1),)})
    state = upstream.random_state_dict(config, seed=1)
    image = pictures(config)
    expected = upstream.forward(state, config, image, 0)
    wrapped = {f"module.{k.replace('decoders.depth.', 'decoder.')}": v for k, v in state.items()}
    assert_array_equal(upstream.forward(wrapped, config, image, 0), expected)


def test_one_linear_path_by_hand(upstream: ModuleType) -> None:
    """No block at work, identity decoder: a pixel's mean, standardised, enlarged to the image."""
    config = ModelConfig(
        image_height=2, image_width=4, patch_size=2, width=2, heads=1, depth=2, dense_hidden=1,
        experts=1, expert_hidden=1, top_k=1, tasks=(TaskConfig("depth", 1),),
        decoder=DecoderConfig(channels=1, stages=1),
    )  # fmt: skip
    state = {k: np.zeros_like(v) for k, v in upstream.random_state_dict(config, 0).items()}
    state["backbone.patch_embed.proj.weight"][0] = 1 / 12
    state["backbone.pos_embed"][0, 2, 1] = 8
    state["decoders.depth.norm.weight"][:] = 1
    state["decoders.depth.conv_0.weight"][0, 0, 1, 1] = 4
    state["decoders.depth.syncbn_fc_0.weight"][:] = 3
    state["decoders.depth.syncbn_fc_0.running_var"][:] = 4
    state["decoders.depth.conv_1.weight"][:] = 1
    image = np.full((1, 3, 2, 4), 5.0)
    left = 4 / np.sqrt(4 + 1e-5) * 3 * 2.5 / np.sqrt(2.5**2 + 1e-6)
    expected = left * np.array([1, 0.75, 0.25, 0])  # the right patch is below zero: ReLU
    assert_allclose(upstream.forward(state, config, image, 0), [[[expected, expected]]])


def test_positions_follow_the_image(
    upstream: ModuleType, fields: dict[str, Any], pictures: Pictures
) -> None:
    """Positions that rise from column to column keep their ends and rise in smaller steps."""
    config = ModelConfig(**fields | {"depth": 1, "decoder": None})
    state = upstream.random_state_dict(config, seed=1)
    for key, value in state.items():
        if "patch_embed" in key or "attn.proj" in key or "fc2" in key:
            value[:] = 0
    state["backbone.pos_embed"][0, 1:] = np.tile([0, 8, 16], 2)[:, None]
    bigger = ModelConfig(**fields | {"image_width": 96})
    tokens = upstream.encode(state, config, pictures(bigger), 0).tokens
    assert_array_equal(tokens[0, 1:, 5], [0, 2, 6, 10, 14, 16] * 2)


def test_raw_files_hold_the_same_encoder(
    upstream: ModuleType, edge_moe_raw: ModuleType, fields: dict[str, Any], pictures: Pictures
) -> None:
    config = ModelConfig(**fields | {"decoder": None})
    state, image = upstream.random_state_dict(config, seed=2), pictures(config)
    raw = edge_moe_raw.from_state(state)
    for task in (0, 1):
        tokens = upstream.forward(edge_moe_raw.to_state(raw), config, image, task)
        assert_allclose(tokens, upstream.forward(state, config, image, task), atol=1e-5)


def test_raw_files_have_the_published_names_and_sizes(
    upstream: ModuleType, edge_moe_raw: ModuleType, tmp_path: Path
) -> None:
    config = ModelConfig(
        image_height=128, image_width=256, patch_size=16, width=192, heads=3, depth=2,
        dense_hidden=768, experts=16, expert_hidden=384, top_k=2, decoder=None,
        tasks=(TaskConfig("semseg", 7), TaskConfig("depth", 1)),
    )  # fmt: skip
    state = upstream.random_state_dict(config, seed=3)
    edge_moe_raw.write(tmp_path, edge_moe_raw.from_state(state))
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    norms = {
        f"l{block}_norm{norm}_{part}": 768
        for block in (0, 1)
        for norm in (1, 2)
        for part in ("weight", "bias")
    }
    attentions = {
        f"l{block}_{name}": size
        for block in (0, 1)
        for name, size in (
            ("qkv_weight", 442_368),
            ("qkv_bias", 2_304),
            ("attn_proj_weight", 147_456),
            ("attn_proj_bias", 768),
        )
    }
    others = {
        "patch_embed_weight": 589_824,
        "patch_embed_bias": 768,
        "pos_embed": 99_072,
        "l0_fc1_weight": 589_824,
        "l0_fc1_bias": 3_072,
        "l0_fc2_weight": 589_824,
        "l0_fc2_bias": 768,
        "l1_w_gate_T_task0": 12_288,
        "l1_w_gate_T_task1": 12_288,
        "l1_htoh4_weight": 4_718_592,
        "l1_htoh4_bias": 24_576,
        "l1_h4toh_weight": 4_718_592,
        "l1_h4toh_bias": 12_288,
    }
    expected = norms | attentions | others
    assert sizes == {f"{name}.float32.bin": size for name, size in expected.items()}
    router = np.fromfile(tmp_path / "l1_w_gate_T_task1.float32.bin", "<f4").reshape(16, 192)
    assert_array_equal(router.T, state["backbone.blocks.1.mlp.gate.1.w_gate"])
    positions = np.fromfile(tmp_path / "pos_embed.float32.bin", "<f4").reshape(129, 192)
    assert_array_equal(
        positions[0], (state["backbone.pos_embed"][0] + state["backbone.cls_token"][0])[0]
    )


def test_no_clear_seed_is_an_error(
    upstream: ModuleType, fields: dict[str, Any], pictures: Pictures
) -> None:
    config = ModelConfig(**fields | {"depth": 2, "dense_hidden": 1, "expert_hidden": 1})
    with pytest.raises(ValueError, match=r"no routes with a margin of 2\.0"):
        upstream.clear_state_dict(config, pictures(config), seed=0, margin=2.0)
