"""The float32 run that calibration holds the integers against, in torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gearshift_hls.quantise.layers import (
    Attention,
    Convolution,
    Decoder,
    Mixture,
    Model,
    Norm,
    Product,
)


@dataclass(frozen=True)
class Functions:
    """What an encoder computes beside products and norms."""

    gelu: Callable[[Tensor], Tensor] = F.gelu
    attention: Callable[[Tensor, Tensor, Tensor], Tensor] = F.scaled_dot_product_attention
    """softmax(head_dim^-0.5 Q K^T) V of (N, heads, T, head_dim) each."""


EXACT = Functions()


def linear(x: Tensor, product: Product) -> Tensor:
    """(..., I) -> (..., O)."""
    weight, bias = (
        torch.from_numpy(each.astype(np.float32)) for each in (product.weight, product.bias)
    )
    return F.linear(x, weight, bias)


def normalise(x: Tensor, norm: Norm) -> Tensor:
    """LayerNorm of (N, T, D)."""
    gain, offset = (torch.from_numpy(each.astype(np.float32)) for each in (norm.gain, norm.offset))
    return F.layer_norm(x, gain.shape, gain, offset, norm.epsilon)


def patches(pictures: Tensor, patch_size: int) -> Tensor:
    """(N, 3, H, W) -> (N, T - 1, 3 P P)."""
    return F.unfold(pictures, patch_size, stride=patch_size).mT


def embed(model: Model, pictures: Tensor) -> Tensor:
    """Tokens (N, T, D) of normalised pictures (N, 3, H, W)."""
    layer = model.patches
    table = torch.from_numpy(layer.table.astype(np.float32))
    weight = torch.from_numpy(layer.weight.astype(np.float32))
    embedded = F.linear(patches(pictures, layer.patch_size), weight) + table[1:]
    return torch.cat([table[:1].expand(len(pictures), 1, -1), embedded], 1)


def attend(qkv: Tensor, heads: int, functions: Functions = EXACT) -> Tensor:
    """softmax(head_dim^-0.5 Q K^T) V of every head: (N, T, 3 D) -> (N, T, D)."""
    by_head = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    query, key, value = by_head.unbind(0)
    mixed = functions.attention(query, key, value)
    return mixed.transpose(1, 2).flatten(2)


def route(x: Tensor, layer: Mixture) -> tuple[Tensor, Tensor]:
    """Chosen experts and gate scores of x (N, T, D): (N, T, K) each."""
    scores = linear(x, layer.router).softmax(-1)
    ordered, order = scores.sort(dim=-1, descending=True, stable=True)
    kept = ordered[..., : layer.top_k]
    return order[..., : layer.top_k], torch.where(kept > layer.prune_scores, kept, 0.0)


def mixture(x: Tensor, layer: Mixture, functions: Functions = EXACT) -> Tensor:
    """Experts of x (N, T, D), weighted by their gate scores."""
    index, score = (each.flatten(0, 1) for each in route(x, layer))
    rows = x.flatten(0, 1)
    total = torch.zeros_like(rows)
    for expert, (fc1, fc2) in enumerate(layer.experts):
        token, place = torch.nonzero(index == expert, as_tuple=True)
        answer = linear(functions.gelu(linear(rows[token], fc1)), fc2)
        total[token] += answer * score[token, place, None]
    return total.view(x.shape)


def enlarge(maps: Tensor) -> Tensor:
    """(N, h, w, C) -> (N, 2h, 2w, C), bilinear, half-pixel centres."""
    large = F.interpolate(maps.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear")
    return large.permute(0, 2, 3, 1)


def convolve(maps: Tensor, layer: Convolution) -> Tensor:
    """3x3 with a border of zeros, then ReLU: (N, h, w, I) -> (N, h, w, O)."""
    weight, bias = (
        torch.from_numpy(each.astype(np.float32)) for each in (layer.weight, layer.bias)
    )
    # One picture at a time: torch may hold nine copies of what it convolves.
    results = [
        F.conv2d(each[None].permute(0, 3, 1, 2), weight, bias, padding=1).relu_() for each in maps
    ]
    return torch.cat(results).permute(0, 2, 3, 1)


def encode(
    model: Model, pictures: Tensor, functions: Functions = EXACT
) -> tuple[Tensor, dict[str, Tensor]]:
    """Tokens (N, T, D) after the last block, and every router's chosen experts (N, T, K)."""
    x, chosen = embed(model, pictures), {}
    for layer in model.blocks:
        z = normalise(x, layer.norm)
        if isinstance(layer, Attention):
            x = x + linear(attend(linear(z, layer.qkv), layer.heads, functions), layer.proj)
        elif isinstance(layer, Mixture):
            chosen[layer.router_name] = route(z, layer)[0]
            x = x + mixture(z, layer, functions)
        else:
            x = x + linear(functions.gelu(linear(z, layer.fc1)), layer.fc2)
    return x, chosen


def decode(layer: Decoder, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """The task's result (N, H, W, C) of tokens (N, T, D) whose patches lie in `grid`."""
    maps = normalise(tokens, layer.norm)[:, 1:].unflatten(1, grid)
    for each in layer.convolutions:
        maps = convolve(enlarge(maps) if each.scale == 2 else maps, each)
    return enlarge(linear(maps, layer.head))
