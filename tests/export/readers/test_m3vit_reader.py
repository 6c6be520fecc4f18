"""M3ViT checkpoints as their training code writes them, against the independent float64 model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gearshift_export.checkpoint import read_m3vit
from gearshift_export.config import DecoderConfig, ModelConfig, Routing, TaskConfig

ROUTINGS: dict[str, dict[str, Any]] = {
    "multi_gate": {},
    "single": {"routing": Routing.SINGLE},
    "task_conditioned": {"routing": Routing.TASK_CONDITIONED, "task_embedding": 7},
    "experts_from_task": {"routing": Routing.SINGLE, "experts_per_task": 3},
    "gate_input_ahead": {"gate_input_ahead": True},
    "pruned": {"prune_scores": 0.2},
    "encoder_only": {
        "decoder": None,
        "tasks": (TaskConfig("semseg", 24), TaskConfig("depth", 24)),
    },
    "eight_pixel_patches": {"patch_size": 8, "decoder": DecoderConfig(channels=6, stages=3)},
    "resized_output": {"decoder": DecoderConfig(channels=6, stages=3)},
}


def picture(config: ModelConfig, batch: int = 2) -> np.ndarray:
    shape = (batch, 3, config.image_height, config.image_width)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", ROUTINGS)
def test_outputs_equal_upstream(
    name: str, upstream: Any, fields: Any, recipe_for: Any, tensors: Any, tmp_path: Path
) -> None:
    config = ModelConfig(**(fields | ROUTINGS[name]))
    image = picture(config)
    arrays = upstream.clear_state_dict(config, image, seed=5)
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(
        {
            "epoch": 99,
            "backbone": "VisionTransformer_moe",
            "state_dict": tensors(arrays, "module."),
            "best_result": {"semseg": {"mIoU": np.float64(0.4)}, "curve": np.arange(3.0)},
            "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": []},
        },
        path,
    )
    model = read_m3vit(path, recipe_for(config))
    assert model.config == config
    assert not model.training
    for task in range(len(config.tasks)):
        expected = upstream.forward(arrays, config, image, task)
        actual = model(torch.from_numpy(image), task).numpy()
        assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_shape_is_inferred(
    data: st.DataObject, upstream: Any, recipe_for: Any, tensors: Any, tmp_path: Path
) -> None:
    draw = data.draw
    heads = draw(st.integers(1, 3))
    experts = draw(st.integers(1, 5))
    patch = draw(st.sampled_from([4, 8, 16]))
    routing = draw(st.sampled_from(list(Routing)))
    count = draw(st.integers(1, 3))
    config = ModelConfig(
        image_height=patch * draw(st.integers(1, 3)),
        image_width=patch * draw(st.integers(1, 3)),
        patch_size=patch,
        width=heads * draw(st.integers(1, 5)),
        heads=heads,
        depth=draw(st.integers(2, 5)),
        dense_hidden=draw(st.integers(1, 9)),
        experts=experts,
        expert_hidden=draw(st.integers(1, 9)),
        top_k=draw(st.integers(1, experts)),
        tasks=tuple(TaskConfig(f"task_{i}", draw(st.integers(1, 4))) for i in range(count)),
        routing=routing,
        task_embedding=draw(st.integers(1, 4)) if routing is Routing.TASK_CONDITIONED else 0,
        decoder=DecoderConfig(channels=draw(st.integers(1, 5)), stages=draw(st.integers(2, 4))),
    )
    path = tmp_path / "checkpoint.pth"
    torch.save(tensors(upstream.random_state_dict(config, 0)), path)
    assert read_m3vit(path, recipe_for(config)).config == config


def test_shards_equal_one_file(
    state: Any, recipe: Any, shards: Any, tmp_path: Path, capsys: Any
) -> None:
    torch.save(state, tmp_path / "one.pth")
    whole = read_m3vit(tmp_path / "one.pth", recipe).state_dict()
    for ranks in (1, 2, 3, 6):
        joined = read_m3vit(shards(state, ranks, f"by_{ranks}"), recipe).state_dict()
        assert joined.keys() == whole.keys()
        assert all(torch.equal(joined[key], whole[key]) for key in whole)
    assert capsys.readouterr().out == ""


def test_prefixes_and_single_task(
    fields: Any, upstream: Any, recipe_for: Any, tensors: Any, tmp_path: Path
) -> None:
    config = ModelConfig(**(fields | {"tasks": (TaskConfig("normals", 3),), "routing": "single"}))
    arrays = upstream.random_state_dict(config, 2)
    single = {key.replace("decoders.normals.", "decoder."): v for key, v in arrays.items()}
    torch.save(tensors(single, "module.module."), tmp_path / "a.pth")
    torch.save(tensors(arrays), tmp_path / "b.pth")
    a, b = (read_m3vit(tmp_path / f"{name}.pth", recipe_for(config)) for name in "ab")
    assert a.config == b.config
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_pretrained_backbone_alone(
    state: Any, fields: Any, recipe_for: Any, tmp_path: Path
) -> None:
    recipe = recipe_for(ModelConfig(**(fields | {"decoder": None})))
    prefix = "backbone."
    bare = {f"module.{k.removeprefix(prefix)}": v for k, v in state.items() if k.startswith(prefix)}
    bare |= {"module.norm.weight": torch.ones(24), "module.head.weight": torch.ones(1000, 24)}
    torch.save({"state_dict": bare}, tmp_path / "moco.pth")
    lines: list[str] = []
    model = read_m3vit(tmp_path / "moco.pth", recipe, lines.append)
    assert model.config.decoder is None
    assert lines == [
        "ignored 2 keys that only training uses: backbone.head.weight, backbone.norm.weight"
    ]


def test_training_only_keys_are_reported_in_one_line(
    state: Any, recipe: Any, tmp_path: Path
) -> None:
    clean = dict(state)
    state |= {
        "tam_model0.layers0.0.weight": torch.ones(2),
        "tam_model0.layers3.semseg.1.num_batches_tracked": torch.tensor(4),
        "tam_model2.encoder0.1.running_mean": torch.ones(2),
        "backbone.blocks.1.mlp.gate.0.w_noise": torch.ones(24, 6),
        "backbone.blocks.3.mlp.gate.1.w_gate_aux": torch.ones(24, 6),
        "backbone.blocks.3.mlp.gate.1.head.weight": torch.ones(40, 6),
        "backbone.blocks.3.mlp.gate.1.head.bias": torch.ones(40),
        "decoders.depth.output_level_0.weight": torch.ones(1, 8, 1, 1),
        "decoders.semseg.output_level_2.bias": torch.ones(5),
    }
    torch.save(state, tmp_path / "extra.pth")
    lines: list[str] = []
    model = read_m3vit(tmp_path / "extra.pth", recipe, lines.append)
    assert len(lines) == 1
    assert lines[0].startswith("ignored 9 keys that only training uses: ")
    for word in ("tam_model0.*", "tam_model2.*", "w_noise", "w_gate_aux", "head.bias", "output_le"):
        assert word in lines[0]
    assert set(model.state_dict()) == set(clean)


def test_counters_may_be_missing_and_half_precision_is_widened(
    state: Any, recipe: Any, tmp_path: Path
) -> None:
    narrow = {
        k: v.bfloat16() if "qkv" in k else v.double()
        for k, v in state.items()
        if not k.endswith("num_batches_tracked")
    }
    narrow["backbone.cls_token"] = narrow["backbone.cls_token"].half()
    torch.save(narrow, tmp_path / "narrow.pth")
    model = read_m3vit(tmp_path / "narrow.pth", recipe)
    assert all(p.dtype is torch.float32 for p in model.parameters())
    key = "backbone.blocks.0.attn.qkv.weight"
    assert torch.equal(model.state_dict()[key], state[key].bfloat16().float())


def test_weights_are_mapped_not_copied(state: Any, recipe: Any, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "mapped.pth")
    model = read_m3vit(tmp_path / "mapped.pth", recipe)
    assert _is_mapped(model.backbone.pos_embed, tmp_path / "mapped.pth")
    assert _is_mapped(model.decoders["depth"].conv_4.weight, tmp_path / "mapped.pth")
    torch.save(state, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    legacy = read_m3vit(tmp_path / "legacy.pth", recipe)
    assert torch.equal(legacy.backbone.pos_embed, model.backbone.pos_embed)


def _is_mapped(tensor: torch.Tensor, path: Path) -> bool:
    """Whether the kernel lists `path` as what is behind the tensor's address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(address, 16) for address in line.split()[0].split("-"))
        if first <= tensor.data_ptr() < last:
            return line.endswith(str(path))
    return False


def test_a_command_line_beside_the_weights_is_passed_over(
    state: Any, recipe: Any, tmp_path: Path
) -> None:
    arguments = argparse.Namespace(lr=0.1, world_size=1, tasks=["semseg", "depth"])
    torch.save({"state_dict": state, "args": arguments}, tmp_path / "x.pth")
    read_m3vit(tmp_path / "x.pth", recipe)
