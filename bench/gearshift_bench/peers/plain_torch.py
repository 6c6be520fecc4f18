"""A program as an idiomatic torch module: for eager, for `torch.compile`, and, in float64, as the
reference that every contender's output is held to.

Nothing here is shared with the engine's torch backend, which plans its memory and binds its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gearshift.graph.graph import Array
from gearshift.program import Program, Step
from gearshift_bench.peers.onnx_graph import MixtureForm


class PlainModule(nn.Module):
    """The steps of one program, products in `dtype`.

    Router, norms, residual stream and the sums of experts' answers are float32, or float64 if that
    is `dtype`. Maps are channels-last, in which torch convolves fastest.
    """

    def __init__(self, program: Program, dtype: torch.dtype, mixture: MixtureForm = "sort") -> None:
        super().__init__()
        self.program = program
        self.layers = nn.ModuleList(_Layer(program, step, dtype, mixture) for step in program.steps)

    def forward(self, image: Tensor) -> Tensor:
        """float32 image (N,3,H,W) -> the program's output."""
        return self.values(image)[self.program.output]

    def values(self, image: Tensor) -> dict[str, Tensor]:
        """Every value that the program computes, by name."""
        values = {self.program.input: image}
        for step, layer in zip(self.program.steps, self.layers, strict=True):
            outputs = layer(*(values[name] for name in step.inputs))
            single = isinstance(outputs, Tensor)
            values.update(zip(step.outputs, (outputs,) if single else outputs, strict=True))
        return values


class _Layer(nn.Module):
    """One step and its weights."""

    def __init__(
        self, program: Program, step: Step, dtype: torch.dtype, mixture: MixtureForm
    ) -> None:
        super().__init__()
        arrays = [program.weights[name] for name in step.weights]
        name = f"{mixture}_mixture" if step.kernel == "expert_mixture" else step.kernel
        if name == "dense_mixture":
            arrays = _joined(arrays)
        self.function = _FUNCTIONS[name]
        self.attributes: dict[str, object] = dict(step.attributes)
        if step.kernel in _NEEDS_SHAPE:
            self.attributes["shape"] = program.values[step.outputs[0]].shape
        self.weights = nn.ParameterList(
            nn.Parameter(_tensor(array, step.kernel, place, dtype), requires_grad=False)
            for place, array in enumerate(arrays)
        )

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(*inputs, *self.weights, **self.attributes)


_NEEDS_SHAPE = frozenset({"feature_map", "resize_bilinear"})


def _tensor(array: Array, kernel: str, place: int, dtype: torch.dtype) -> Tensor:
    """A weight in the dtype and layout of its use."""
    is_table = kernel == "patch_embedding" and place == 1
    if dtype != torch.float64 and (is_table or kernel in ("layer_normalization", "router")):
        dtype = torch.float32
    layout = torch.channels_last if array.ndim == 4 else torch.contiguous_format
    return torch.tensor(np.asarray(array)).to(dtype).contiguous(memory_format=layout)


def _joined(arrays: Sequence[Array]) -> list[Array]:
    """The weights of all experts as fc1 (EH,D), bias (EH), fc2 (D,EH), bias (E,D)."""
    fc1, bias1, fc2, bias2 = (arrays[part::4] for part in range(4))
    joined = np.concatenate(fc1), np.concatenate(bias1), np.concatenate(fc2, axis=1)
    return [*joined, np.stack(bias2)]


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x.to(weight.dtype), weight, bias)


def _exact(x: Tensor) -> Tensor:
    """In the dtype of the residual stream."""
    return x if x.dtype == torch.float64 else x.float()


def _patch_embedding(image: Tensor, weight: Tensor, table: Tensor, *, patch_size: int) -> Tensor:
    maps = F.conv2d(image.to(weight.dtype), weight, stride=patch_size)
    patches = _exact(maps.flatten(2).transpose(1, 2)) + table[1:]
    class_tokens = table[:1].expand(len(image), 1, -1)
    return torch.cat((class_tokens, patches), dim=1)


def _layer_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], scale, bias, epsilon)


def _attention(
    x: Tensor,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    *,
    heads: int,
) -> Tensor:
    batch, tokens, width = x.shape
    qkv = _linear(x, qkv_weight, qkv_bias).view(batch, tokens, 3, heads, width // heads)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    mixed = F.scaled_dot_product_attention(query, key, value)
    return _linear(mixed.transpose(1, 2).reshape(batch, tokens, width), proj_weight, proj_bias)


def _add(a: Tensor, b: Tensor) -> Tensor:
    return a + b


def _mlp(x: Tensor, fc1: Tensor, bias1: Tensor, fc2: Tensor, bias2: Tensor) -> Tensor:
    return _linear(F.gelu(_linear(x, fc1, bias1)), fc2, bias2)


def _router(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, top_k: int, prune_scores: float
) -> tuple[Tensor, Tensor]:
    logits = x @ weight if bias is None else x @ weight + bias
    score, index = logits.softmax(-1).topk(top_k, dim=-1)
    if prune_scores > 0:
        score = score.masked_fill(score <= prune_scores, 0.0)
    return index, score


def _sort_mixture(
    x: Tensor, index: Tensor, score: Tensor, *weights: Tensor, experts: int, top_k: int
) -> Tensor:
    """Tokens sorted into one queue an expert; the lengths of the queues are data."""
    rows, choices = x.flatten(0, -2).to(weights[0].dtype), index.flatten()
    order = choices.argsort(stable=True)
    lengths = choices.bincount(minlength=experts).tolist()
    queues = rows[order // top_k].split(lengths)
    answers = torch.cat(
        [
            _mlp(queue, *weights[4 * expert : 4 * expert + 4])
            for expert, queue in enumerate(queues)
            if len(queue)
        ]
    )
    by_choice = torch.empty_like(answers)
    by_choice[order] = answers
    terms = _exact(by_choice).view(*index.shape, -1)
    return (terms * score.unsqueeze(-1)).sum(-2)


def _dense_mixture(
    x: Tensor,
    index: Tensor,
    score: Tensor,
    fc1: Tensor,
    bias1: Tensor,
    fc2: Tensor,
    bias2: Tensor,
    *,
    experts: int,
    top_k: int,
) -> Tensor:
    """All experts on all tokens as two products; a score of zero for those not chosen."""
    scores = torch.zeros(*index.shape[:-1], experts, dtype=score.dtype).scatter(-1, index, score)
    scores = scores.to(fc2.dtype)
    hidden = F.gelu(_linear(x, fc1, bias1)).unflatten(-1, (experts, -1))
    weighted = (hidden * scores.unsqueeze(-1)).flatten(-2)
    return _exact(F.linear(weighted, fc2) + scores @ bias2)


def _feature_map(tokens: Tensor, *, shape: tuple[int, ...]) -> Tensor:
    return tokens[:, 1:].transpose(1, 2).view(shape)


def _enlarge(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, size=list(size), mode="bilinear", align_corners=False)


def _upsample_conv(x: Tensor, weight: Tensor, bias: Tensor, *, scale: int) -> Tensor:
    x = x.to(weight.dtype)
    if scale != 1:
        x = _enlarge(x, [scale * length for length in x.shape[2:]])
    return F.relu(F.conv2d(x, weight, bias, padding=1))


def _head(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    small = _exact(F.conv2d(x.to(weight.dtype), weight, bias))
    return _enlarge(small, [2 * length for length in x.shape[2:]])


def _resize_bilinear(x: Tensor, *, shape: tuple[int, ...]) -> Tensor:
    return _enlarge(x, shape[2:])


_FUNCTIONS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "patch_embedding": _patch_embedding,
    "layer_normalization": _layer_normalization,
    "attention": _attention,
    "add": _add,
    "mlp": _mlp,
    "router": _router,
    "sort_mixture": _sort_mixture,
    "dense_mixture": _dense_mixture,
    "feature_map": _feature_map,
    "upsample_conv": _upsample_conv,
    "head": _head,
    "resize_bilinear": _resize_bilinear,
}
