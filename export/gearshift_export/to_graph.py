"""The reference model as a graph of the engine's vocabulary.

What the task alone decides is folded here: the class token and its position become one weight, a
task's embedding and its window of experts become the bias of its router.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gearshift.graph import IMAGE, OUTPUT, TASK, TOKENS, Card, Graph, Node
from gearshift.graph.graph import Array
from gearshift_export.model import (
    BATCH_NORM_EPSILON,
    NORM_EPSILON,
    Backbone,
    Block,
    Decoder,
    ExpertMixture,
    Gate,
    Mlp,
    MultiTaskModel,
)


def to_graph(model: MultiTaskModel, card: Card) -> Graph:
    """All tasks of `model`; weights are float32 and share the model's memory where they can.

    Raises:
        ValueError: the card's tasks or image size are not the model's.
    """
    config = model.config
    named = [task.name for task in card.tasks]
    if named != [task.name for task in config.tasks]:
        raise ValueError(f"the card's tasks {named} are not the model's {config.tasks}")
    if (card.image_height, card.image_width) != (config.image_height, config.image_width):
        raise ValueError(f"the card's image size is not the model's {config}")
    builder = _Builder()
    with torch.no_grad():
        _trunk(builder, model)
        trunk = builder.take_nodes()
        decoders = []
        if config.decoder is not None:
            for task in config.tasks:
                _decoder(builder, f"decoders.{task.name}", model.decoders[task.name], model)
                decoders.append(builder.take_nodes())
    return Graph(card, trunk, tuple(decoders), builder.weights)


class _Builder:
    """Collects nodes and weights; a node's name is also its value's, unless said otherwise."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.weights: dict[str, Array] = {}

    def node(
        self,
        operator: str,
        name: str,
        inputs: list[str],
        outputs: tuple[str, ...] = (),
        **attributes: int | float,
    ) -> str:
        outputs = outputs or (name,)
        self.nodes.append(Node(operator, name, tuple(inputs), outputs, attributes))
        return outputs[0]

    def weight(self, name: str, value: Tensor) -> str:
        self.weights[name] = np.ascontiguousarray(value.detach().cpu().float().numpy())
        return name

    def linear(self, name: str, layer: nn.Linear | nn.Conv2d) -> list[str]:
        assert layer.bias is not None
        return [
            self.weight(f"{name}weight", layer.weight),
            self.weight(f"{name}bias", layer.bias),
        ]

    def norm(self, name: str, x: str, norm: nn.LayerNorm) -> str:
        scale = self.weight(f"{name}.scale", norm.weight)
        bias = self.weight(f"{name}.bias", norm.bias)
        return self.node("LayerNormalization", name, [x, scale, bias], epsilon=NORM_EPSILON)

    def take_nodes(self) -> tuple[Node, ...]:
        nodes, self.nodes = tuple(self.nodes), []
        return nodes


def _trunk(builder: _Builder, model: MultiTaskModel) -> None:
    backbone = model.backbone
    x = _patch_embedding(builder, backbone, model)
    for index, block in enumerate(backbone.blocks):
        assert isinstance(block, Block)
        name = f"blocks.{index}"
        block_input = x
        x = _attention(builder, name, x, block)
        z = builder.norm(f"{name}.norm2", x, block.norm2)
        if isinstance(block.mlp, ExpertMixture):
            router_input = block_input if block.gate_input_ahead else z
            y = _experts(builder, name, z, router_input, block.mlp, backbone)
        else:
            y = _mlp(builder, f"{name}.mlp", z, block.mlp)
        last = index == model.config.depth - 1
        x = builder.node("Add", f"{name}.add2", [x, y], (TOKENS,) if last else ())


def _patch_embedding(builder: _Builder, backbone: Backbone, model: MultiTaskModel) -> str:
    name, config = "patch_embedding", model.config
    grid = backbone.pos_embed[:, 1:].transpose(1, 2).reshape(1, -1, *config.grid)
    inputs = [
        IMAGE,
        *builder.linear(f"{name}.", backbone.patch_embed.proj),
        builder.weight(f"{name}.class_token", backbone.cls_token + backbone.pos_embed[:, :1]),
        builder.weight(f"{name}.positions", grid),
    ]
    return builder.node("PatchEmbedding", name, inputs, patch_size=config.patch_size)


def _attention(builder: _Builder, name: str, x: str, block: Block) -> str:
    normed = builder.norm(f"{name}.norm1", x, block.norm1)
    qkv = builder.linear(f"{name}.attention.qkv_", block.attn.qkv)
    proj = builder.linear(f"{name}.attention.proj_", block.attn.proj)
    y = builder.node(
        "Attention", f"{name}.attention", [normed, *qkv, *proj], heads=block.attn.heads
    )
    return builder.node("Add", f"{name}.add1", [x, y])


def _mlp(builder: _Builder, name: str, x: str, mlp: Mlp) -> str:
    weights = builder.linear(f"{name}.fc1_", mlp.fc1) + builder.linear(f"{name}.fc2_", mlp.fc2)
    return builder.node("Mlp", name, [x, *weights])


def _experts(
    builder: _Builder,
    name: str,
    x: str,
    router_input: str,
    mixture: ExpertMixture,
    backbone: Backbone,
) -> str:
    weight, bias = _router_weights(mixture, backbone)
    router, bank = f"{name}.router", f"{name}.experts"
    routed = (f"{router}.expert_index", f"{router}.gate_score")
    builder.node(
        "Router",
        router,
        [
            router_input,
            TASK,
            builder.weight(f"{router}.weight", weight),
            builder.weight(f"{router}.bias", bias),
        ],
        routed,
        top_k=mixture.config.top_k,
        prune_scores=float(mixture.config.prune_scores),
    )
    first, second = mixture.experts.htoh4, mixture.experts.h4toh
    inputs = [x, *routed]
    for expert in range(mixture.config.experts):
        inputs += [
            builder.weight(f"{bank}.{expert}.fc1_weight", first.weight[expert]),
            builder.weight(f"{bank}.{expert}.fc1_bias", first.bias[expert]),
            builder.weight(f"{bank}.{expert}.fc2_weight", second.weight[expert]),
            builder.weight(f"{bank}.{expert}.fc2_bias", second.bias[expert]),
        ]
    return builder.node("ExpertMixture", bank, inputs)


def _router_weights(mixture: ExpertMixture, backbone: Backbone) -> tuple[Tensor, Tensor]:
    """(R, D, E) and (tasks, E): [z ; u] W = z W[:D] + u W[D:], and u depends on the task alone."""
    config = mixture.config
    if isinstance(mixture.gate, Gate):
        matrices = mixture.gate.w_gate.unsqueeze(0)
    else:
        matrices = torch.stack([gate.w_gate for gate in mixture.gate if isinstance(gate, Gate)])
    bias = mixture.windows.double().cpu()
    if config.task_embedding:
        tasks = torch.arange(len(config.tasks), device=matrices.device)
        embeddings = backbone.gate_task_represent(tasks)
        bias = bias + (embeddings.double() @ matrices[0, config.width :].double()).cpu()
    return matrices[:, : config.width], bias


def _decoder(builder: _Builder, name: str, decoder: nn.Module, model: MultiTaskModel) -> None:
    assert isinstance(decoder, Decoder)
    patch_size = model.config.patch_size
    x = builder.norm(f"{name}.norm", TOKENS, decoder.norm)
    x = builder.node("FeatureMap", f"{name}.features", [x, IMAGE], patch_size=patch_size)
    for stage in range(decoder.stages):
        x = _upsample_conv(builder, f"{name}.conv_{stage}", x, decoder, stage)
    reaches_image = patch_size == 2**decoder.stages
    head = decoder.get_submodule(f"conv_{decoder.stages}")
    assert isinstance(head, nn.Conv2d)
    weights = builder.linear(f"{name}.head.", head)
    x = builder.node("Head", f"{name}.head", [x, *weights], (OUTPUT,) if reaches_image else ())
    if not reaches_image:
        builder.node("ResizeToImage", f"{name}.resize", [x, IMAGE], (OUTPUT,))


def _upsample_conv(builder: _Builder, name: str, x: str, decoder: Decoder, stage: int) -> str:
    conv = decoder.get_submodule(f"conv_{stage}")
    norm = decoder.get_submodule(f"syncbn_fc_{stage}")
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weights = builder.linear(f"{name}.", conv)
    weights += [
        builder.weight(f"{name}.norm_scale", norm.weight),
        builder.weight(f"{name}.norm_bias", norm.bias),
        builder.weight(f"{name}.norm_mean", norm.running_mean),
        builder.weight(f"{name}.norm_variance", norm.running_var),
    ]
    scale = 1 if stage == 0 else 2
    return builder.node(
        "UpsampleConv", name, [x, *weights], scale=scale, epsilon=BATCH_NORM_EPSILON
    )
