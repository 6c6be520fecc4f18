"""The raw weight files of Edge-MoE: float32, C order, no header, one file a tensor.

They hold the encoder of an M3ViT state dict (see `upstream`) under other names, with routers
transposed and the class token already inside the first position.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
State = dict[str, Array]

_BLOCK_NAMES = {
    "norm1": "norm1",
    "norm2": "norm2",
    "qkv": "attn.qkv",
    "attn_proj": "attn.proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "htoh4": "mlp.experts.htoh4",
    "h4toh": "mlp.experts.h4toh",
}
"""Name in a raw file -> name in a state dict; each has a weight and a bias."""


def from_state(state: State) -> dict[str, Array]:
    """The raw arrays, by file name without its ending, of a multi-gate state dict's encoder."""
    positions = state["backbone.pos_embed"][0].copy()
    positions[0] += state["backbone.cls_token"][0, 0]
    raw = {
        "patch_embed_weight": state["backbone.patch_embed.proj.weight"],
        "patch_embed_bias": state["backbone.patch_embed.proj.bias"],
        "pos_embed": positions,
    }
    for key, value in state.items():
        if not key.startswith("backbone.blocks."):
            continue
        block, name = key.removeprefix("backbone.blocks.").split(".", 1)
        if name.endswith(".w_gate"):
            task = name.removeprefix("mlp.gate.").removesuffix(".w_gate")
            raw[f"l{block}_w_gate_T_task{task}"] = np.ascontiguousarray(value.T)
        else:
            layer, part = name.rsplit(".", 1)
            short = next(raw for raw, upstream in _BLOCK_NAMES.items() if upstream == layer)
            raw[f"l{block}_{short}_{part}"] = value
    return raw


def to_state(raw: dict[str, Array]) -> State:
    """The state dict of raw arrays; its class token is zero, for the first position holds it."""
    positions = raw["pos_embed"]
    state = {
        "backbone.cls_token": np.zeros((1, 1, positions.shape[1]), dtype=np.float32),
        "backbone.pos_embed": positions[None],
        "backbone.patch_embed.proj.weight": raw["patch_embed_weight"],
        "backbone.patch_embed.proj.bias": raw["patch_embed_bias"],
    }
    for key, value in raw.items():
        block, _, name = key.removeprefix("l").partition("_")
        if not block.isdigit():
            continue
        prefix = f"backbone.blocks.{block}."
        if name.startswith("w_gate_T_task"):
            state[prefix + f"mlp.gate.{name.removeprefix('w_gate_T_task')}.w_gate"] = value.T
        else:
            short, part = name.rsplit("_", 1)
            state[prefix + f"{_BLOCK_NAMES[short]}.{part}"] = value
    return state


def write(folder: Path, raw: dict[str, Array]) -> None:
    """Write each array to NAME.float32.bin in `folder`, little-endian float32."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in raw.items():
        (folder / f"{name}.float32.bin").write_bytes(array.astype("<f4").tobytes())
