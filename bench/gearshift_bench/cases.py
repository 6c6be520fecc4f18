"""Which case belongs to which kernel of a lowered program."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gearshift_bench.case import Bench, Case, Sizes
from gearshift_bench.dense_cases import (
    attention_case,
    layer_norm_case,
    linear_case,
    patch_embedding_case,
    resize_bilinear_case,
    upsample_conv_case,
)
from gearshift_bench.expert_cases import combine_case, expert_fc1_case, expert_fc2_case, router_case


def make_case(bench: Bench, sizes: Sizes) -> Case:
    """Fresh random inputs for the kernel of a step."""
    return _CASES[sizes.step.kernel](bench, sizes)


_CASES: Mapping[str, Callable[[Bench, Sizes], Case]] = {
    "patch_embedding": patch_embedding_case,
    "linear": linear_case,
    "linear_add": linear_case,
    "attention": attention_case,
    "layer_norm": layer_norm_case,
    "router": router_case,
    "expert_fc1": expert_fc1_case,
    "expert_fc2": expert_fc2_case,
    "combine": combine_case,
    "combine_add": combine_case,
    "upsample_conv": upsample_conv_case,
    "resize_bilinear": resize_bilinear_case,
}
