"""M3ViT as its authors' code computes it in evaluation, in float64 numpy, from the written facts.

Written apart from `gearshift_export.model`, to be compared with it and with everything that is
derived from it. Weights are an upstream state dict: name -> array, as `torch.load` would give it.
What such a checkpoint cannot say (top_k, heads, image size, tasks in order, routing options) is
read from a ModelConfig; every shape is read from the arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift_export.config import ModelConfig
from gearshift_kernels import oracle

Array = NDArray[Any]
State = dict[str, Array]

LAYER_NORM_EPSILON = 1e-6
BATCH_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Route:
    """Where the tokens of one block went: experts (N,T,K), their scores, and how close it was."""

    expert_index: Array
    gate_score: Array
    margin: float
    """The least difference of scores that decided anything: the ranks of the kept ones and of the
    best one left out, and whether they were pruned; infinite if there was nothing to decide."""


@dataclass(frozen=True)
class Encoding:
    """Tokens (N,T,D) after the last block, and the route of every block with experts."""

    tokens: Array
    routes: dict[int, Route]

    @property
    def margin(self) -> float:
        return min((route.margin for route in self.routes.values()), default=float("inf"))


def forward(state: State, config: ModelConfig, image: Array, task: int) -> Array:
    """What the network answers for normalised images (N,3,H,W): (N,C,H,W), or tokens (N,T,D)."""
    tokens = encode(state, config, image, task).tokens
    return tokens if config.decoder is None else decode(state, config, tokens, image, task)


def encode(state: State, config: ModelConfig, image: Array, task: int) -> Encoding:
    """Run the backbone with the router of `task`."""
    net = _below(state, "backbone.")
    x = _embed(net, config, image)
    embedding = _task_embedding(net, config, task)
    routes: dict[int, Route] = {}
    depth = 1 + max(int(key.split(".")[1]) for key in net if key.startswith("blocks."))
    for index in range(depth):
        block = _below(net, f"blocks.{index}.")
        before = x
        x = x + _attend(block, config, _norm(block, "norm1.", x))
        z = _norm(block, "norm2.", x)
        mlp = _below(block, "mlp.")
        if "fc1.weight" in mlp:
            x = x + _perceptron(mlp, z)
        else:
            gate_input = before if config.gate_input_ahead else z
            routes[index] = route = _route(mlp, config, gate_input, embedding, task)
            x = x + _experts(mlp, z, route)
    return Encoding(x, routes)


def decode(state: State, config: ModelConfig, tokens: Array, image: Array, task: int) -> Array:
    """Run the decoder of `task`: (N,C,H,W) from tokens (N,T,D), H and W those of the image."""
    name = config.tasks[task].name
    net = _below(state, f"decoders.{name}.") or _below(state, "decoder.")
    height, width = image.shape[-2:]
    rows, columns = height // config.patch_size, width // config.patch_size
    x = _norm(net, "norm.", tokens[:, 1:])
    x = x.transpose(0, 2, 1).reshape(len(x), -1, rows, columns)
    stages = sum(key.startswith("conv_") and key.endswith(".weight") for key in net) - 1
    for stage in range(stages):
        x = _convolve(net, f"conv_{stage}.", x)
        x = np.maximum(_batch_norm(net, f"syncbn_fc_{stage}.", x), 0)
        if stage < stages - 1:
            x = _double(x)
    x = _double(_convolve(net, f"conv_{stages}.", x))
    return oracle.resize_bilinear(x, height, width)


def _below(state: State, prefix: str) -> State:
    """The part of a state dict under `prefix`, without it and without the wrapper's `module.`."""
    bare = {key.removeprefix("module."): value for key, value in state.items()}
    return {
        key.removeprefix(prefix): value for key, value in bare.items() if key.startswith(prefix)
    }


def _embed(net: State, config: ModelConfig, image: Array) -> Array:
    patch = net["patch_embed.proj.weight"].shape[-1]
    weight = net["patch_embed.proj.weight"].astype(np.float64)
    images, _, height, width = image.shape
    rows, columns = height // patch, width // patch
    squares = image.astype(np.float64).reshape(images, 3, rows, patch, columns, patch)
    patches = np.einsum("nciyjx,dcyx->nijd", squares, weight) + net["patch_embed.proj.bias"]
    patches = patches.reshape(images, rows * columns, -1)
    classes = np.broadcast_to(net["cls_token"], (images, 1, patches.shape[-1]))
    return np.concatenate([classes, patches], axis=1) + _positions(net, config, rows, columns)


def _positions(net: State, config: ModelConfig, rows: int, columns: int) -> Array:
    """(1,T,D); those of the patches are resized as a picture when the image has another size."""
    positions = net["pos_embed"].astype(np.float64)
    if (rows, columns) == config.grid:
        return positions
    grid = positions[:, 1:].transpose(0, 2, 1).reshape(1, -1, *config.grid)
    grid = oracle.resize_bilinear(grid, rows, columns)
    resized = grid.reshape(1, -1, rows * columns).transpose(0, 2, 1)
    return np.concatenate([positions[:, :1], resized], axis=1)


def _norm(net: State, prefix: str, x: Array) -> Array:
    return oracle.layer_normalization(
        x, net[prefix + "weight"], net[prefix + "bias"], epsilon=LAYER_NORM_EPSILON
    )


def _attend(block: State, config: ModelConfig, x: Array) -> Array:
    names = ("attn.qkv.weight", "attn.qkv.bias", "attn.proj.weight", "attn.proj.bias")
    return oracle.attention(x, *(block[name] for name in names), heads=config.heads)


def _perceptron(net: State, x: Array) -> Array:
    return oracle.mlp(x, net["fc1.weight"], net["fc1.bias"], net["fc2.weight"], net["fc2.bias"])


def _task_embedding(net: State, config: ModelConfig, task: int) -> Array | None:
    """u_t = LN(fc2(GELU(fc1(onehot_t)))), (G); None if routers read the token alone."""
    represent = _below(net, "gate_task_represent.")
    if not represent:
        return None
    return _norm(represent, "norm.", _perceptron(represent, np.eye(len(config.tasks))[task]))


def _route(
    mlp: State, config: ModelConfig, gate_input: Array, embedding: Array | None, task: int
) -> Route:
    """Softmax over the columns the task may use; the top_k scores are kept as they are."""
    shared = mlp.get("gate.w_gate")
    w_gate = mlp[f"gate.{task}.w_gate"] if shared is None else shared
    if embedding is not None:
        repeated = np.broadcast_to(embedding, (*gate_input.shape[:-1], len(embedding)))
        gate_input = np.concatenate([gate_input, repeated], axis=-1)
    start = 0
    if config.experts_per_task is not None:
        start = _window_start(config, w_gate.shape[1], config.experts_per_task, task)
        w_gate = w_gate[:, start : start + config.experts_per_task]
    logits = gate_input @ w_gate.astype(np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores = powers / powers.sum(axis=-1, keepdims=True)
    order = np.argsort(-scores, axis=-1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=-1)
    kept = ranked[..., : config.top_k]
    gate_score = np.where(kept <= config.prune_scores, 0.0, kept)
    margin = float(-np.diff(ranked[..., : config.top_k + 1]).max(initial=-np.inf))
    if config.prune_scores > 0:
        margin = min(margin, float(np.abs(kept - config.prune_scores).min()))
    return Route(order[..., : config.top_k] + start, gate_score, margin)


def _window_start(config: ModelConfig, experts: int, window: int, task: int) -> int:
    """The first expert of a task: int(i (E - n) / (T - 1)), added up over the tasks before it."""
    gaps = max(len(config.tasks) - 1, 1)
    return list(accumulate(int(i * (experts - window) / gaps) for i in range(task + 1)))[-1]


def _experts(mlp: State, x: Array, route: Route) -> Array:
    """Every expert sees every token; those that did not choose it weigh it with zero."""
    y = np.zeros_like(x)
    for expert in range(len(mlp["experts.htoh4.weight"])):
        weight = np.where(route.expert_index == expert, route.gate_score, 0).sum(axis=-1)
        y += weight[..., None] * oracle.mlp(
            x,
            mlp["experts.htoh4.weight"][expert],
            mlp["experts.htoh4.bias"][expert],
            mlp["experts.h4toh.weight"][expert],
            mlp["experts.h4toh.bias"][expert],
        )
    return y


def _convolve(net: State, prefix: str, x: Array) -> Array:
    """3x3 or 1x1 with zeros around; y[o,i,j] gathers weight[o,c,dy,dx] * x[c,i+dy,j+dx]."""
    weight = net[prefix + "weight"].astype(np.float64)
    margin = weight.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    y = np.tensordot(windows, weight, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
    return y + net[prefix + "bias"].astype(np.float64)[:, None, None]


def _batch_norm(net: State, prefix: str, x: Array) -> Array:
    """Inference: the running mean and variance of training, then gain and shift."""
    mean, variance, gain, shift = (
        net[prefix + name].astype(np.float64)[:, None, None]
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(variance + BATCH_NORM_EPSILON) * gain + shift


def _double(x: Array) -> Array:
    return oracle.resize_bilinear(x, 2 * x.shape[2], 2 * x.shape[3])


def random_state_dict(config: ModelConfig, seed: int) -> State:
    """A float32 state dict in the upstream layout, with scales that a trained network may have."""
    draw = _Draw(np.random.default_rng(seed))
    width = config.width
    patches = (config.image_height // config.patch_size) * (config.image_width // config.patch_size)
    backbone = {
        "cls_token": draw.normal((1, 1, width), 0.5),
        "pos_embed": draw.normal((1, patches + 1, width), 0.5),
        **draw.layer("patch_embed.proj.", (width, 3, config.patch_size, config.patch_size)),
    }
    if config.task_embedding:
        size = config.task_embedding
        represent = "gate_task_represent."
        backbone |= draw.layer(represent + "fc1.", (size, len(config.tasks)))
        backbone |= draw.layer(represent + "fc2.", (size, size))
        backbone |= draw.norm(represent + "norm.", size)
    for block in range(config.depth):
        backbone |= _random_block(draw, config, f"blocks.{block}.", has_experts=block % 2 == 1)
    state = {f"backbone.{key}": value for key, value in backbone.items()}
    if config.decoder is not None:
        for task in config.tasks:
            state |= _random_decoder(draw, config, f"decoders.{task.name}.", task.channels)
    return state


def clear_state_dict(config: ModelConfig, image: Array, seed: int, margin: float = 1e-5) -> State:
    """A random state dict whose routes for `image` no rounding of float32 can turn elsewhere.

    Raises:
        ValueError: none of a hundred seeds has this margin for every task.
    """
    for attempt in range(seed, seed + 100):
        state = random_state_dict(config, attempt)
        tasks = range(len(config.tasks))
        if all(encode(state, config, image, task).margin > margin for task in tasks):
            return state
    raise ValueError(f"no routes with a margin of {margin} in a hundred seeds from {seed}")


def _random_block(draw: _Draw, config: ModelConfig, name: str, *, has_experts: bool) -> State:
    width = config.width
    state = draw.norm(name + "norm1.", width) | draw.norm(name + "norm2.", width)
    state |= draw.layer(name + "attn.qkv.", (3 * width, width))
    state |= draw.layer(name + "attn.proj.", (width, width))
    if not has_experts:
        state |= draw.layer(name + "mlp.fc1.", (config.dense_hidden, width))
        return state | draw.layer(name + "mlp.fc2.", (width, config.dense_hidden))
    experts, hidden = config.experts, config.expert_hidden
    state |= draw.layer(name + "mlp.experts.htoh4.", (experts, hidden, width))
    state |= draw.layer(name + "mlp.experts.h4toh.", (experts, width, hidden))
    one_a_task = config.routing == "multi_gate"
    for gate in [f"gate.{task}." for task in range(len(config.tasks))] if one_a_task else ["gate."]:
        gate_width = width + config.task_embedding
        state[name + f"mlp.{gate}w_gate"] = draw.normal((gate_width, experts), gate_width**-0.5)
    return state


def _random_decoder(draw: _Draw, config: ModelConfig, name: str, outputs: int) -> State:
    assert config.decoder is not None
    channels, stages = config.decoder.channels, config.decoder.stages
    state = draw.norm(name + "norm.", config.width)
    for stage in range(stages):
        inputs = channels if stage else config.width
        state |= draw.layer(name + f"conv_{stage}.", (channels, inputs, 3, 3))
        norm = name + f"syncbn_fc_{stage}."
        state |= draw.norm(norm, channels)
        state[norm + "running_mean"] = draw.normal((channels,), 0.3)
        state[norm + "running_var"] = draw.uniform((channels,), 0.2, 2.0)
        state[norm + "num_batches_tracked"] = np.array(7, dtype=np.int64)
    return state | draw.layer(name + f"conv_{stages}.", (outputs, channels, 1, 1))


@dataclass(frozen=True)
class _Draw:
    """Random float32 arrays of the kinds that the network's layers hold."""

    generator: np.random.Generator

    def normal(self, shape: tuple[int, ...], deviation: float) -> Array:
        return self.generator.normal(0, deviation, shape).astype(np.float32)

    def uniform(self, shape: tuple[int, ...], low: float, high: float) -> Array:
        return self.generator.uniform(low, high, shape).astype(np.float32)

    def layer(self, name: str, shape: tuple[int, ...]) -> State:
        """Weight (O,I), (O,I,h,w) or (E,O,I) that keeps the variance, and a small bias."""
        inputs, biases = (shape[1:], shape[:1]) if len(shape) != 3 else (shape[2:], shape[:2])
        return {
            name + "weight": self.normal(shape, float(np.prod(inputs)) ** -0.5),
            name + "bias": self.normal(biases, 0.2),
        }

    def norm(self, name: str, size: int) -> State:
        return {
            name + "weight": self.uniform((size,), 0.5, 1.5),
            name + "bias": self.normal((size,), 0.2),
        }
