"""Cases of the kernels that treat every token or pixel alike."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from gearshift.backends.triton_weights import CONVOLUTION, narrow
from gearshift_bench.case import Bench, Case, Sizes, plain_case
from gearshift_kernels.triton.attention import attention
from gearshift_kernels.triton.linear import linear
from gearshift_kernels.triton.norm import layer_norm
from gearshift_kernels.triton.patch_embedding import patch_embedding
from gearshift_kernels.triton.quantise import Quantised
from gearshift_kernels.triton.resize import resize_bilinear
from gearshift_kernels.triton.upsample_conv import upsample_conv


def linear_case(bench: Bench, sizes: Sizes) -> Case:
    inner, columns = sizes.shape(sizes.input)[-1], sizes.shape(sizes.output)[-1]
    rows = prod(sizes.shape(sizes.output)[:-1])
    x = bench.normal(rows, inner, dtype=sizes.dtype(sizes.input))
    weight, bias = bench.weight(columns, inner), bench.normal(columns)
    norm = bench.norm(inner) if sizes.has_norm else None
    residual = bench.normal(rows, columns) if sizes.has_residual else None
    out = bench.empty(rows, columns, dtype=sizes.dtype(sizes.output))
    gelu = bool(sizes.step.attributes["gelu"])
    launch = linear(
        bench.device, x, weight, out, bias=bias, norm=norm, gelu=gelu, residual=residual
    )
    return plain_case(
        [launch],
        out,
        plain_linear,
        [x, weight, bias, *((norm.scale, norm.bias) if norm else (None, None)), residual],
        {"gelu": gelu, "epsilon": norm.epsilon if norm else 0.0},
        [out.dtype, bench.dtype] if norm or x.dtype != bench.dtype else [out.dtype],
    )


def plain_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    norm_scale: Tensor | None,
    norm_bias: Tensor | None,
    residual: Tensor | None,
    *,
    gelu: bool,
    epsilon: float,
) -> Tensor:
    """residual + gelu(norm(x) weight^T + bias)."""
    if norm_scale is not None:
        x = F.layer_norm(x, x.shape[-1:], norm_scale, norm_bias, epsilon)
    y = F.linear(x.to(weight.dtype), weight, bias.to(weight.dtype))
    y = F.gelu(y) if gelu else y
    return y if residual is None else residual + y


def patch_embedding_case(bench: Bench, sizes: Sizes) -> Case:
    _, tokens, width = sizes.shape(sizes.output)
    patch = int(sizes.step.attributes["patch_size"])
    image = bench.normal(*sizes.shape(sizes.input))
    weight, table = bench.weight(width, 3 * patch**2), bench.normal(tokens, width)
    out = bench.empty(*sizes.shape(sizes.output))
    launch = patch_embedding(bench.device, image, weight, table, out, patch_size=patch)
    return plain_case(
        [launch], out, plain_patch_embedding, [image, weight, table], {"patch": patch},
        [bench.dtype],
    )  # fmt: skip


def plain_patch_embedding(image: Tensor, weight: Tensor, table: Tensor, *, patch: int) -> Tensor:
    """Class token and patches (N,T,D)."""
    kernel = weight.view(-1, image.shape[1], patch, patch)
    patches = F.conv2d(image.to(weight.dtype), kernel, stride=patch).flatten(2).transpose(1, 2)
    first = table[:1].expand(len(image), 1, -1)
    return torch.cat([first, patches + table[1:]], dim=1)


def upsample_conv_case(bench: Bench, sizes: Sizes) -> Case:
    scale = int(sizes.step.attributes["scale"])
    outputs, channels = sizes.weight(0)[:2]
    layout = CONVOLUTION[scale]
    x = bench.normal(*sizes.shape(sizes.input), dtype=bench.dtype)
    kernel = bench.normal(outputs, channels, 3, 3, scale=(9 * channels) ** -0.5)
    kernel = kernel.to(bench.dtype).float()
    phases = torch.from_numpy(layout.make(kernel.cpu().numpy())).to(bench.place)
    weight, bias = narrow(phases, bench.precision), bench.normal(outputs)
    out = bench.empty(*sizes.shape(sizes.output), dtype=bench.dtype)
    launch = upsample_conv(bench.device, x, weight, bias, out, scale=scale)
    case = plain_case(
        [launch],
        out,
        plain_upsample_conv,
        [x, kernel.to(bench.dtype, memory_format=torch.channels_last), bias],
        {"scale": scale},
        [out.dtype, bench.dtype],
    )
    if isinstance(weight, Quantised):
        return replace(case, tolerance=ONE_BYTE[weight.values.dtype])
    return case


ONE_BYTE = {torch.int8: 0.02, torch.float8_e4m3fn: 0.05}
"""Tolerances of a convolution whose phases are quantised after they have been folded, which the
plain reference cannot follow. The root mean square error of a normally distributed weight is about
1 % in int8 (largest 4 deviations; a step of 1/127 of that) and 2.6 % in float8 (up to 1/16 of
itself), and so is that of a sum of products; twice that is allowed."""


def plain_upsample_conv(x: Tensor, weight: Tensor, bias: Tensor, *, scale: int) -> Tensor:
    """Maps with their channels last, as (N,h,w,C) -> (N,scale h,scale w,C')."""
    image = x.permute(0, 3, 1, 2)
    if scale != 1:
        image = F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)
    y = F.conv2d(image, weight, bias.to(weight.dtype), padding=1)
    return F.relu(y).permute(0, 2, 3, 1)


def attention_case(bench: Bench, sizes: Sizes) -> Case:
    batch, tokens, width = sizes.shape(sizes.output)
    heads = int(sizes.step.attributes["heads"])
    qkv = bench.normal(batch, tokens, 3, heads, width // heads, dtype=bench.dtype)
    query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
    out = bench.empty(batch, tokens, heads, width // heads, dtype=bench.dtype)
    launch = attention(bench.device, query, key, value, out.transpose(1, 2))
    case = plain_case(
        [launch],
        out.transpose(1, 2),
        F.scaled_dot_product_attention,
        [query, key, value],
        {},
        [bench.dtype, bench.dtype],
    )
    return replace(case, plain_name="scaled_dot_product_attention")


def layer_norm_case(bench: Bench, sizes: Sizes) -> Case:
    batch, tokens, width = sizes.shape(sizes.input)
    x, norm = bench.normal(batch, tokens, width), bench.norm(width)
    if len(sizes.shape(sizes.output)) == 4:
        x = x[:, 1:]
    out = bench.empty(*x.shape, dtype=sizes.dtype(sizes.output))
    launch = layer_norm(bench.device, x, norm, out)
    arguments = [x, norm.scale, norm.bias]
    options = {"epsilon": norm.epsilon}
    return plain_case([launch], out, plain_layer_norm, arguments, options, [out.dtype])


def plain_layer_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], scale, bias, epsilon)


def resize_bilinear_case(bench: Bench, sizes: Sizes) -> Case:
    x = bench.normal(*sizes.shape(sizes.input))
    pixels = x if sizes.step.attributes["channels_last"] else x.permute(0, 2, 3, 1)
    out = bench.empty(*sizes.shape(sizes.output))
    launch = resize_bilinear(bench.device, pixels, out)
    return plain_case(
        [launch], out, plain_resize, [pixels], {"size": tuple(out.shape[2:])}, [out.dtype]
    )


def plain_resize(x: Tensor, *, size: tuple[int, int]) -> Tensor:
    """(N,h,w,C) -> (N,C,H,W)."""
    image = x.permute(0, 3, 1, 2)
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)
