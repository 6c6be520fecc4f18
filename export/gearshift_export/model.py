"""The semantic reference: a plain PyTorch M3ViT / Edge-MoE network.

Parameter names follow the released M3ViT checkpoints, so that a state dict loads as it is.
Sources: Liang et al., "M3ViT" (NeurIPS 2022) and its code; Sarkar et al., "Edge-MoE" (ICCAD 2023).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gearshift_export.config import DecoderConfig, ModelConfig, Routing

NORM_EPSILON = 1e-6
BATCH_NORM_EPSILON = 1e-5

Evaluation = Literal["sparse", "dense"]


class Attention(nn.Module):
    """Multi-head self-attention; rows of `qkv` are Q, K and V, head by head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, D)."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    """The dense feed-forward layer: exact-erf GELU between two products."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class ExpertLinear(nn.Module):
    """One linear layer of every expert: `weight` (E, out, in), `bias` (E, out)."""

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(experts, outputs).uniform_(-bound, bound))


class Experts(nn.Module):
    """The bank: expert e computes h4toh_e(GELU(htoh4_e(x)))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.htoh4 = ExpertLinear(config.experts, config.width, config.expert_hidden)
        self.h4toh = ExpertLinear(config.experts, config.expert_hidden, config.width)

    def sparse(self, x: Tensor, index: Tensor, score: Tensor) -> Tensor:
        """Only the chosen experts, each over its own queue of tokens: (T, D) -> (T, D)."""
        tokens, top_k = index.shape
        order = index.flatten().argsort(stable=True)
        counts = torch.bincount(index.flatten(), minlength=len(self.htoh4.weight)).tolist()
        queues = x[order // top_k].split(counts)
        outputs = [
            F.linear(F.gelu(F.linear(queue, w1, b1)), w2, b2)
            for queue, w1, b1, w2, b2 in zip(
                queues,
                self.htoh4.weight,
                self.htoh4.bias,
                self.h4toh.weight,
                self.h4toh.bias,
                strict=True,
            )
            if len(queue)
        ]
        chosen = torch.empty_like(order)
        chosen[order] = torch.arange(len(order))
        per_choice = torch.cat(outputs)[chosen].view(tokens, top_k, -1)
        return (per_choice * score.unsqueeze(-1)).sum(1)

    def dense(self, x: Tensor, index: Tensor, score: Tensor) -> Tensor:
        """Every expert on every token, weighted by the score or zero: (T, D) -> (T, D)."""
        weight = x.new_zeros(len(x), len(self.htoh4.weight)).scatter(1, index, score)
        hidden = F.gelu(torch.einsum("td,ehd->teh", x, self.htoh4.weight) + self.htoh4.bias)
        output = torch.einsum("teh,edh->ted", hidden, self.h4toh.weight) + self.h4toh.bias
        return torch.einsum("ted,te->td", output, weight)


class Gate(nn.Module):
    """A router's matrix, input-major as in the released checkpoints: `w_gate` (Dg, E)."""

    def __init__(self, inputs: int, experts: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.w_gate = nn.Parameter(torch.empty(inputs, experts).uniform_(-bound, bound))


class ExpertMixture(nn.Module):
    """Router and experts of one block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.experts = Experts(config)
        inputs = config.width + config.task_embedding
        self.gate: nn.ModuleList | Gate
        if config.routing is Routing.MULTI_GATE:
            self.gate = nn.ModuleList(Gate(inputs, config.experts) for _ in config.tasks)
        else:
            self.gate = Gate(inputs, config.experts)
        # On the CPU even when the parameters are made without storage: no checkpoint holds it.
        windows = torch.full((len(config.tasks), config.experts), -torch.inf, device="cpu")
        for task in range(len(config.tasks)):
            window = config.expert_window(task)
            windows[task, window.start : window.stop] = 0.0
        self.register_buffer("windows", windows, persistent=False)
        self.windows: Tensor

    def probabilities(self, x: Tensor, task: Tensor) -> Tensor:
        """Softmax over all experts, always in float32: (N, T, Dg), task (N,) -> (N, T, E)."""
        if isinstance(self.gate, nn.ModuleList):
            weight = torch.stack([gate.get_parameter("w_gate") for gate in self.gate])[task]
        else:
            weight = self.gate.w_gate.expand(len(x), -1, -1)
        with torch.autocast(x.device.type, enabled=False):
            logits = torch.bmm(x.float(), weight.float())
            return (logits + self.windows[task].unsqueeze(1)).softmax(-1)

    def route(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """The `top_k` experts and their scores, not renormalised; ties go to the lower expert."""
        score, index = probabilities.sort(dim=-1, descending=True, stable=True)
        score, index = score[..., : self.config.top_k], index[..., : self.config.top_k]
        if self.config.prune_scores > 0:
            score = score.masked_fill(score <= self.config.prune_scores, 0.0)
        return index, score

    def forward(self, x: Tensor, index: Tensor, score: Tensor, evaluation: Evaluation) -> Tensor:
        """(N, T, D), (N, T, K) int64, (N, T, K) -> (N, T, D)."""
        evaluate = self.experts.sparse if evaluation == "sparse" else self.experts.dense
        return evaluate(x.flatten(0, 1), index.flatten(0, 1), score.flatten(0, 1)).view_as(x)


class Block(nn.Module):
    """Pre-norm transformer block with a dense or an expert feed-forward layer."""

    def __init__(self, config: ModelConfig, has_experts: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.mlp: ExpertMixture | Mlp
        self.mlp = ExpertMixture(config) if has_experts else Mlp(config.width, config.dense_hidden)
        self.gate_input_ahead = config.gate_input_ahead

    def forward(
        self, x: Tensor, task: Tensor, embedding: Tensor | None, evaluation: Evaluation
    ) -> tuple[Tensor, Tensor | None]:
        """(N, T, D) -> (N, T, D) and, in an expert block, the router's (N, T, E)."""
        block_input = x
        x = x + self.attn(self.norm1(x))
        z = self.norm2(x)
        if isinstance(self.mlp, Mlp):
            return x + self.mlp(z), None
        gate_input = block_input if self.gate_input_ahead else z
        if embedding is not None:
            per_token = embedding.unsqueeze(1).expand(-1, x.shape[1], -1)
            gate_input = torch.cat([gate_input, per_token], dim=-1)
        probabilities = self.mlp.probabilities(gate_input, task)
        return x + self.mlp(z, *self.mlp.route(probabilities), evaluation), probabilities


class TaskEmbedding(nn.Module):
    """u = LN(fc2(GELU(fc1(one-hot task)))), one vector a task, shared by all blocks."""

    def __init__(self, tasks: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(tasks, width)
        self.fc2 = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)

    def forward(self, task: Tensor) -> Tensor:
        """(N,) int64 -> (N, G)."""
        one_hot = F.one_hot(task, self.fc1.in_features).to(self.fc1.weight.dtype)
        return self.norm(self.fc2(F.gelu(self.fc1(one_hot))))


class PatchEmbedding(nn.Module):
    """Patches as one strided convolution."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch_size, config.patch_size)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, patches, D), row by row."""
        return self.proj(image).flatten(2).transpose(1, 2)


class Backbone(nn.Module):
    """Patch embedding, class token, positions and blocks; no final norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, config.tokens, config.width))
        self.patch_embed = PatchEmbedding(config)
        self.blocks = nn.ModuleList(
            Block(config, config.has_experts(i)) for i in range(config.depth)
        )
        if config.routing is Routing.TASK_CONDITIONED:
            self.gate_task_represent = TaskEmbedding(len(config.tasks), config.task_embedding)

    def forward(
        self, image: Tensor, task: Tensor, evaluation: Evaluation
    ) -> tuple[Tensor, list[Tensor]]:
        """The last block's tokens (N, T, D) and each expert block's router output (N, T, E)."""
        x = self.patch_embed(image)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        embedding = self.gate_task_represent(task) if hasattr(self, "gate_task_represent") else None
        routed = []
        for block in self.blocks:
            x, probabilities = block(x, task, embedding, evaluation)
            if probabilities is not None:
                routed.append(probabilities)
        return x, routed


class Decoder(nn.Module):
    """Progressive up-sampling: [3x3 convolution, batch norm, ReLU, bilinear x2] a stage.

    The 1x1 head comes before the last x2, and the result is resized to the image.
    """

    def __init__(self, width: int, decoder: DecoderConfig, channels: int) -> None:
        super().__init__()
        self.stages = decoder.stages
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        for stage in range(decoder.stages):
            inputs = width if stage == 0 else decoder.channels
            self.add_module(f"conv_{stage}", nn.Conv2d(inputs, decoder.channels, 3, padding=1))
            self.add_module(
                f"syncbn_fc_{stage}", nn.BatchNorm2d(decoder.channels, eps=BATCH_NORM_EPSILON)
            )
        self.add_module(f"conv_{decoder.stages}", nn.Conv2d(decoder.channels, channels, 1))

    def forward(self, tokens: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """(N, T, D) with the class token first -> (N, C, H, W)."""
        x = self.norm(tokens[:, 1:]).transpose(1, 2).unflatten(2, grid)
        for stage in range(self.stages):
            if stage > 0:
                x = _twice(x)
            x = self.get_submodule(f"conv_{stage}")(x)
            x = F.relu(self.get_submodule(f"syncbn_fc_{stage}")(x))
        x = _twice(self.get_submodule(f"conv_{self.stages}")(x))
        if x.shape[-2:] != size:
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return x


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class MultiTaskModel(nn.Module):
    """Backbone and one decoder a task."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        if config.decoder is not None:
            self.decoders = nn.ModuleDict(
                {t.name: Decoder(config.width, config.decoder, t.channels) for t in config.tasks}
            )

    def encode(
        self, image: Tensor, task: int | Tensor, evaluation: Evaluation = "sparse"
    ) -> tuple[Tensor, list[Tensor]]:
        """Tokens (N, T, D) and the router's output (N, T, E) of each expert block.

        `task` is one index, or one a picture (N,) when a batch mixes tasks in training.
        """
        per_picture = torch.as_tensor(task, device=image.device).expand(len(image))
        return self.backbone(image, per_picture, evaluation)

    def decode(self, tokens: Tensor, task: int) -> Tensor:
        """(N, T, D) -> the task's raw output (N, C, H, W)."""
        decoder = self.decoders[self.config.tasks[task].name]
        size = (self.config.image_height, self.config.image_width)
        return decoder(tokens, self.config.grid, size)

    def forward(self, image: Tensor, task: int, evaluation: Evaluation = "sparse") -> Tensor:
        """One task of a normalised image (N, 3, H, W): (N, C, H, W), or tokens without decoders."""
        tokens, _ = self.encode(image, task, evaluation)
        return tokens if self.config.decoder is None else self.decode(tokens, task)
