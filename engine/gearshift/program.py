"""One task of a model as a flat list of steps with static shapes: what every backend reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from gearshift.graph.card import TaskCard
from gearshift.graph.graph import Array, Attribute
from gearshift.text import columns, with_unit

ITEM_BYTES = {"float32": 4, "int64": 8}


@dataclass(frozen=True)
class Value:
    """A tensor that a run computes, and its place in the arena."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """`float32`, or `int64` for expert indices. A backend may keep a narrower form in its place."""
    offset: int
    """Bytes from the arena's start, a multiple of `gearshift.buffers.ALIGNMENT`."""

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Step:
    """One kernel call. The kernels, their inputs -> outputs and their weights, in order:

    - `patch_embedding`: image (N,3,H,W) -> tokens (N,T,D); weight (D,3,P,P) and table (T,D): row 0
      the class token, every other row a patch's position with the convolution's bias added.
      `patch_size`.
    - `layer_normalization`: (N,T,D) -> same; scale (D), bias (D). `epsilon`.
    - `attention`: (N,T,D) -> same; qkv_weight (3D,D), qkv_bias (3D), proj_weight (D,D),
      proj_bias (D). `heads`.
    - `add`: a, b -> a's shape; the output may stand in a's place.
    - `mlp`: (N,T,D) -> same; fc1_weight (H,D), fc1_bias (H), fc2_weight (D,H), fc2_bias (D).
    - `router`: (N,T,D) -> expert_index int64 (N,T,K), gate_score (N,T,K); weight (D,E) and, unless
      it is zero, bias (E). `top_k`, `prune_scores`.
    - `expert_mixture`: x (N,T,D), expert_index, gate_score -> (N,T,D); the four weights of `mlp`,
      expert by expert. `experts`, `top_k`.
    - `feature_map`: tokens (N,T,D) -> (N,D,h,w), without the class token.
    - `upsample_conv`: (N,C,h,w) -> (N,C',scale h,scale w); weight (C',C,3,3) and bias (C') with the
      batch norm folded in, ReLU after. `scale`.
    - `head`: (N,C,h,w) -> (N,C',2h,2w); weight (C',C,1,1), bias (C').
    - `resize_bilinear`: (N,C,h,w) -> (N,C,H,W), half-pixel centres.

    The arithmetic is that of the operator of the same name in `gearshift.graph.vocabulary`.
    """

    kernel: str
    name: str
    """The graph node's name."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    macs: int
    """Multiply-accumulates of the matrix products; an expert mixture's over tokens x top_k."""
    weight_bytes: int
    """float32 bytes of all `weights`; an expert mixture touches only the chosen experts' part."""


@dataclass(frozen=True)
class Program:
    """The steps of one task for one batch and image size; the steps run in order."""

    model: str
    task: int
    task_card: TaskCard
    input: str
    """The value that holds the normalised image, float32 (N, 3, H, W)."""
    output: str
    """The value that holds the result: float32 (N, C, H, W), or tokens (N, T, D)."""
    values: Mapping[str, Value]
    steps: tuple[Step, ...]
    weights: Mapping[str, Array]
    """The arrays that the steps name; a folded one is made when it is first asked for."""
    arena_bytes: int

    @property
    def macs(self) -> int:
        return sum(step.macs for step in self.steps)

    @property
    def weight_bytes(self) -> int:
        """float32 bytes of all weights that a run may touch."""
        return sum(step.weight_bytes for step in self.steps)

    def table(self) -> str:
        """The program for a person: a line a step, then the totals."""
        head = ("", "node", "kernel", "output", "weights", "MACs")
        rows = [
            (
                str(number),
                step.name,
                step.kernel,
                _shape(self.values[step.outputs[0]].shape),
                with_unit(step.weight_bytes, "B"),
                with_unit(step.macs, ""),
            )
            for number, step in enumerate(self.steps)
        ]
        image = _shape(self.values[self.input].shape)
        title = f"{self.model}, task {self.task_card.name}, image {image}"
        totals = (
            f"{len(self.steps)} steps, weights {with_unit(self.weight_bytes, 'B')}, "
            f"{with_unit(self.macs, '')} MACs, arena {with_unit(self.arena_bytes, 'B')}"
        )
        return "\n".join((title, columns([head, *rows], right=(0, 4, 5)), totals))


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
