"""Whatever is wrong with a checkpoint is named, with what was expected; nothing half is loaded."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gearshift.errors import CheckpointError
from gearshift.graph import TaskKind
from gearshift_export.checkpoint import read_m3vit
from gearshift_export.config import Routing
from gearshift_export.recipe import Recipe, TaskRecipe

State = dict[str, torch.Tensor]
QKV = "backbone.blocks.2.attn.qkv.weight"
SEG = TaskKind.SEGMENTATION


def message(path: Path, recipe: Recipe) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_m3vit(path, recipe)
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    return text


def drop(key: str) -> Callable[[State], object]:
    return lambda state: state.pop(key)


def put(key: str, value: torch.Tensor) -> Callable[[State], object]:
    return lambda state: state.update({key: value})


def drop_all(prefix: str) -> Callable[[State], object]:
    return lambda state: [state.pop(key) for key in list(state) if key.startswith(prefix)]


FAULTS: dict[str, tuple[Callable[[State], object], list[str]]] = {
    "missing": (drop(QKV), [QKV, "missing", "(72, 24)"]),
    "extra": (put("backbone.dist_token", torch.ones(1, 1, 24)), ["dist_token", "unexpected"]),
    "mis-shaped": (put(QKV, torch.ones(72, 23)), [QKV, "(72, 23)", "(72, 24)"]),
    "nan": (put(QKV, torch.full((72, 24), torch.nan)), [QKV, "1728", "NaN"]),
    "overflow": (put(QKV, torch.full((72, 24), 1e300, dtype=torch.float64)), [QKV, "infinite"]),
    "variance": (
        put("decoders.depth.syncbn_fc_1.running_var", torch.full((8,), -1.0)),
        ["decoders.depth.syncbn_fc_1.running_var", "negative"],
    ),
    "integers": (put(QKV, torch.ones(72, 24, dtype=torch.int32)), [QKV, "torch.int32"]),
    "no patches": (drop("backbone.patch_embed.proj.weight"), ["proj.weight is missing"]),
    "flat patches": (
        put("backbone.patch_embed.proj.weight", torch.ones(24, 768)),
        ["(24, 768)", "(width, 3, P, P)"],
    ),
    "positions": (put("backbone.pos_embed", torch.ones(1, 9, 24)), ["9 tokens", "make 7"]),
    "a gap of blocks": (drop_all("backbone.blocks.1."), ["blocks.1.", "missing"]),
    "no second router": (drop_all("backbone.blocks.1.mlp.gate.1."), ["holds 1 routers", "2 tasks"]),
    "no decoder": (drop_all("decoders.depth."), ["decoders for semseg,", "for depth, semseg"]),
    "no decoders": (drop_all("decoders."), ["decoders for no task", "for depth, semseg"]),
    "one convolution": (
        lambda state: [drop_all(f"decoders.depth.conv_{i}.")(state) for i in (1, 2, 3, 4)],
        ["decoders.depth has 1 convolutions"],
    ),
    "stages differ": (
        drop_all("decoders.depth.conv_4."),
        ["decoders.depth.conv_3.weight", "(8, 8, 3, 3)", "1x1"],
    ),
    "a lone shard": (
        lambda state: state.update({k: v[:2] for k, v in state.items() if "mlp.experts" in k}),
        ["holds 2 of the 6 experts", "{rank}.pth"],
    ),
    "strides": (
        put(QKV, torch.ones(1).expand(72, 24)),
        [QKV, "4 bytes behind it"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named(fault: str, state: State, recipe: Recipe, tmp_path: Path) -> None:
    damage, words = FAULTS[fault]
    damage(state)
    torch.save(state, tmp_path / "bad.pth")
    text = message(tmp_path / "bad.pth", recipe)
    for word in words:
        assert word in text


def test_problems_are_listed_up_to_eight(state: State, recipe: Recipe, tmp_path: Path) -> None:
    drop_all("backbone.blocks.2.")(state)
    state["backbone.blocks.2.extra"] = torch.ones(1)
    torch.save(state, tmp_path / "bad.pth")
    text = message(tmp_path / "bad.pth", recipe)
    assert text.count("is missing") == 8
    assert text.endswith("and 5 more")


RECIPES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "heads": ({"heads": 5}, ["width 24", "5 heads", "recipe test"]),
    "top_k": ({"top_k": 7}, ["top_k 7"]),
    "image": ({"image_height": 64}, ["image_height 64", "7 tokens"]),
    "ragged image": ({"image_width": 50}, ["image_width 50"]),
    "routing": ({"routing": Routing.SINGLE}, ["show routing multi_gate", "says single"]),
    "tasks": ({"tasks": (TaskRecipe("semseg", SEG),)}, ["holds 2 routers", "names 1 tasks"]),
    "names": (
        {"tasks": (TaskRecipe("semseg", SEG), TaskRecipe("sal", SEG))},
        ["decoders for depth, semseg", "for sal, semseg"],
    ),
    "channels": (
        {"tasks": (TaskRecipe("semseg", SEG, 6), TaskRecipe("depth", SEG))},
        ["semseg puts out 5 channels", "its channels are 6"],
    ),
    "labels": (
        {"tasks": (TaskRecipe("semseg", SEG, None, ("a", "b")), TaskRecipe("depth", SEG))},
        ["semseg puts out 5 channels", "number of its labels is 2"],
    ),
    "kind": (
        {"tasks": (TaskRecipe("semseg", TaskKind.NORMALS), TaskRecipe("depth", SEG))},
        ["kind normals has 3"],
    ),
    "tokens": (
        {"tasks": (TaskRecipe("semseg", TaskKind.TOKENS), TaskRecipe("depth", TaskKind.TOKENS))},
        ["decoders for depth, semseg", "for no task"],
    ),
}


@pytest.mark.parametrize("case", RECIPES)
def test_recipe_that_does_not_fit(case: str, state: State, recipe: Recipe, tmp_path: Path) -> None:
    changes, words = RECIPES[case]
    torch.save(state, tmp_path / "good.pth")
    text = message(tmp_path / "good.pth", replace(recipe, **changes))
    for word in words:
        assert word in text


def test_single_task_checkpoint_wants_a_single_task_recipe(
    state: State, recipe: Recipe, tmp_path: Path
) -> None:
    single = {k.replace("decoders.depth.", "decoder."): v for k, v in state.items()}
    torch.save(single, tmp_path / "single.pth")
    assert "names 2 tasks" in message(tmp_path / "single.pth", recipe)


def test_shards_that_do_not_fit(state: State, recipe: Recipe, shards: Any) -> None:
    folder = shards(state, 3, "gap")
    (folder / "1.pth").unlink()
    assert "1.pth is missing" in message(folder, recipe)

    folder = shards(state, 3, "last")
    (folder / "2.pth").unlink()
    assert "holds 4 of the 6 experts" in message(folder, recipe)

    folder = shards(state, 2, "odd")
    (folder / "best.pth").write_bytes(b"")
    assert "best.pth is no shard" in message(folder, recipe)

    folder = shards(state, 3, "unequal")
    _edit(folder / "2.pth", lambda s: s.update({k: v[:1] for k, v in s.items()}))
    with pytest.raises(CheckpointError, match=r"2\.pth: .*experts.* \(1, .*expected \(2, "):
        read_m3vit(folder, recipe)

    folder = shards(state, 2, "more")
    _edit(folder / "1.pth", lambda s: s.update({"module.backbone.cls_token": torch.ones(1)}))
    with pytest.raises(CheckpointError, match=r"1\.pth: backbone\.cls_token is not a tensor of"):
        read_m3vit(folder, recipe)

    folder = shards(state, 2, "less")
    _edit(folder / "1.pth", lambda s: s.popitem())
    with pytest.raises(CheckpointError, match=r"1\.pth: .*experts.* is missing"):
        read_m3vit(folder, recipe)

    empty = folder.parent / "empty"
    empty.mkdir()
    assert "holds no shards" in message(empty, recipe)


def _edit(path: Path, change: Callable[[State], object]) -> None:
    content = torch.load(path, weights_only=True)
    change(content["state_dict"])
    torch.save(content, path)


class Hostile:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["state_dict", "best_result"])
def test_code_is_never_run(
    zipped: bool, place: str, state: State, recipe: Recipe, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    content: dict[str, Any] = {"state_dict": dict(state), "best_result": {}}
    content[place]["x"] = Hostile(trap)
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    text = message(tmp_path / "evil.pth", recipe)
    assert "Python object" in text
    assert not trap.exists()
    shard = tmp_path / "folder"
    shard.mkdir()
    (tmp_path / "evil.pth").rename(shard / "0.pth")
    with pytest.raises(CheckpointError):
        read_m3vit(shard, recipe)
    assert not trap.exists()


def test_plain_pickle_is_not_run(recipe: Recipe, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Hostile(trap)}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "holds code" in message(tmp_path / "evil.pth", recipe)
    assert not trap.exists()


def test_files_that_are_no_checkpoints(state: State, recipe: Recipe, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pth"
    assert "no such file" in message(bad, recipe)
    torch.save(state, bad)
    whole = bad.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], b"PK\x03\x04" + bytes(100)):
        bad.write_bytes(content)
        message(bad, recipe)
    for odd in ([1, 2], {}, {"state_dict": 3}, {"state_dict": {"a": 1}}, {3: torch.ones(1)}):
        torch.save(odd, bad)
        assert "expected a" in message(bad, recipe)
    torch.save({"module.a": torch.ones(1), "a": torch.ones(1)}, bad)
    assert "a occurs twice" in message(bad, recipe)
