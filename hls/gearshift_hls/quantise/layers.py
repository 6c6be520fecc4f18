"""A task's program as the layers that the accelerator knows, with their float weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gearshift.program import Program, Step

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Product:
    """y = weight x + bias: weight (outputs, inputs), bias (outputs)."""

    weight: Float64
    bias: Float64


@dataclass(frozen=True)
class Norm:
    """LayerNorm: gain (D), offset (D)."""

    name: str
    gain: Float64
    offset: Float64
    epsilon: float


@dataclass(frozen=True)
class Patches:
    """weight (D, 3 P P) and what is added to each token, the class token first: table (T, D)."""

    name: str
    patch_size: int
    weight: Float64
    table: Float64


@dataclass(frozen=True)
class Attention:
    name: str
    norm: Norm
    heads: int
    qkv: Product
    proj: Product


@dataclass(frozen=True)
class Mlp:
    name: str
    norm: Norm
    fc1: Product
    fc2: Product


@dataclass(frozen=True)
class Mixture:
    name: str
    norm: Norm
    router_name: str
    router: Product
    """weight (E, D); a bias of minus infinity shuts an expert."""
    top_k: int
    prune_scores: float
    experts: tuple[tuple[Product, Product], ...]


@dataclass(frozen=True)
class Convolution:
    """3x3, of a map that is enlarged `scale` times first; ReLU after: weight (O, I, 3, 3)."""

    name: str
    scale: int
    weight: Float64
    bias: Float64


@dataclass(frozen=True)
class Decoder:
    norm: Norm
    convolutions: tuple[Convolution, ...]
    head_name: str
    head: Product


Block: TypeAlias = Attention | Mlp | Mixture


@dataclass(frozen=True)
class Model:
    """One task; the blocks are halves of transformer blocks, each added to the residual stream."""

    patches: Patches
    blocks: tuple[Block, ...]
    decoder: Decoder | None


def read_model(program: Program) -> Model:
    """The layers of a program in which `limits.unsupported` finds nothing."""
    reader = _Reader(program)
    patches = reader.patches(program.steps[0])
    steps = iter(program.steps[1:])
    blocks: list[Block] = []
    for step in steps:
        norm = reader.norm(step)
        branch = next(steps, None)
        if branch is not None and branch.kernel == "feature_map":
            return Model(patches, tuple(blocks), reader.decoder(norm, steps))
        assert branch is not None, "a norm that nobody reads"
        blocks.append(reader.block(norm, branch, steps))
        assert next(steps).kernel == "add"
    return Model(patches, tuple(blocks), None)


class _Reader:
    """Makes layers of steps."""

    def __init__(self, program: Program) -> None:
        self._weights: Mapping[str, NDArray[np.generic]] = program.weights

    def _arrays(self, step: Step) -> list[Float64]:
        return [self._weights[name].astype(np.float64) for name in step.weights]

    def patches(self, step: Step) -> Patches:
        weight, table = self._arrays(step)
        flat = weight.reshape(len(weight), -1)
        return Patches(step.name, int(step.attributes["patch_size"]), flat, table)

    def norm(self, step: Step) -> Norm:
        gain, offset = self._arrays(step)
        return Norm(step.name, gain, offset, float(step.attributes["epsilon"]))

    def block(self, norm: Norm, step: Step, steps: Iterator[Step]) -> Block:
        """What reads `norm`: `step`, and the mixture after it if it is a router."""
        arrays = self._arrays(step)
        if step.kernel == "attention":
            heads = int(step.attributes["heads"])
            return Attention(step.name, norm, heads, *_products(arrays))
        if step.kernel == "mlp":
            return Mlp(step.name, norm, *_products(arrays))
        weight, *bias = arrays
        router = Product(weight.T, bias[0] if bias else np.zeros(weight.shape[1]))
        mixture = next(steps)
        bank = _products(self._arrays(mixture))
        return Mixture(
            mixture.name,
            norm,
            step.name,
            router,
            int(step.attributes["top_k"]),
            float(step.attributes["prune_scores"]),
            tuple(zip(bank[::2], bank[1::2], strict=True)),
        )

    def decoder(self, norm: Norm, steps: Iterator[Step]) -> Decoder:
        convolutions: list[Convolution] = []
        for step in steps:
            weight, bias = self._arrays(step)
            if step.kernel == "head":
                head = Product(weight.reshape(len(weight), -1), bias)
                return Decoder(norm, tuple(convolutions), step.name, head)
            scale = int(step.attributes["scale"])
            convolutions.append(Convolution(step.name, scale, weight, bias))
        raise AssertionError("a decoder without a head")


def _products(arrays: list[Float64]) -> list[Product]:
    """Of weight, bias, weight, bias, ..."""
    return [Product(*pair) for pair in zip(arrays[::2], arrays[1::2], strict=True)]
