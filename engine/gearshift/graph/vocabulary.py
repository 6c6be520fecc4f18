"""The operators of a graph: their inputs, outputs and attributes, in order.

Operators of the domain `gearshift` are written as ONNX functions (see `functions`); the others
are standard ONNX. Shapes: N images, T tokens with the class token first, D width, E experts,
K top_k, P patch size, R routers (1, or one a task), C channels, h x w the grid of patches.
"""

from __future__ import annotations

from dataclasses import dataclass

DOMAIN = "gearshift"
DOMAIN_VERSION = 1
STANDARD_OPSET = 20


@dataclass(frozen=True)
class Operator:
    """Signature of an operator; `attributes` maps a name to its type, all of them required."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ("y",)
    attributes: tuple[tuple[str, type[int] | type[float]], ...] = ()
    standard: bool = False
    """A standard ONNX operator, not one of our functions."""
    repeated: tuple[str, ...] = ()
    """Inputs that follow `inputs` once for each expert."""


OPERATORS: dict[str, Operator] = {
    # image (N,3,H,W), weight (D,3,P,P), bias (D), class_token (1,1,D) with its position added,
    # positions (1,D,h,w), resized bilinearly (half-pixel centres) when the image has another grid.
    # -> tokens (N,T,D): class token, then patches row by row.
    "PatchEmbedding": Operator(
        ("image", "weight", "bias", "class_token", "positions"),
        attributes=(("patch_size", int),),
    ),
    # over the last axis, biased variance.
    "LayerNormalization": Operator(
        ("x", "scale", "bias"), attributes=(("epsilon", float),), standard=True
    ),
    # x (N,T,D), qkv_weight (3D,D): Q, K, V rows, head by head; qkv_bias (3D), proj_weight (D,D),
    # proj_bias (D). softmax(head_dim^-0.5 Q K^T) V, then the projection.
    "Attention": Operator(
        ("x", "qkv_weight", "qkv_bias", "proj_weight", "proj_bias"),
        attributes=(("heads", int),),
    ),
    "Add": Operator(("a", "b"), standard=True),
    # fc1_weight (H,D), fc1_bias (H), fc2_weight (D,H), fc2_bias (D); exact-erf GELU between.
    "Mlp": Operator(("x", "fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias")),
    # x (N,T,D), task (), weight (R,D,E), bias (number of tasks, E): zero, the folded task
    # embedding, or -inf outside the task's window of experts. Softmax over E, top_k largest in
    # falling order, ties to the lower expert; kept scores are not renormalised; those at or below
    # prune_scores become 0. -> expert_index int64 (N,T,K), gate_score float32 (N,T,K).
    "Router": Operator(
        ("x", "task", "weight", "bias"),
        ("expert_index", "gate_score"),
        (("top_k", int), ("prune_scores", float)),
    ),
    # x (N,T,D); for each expert fc1_weight (H,D), fc1_bias (H), fc2_weight (D,H), fc2_bias (D).
    # y[t] = sum over k of gate_score[t,k] * fc2(GELU(fc1(x[t]))) of expert expert_index[t,k].
    "ExpertMixture": Operator(
        ("x", "expert_index", "gate_score"),
        repeated=("fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias"),
    ),
    # tokens (N,T,D) without the class token, laid out as (N,D,h,w) with h, w = image size / P.
    "FeatureMap": Operator(("tokens", "image"), attributes=(("patch_size", int),)),
    # bilinear enlargement of x (N,C,h,w) by the whole number `scale` (half-pixel centres; 1 = as
    # it is), 3x3 convolution with padding 1, batch norm (inference), ReLU. weight (C',C,3,3).
    "UpsampleConv": Operator(
        ("x", "weight", "bias", "norm_scale", "norm_bias", "norm_mean", "norm_variance"),
        attributes=(("scale", int), ("epsilon", float)),
    ),
    # 1x1 convolution, then bilinear enlargement by two. weight (C',C,1,1), bias (C').
    "Head": Operator(("x", "weight", "bias")),
    # bilinear (half-pixel centres) to the height and width of the image.
    "ResizeToImage": Operator(("x", "image")),
}
