"""Small random graphs made by hand, and what the oracle says they compute."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gearshift.graph import (
    IMAGE,
    OUTPUT,
    TASK,
    TOKENS,
    Card,
    Graph,
    Node,
    TaskCard,
    TaskKind,
    write_artifact,
)
from gearshift.graph.card import Preprocessing
from gearshift_kernels import oracle

TASKS = (
    TaskCard("rooms", TaskKind.SEGMENTATION, 4, labels=("wall", "floor", "lamp", "other")),
    TaskCard("depth", TaskKind.DEPTH, 1, unit="metre"),
    TaskCard("normals", TaskKind.NORMALS, 3),
    TaskCard("edges", TaskKind.PROBABILITY, 1, threshold=0.4),
)


@dataclass
class GraphMaker:
    """A multi-gate model in the names of the real exporter; every size is odd on purpose."""

    seed: int = 0
    height: int = 24
    width: int = 40
    patch: int = 8
    dim: int = 21
    heads: int = 3
    depth: int = 4
    hidden: int = 18
    experts: int = 5
    top_k: int = 2
    channels: int = 10
    stages: int = 3
    routers: int = len(TASKS)
    biased: bool = False
    prune_scores: float = 0.0
    decoders: bool = True
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def make(self) -> Graph:
        self.random = np.random.default_rng(self.seed)
        tasks = TASKS
        if not self.decoders:
            tasks = tuple(TaskCard(task.name, TaskKind.TOKENS, self.dim) for task in TASKS)
        card = Card(
            "random",
            self.height,
            self.width,
            tasks,
            Preprocessing(255.0, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)),
        )
        decoders = tuple(map(self.decoder, tasks)) if self.decoders else ()
        return Graph(card, tuple(self.trunk()), decoders, self.weights)

    def weight(self, name: str, *shape: int, mean: float = 0.0, scale: float = 0.3) -> str:
        self.weights[name] = self.random.normal(mean, scale, shape).astype(np.float32)
        return name

    def mlp_weights(self, name: str) -> list[str]:
        dim, hidden = self.dim, self.hidden
        return [
            self.weight(f"{name}.fc1_weight", hidden, dim),
            self.weight(f"{name}.fc1_bias", hidden),
            self.weight(f"{name}.fc2_weight", dim, hidden),
            self.weight(f"{name}.fc2_bias", dim),
        ]

    def norm(self, name: str, x: str) -> Node:
        scale = self.weight(f"{name}.scale", self.dim, mean=1.0)
        bias = self.weight(f"{name}.bias", self.dim)
        return Node("LayerNormalization", name, (x, scale, bias), (name,), {"epsilon": 1e-6})

    def trunk(self) -> list[Node]:
        dim, name = self.dim, "patch_embedding"
        inputs = (
            IMAGE,
            self.weight(f"{name}.weight", dim, 3, self.patch, self.patch, scale=0.07),
            self.weight(f"{name}.bias", dim),
            self.weight(f"{name}.class_token", 1, 1, dim, scale=1.0),
            self.weight(
                f"{name}.positions", 1, dim, self.height // self.patch, self.width // self.patch
            ),
        )
        nodes = [Node("PatchEmbedding", name, inputs, (name,), {"patch_size": self.patch})]
        for block in range(self.depth):
            nodes += self.block(f"blocks.{block}", nodes[-1].outputs[0], block)
        last = nodes[-1]
        nodes[-1] = Node(last.operator, last.name, last.inputs, (TOKENS,))
        return nodes

    def block(self, name: str, x: str, number: int) -> list[Node]:
        dim = self.dim
        inputs = (
            f"{name}.norm1",
            self.weight(f"{name}.attention.qkv_weight", 3 * dim, dim),
            self.weight(f"{name}.attention.qkv_bias", 3 * dim),
            self.weight(f"{name}.attention.proj_weight", dim, dim),
            self.weight(f"{name}.attention.proj_bias", dim),
        )
        attention = Node(
            "Attention", f"{name}.attention", inputs, (f"{name}.attention",), {"heads": self.heads}
        )
        add1 = Node("Add", f"{name}.add1", (x, f"{name}.attention"), (f"{name}.add1",))
        nodes = [self.norm(f"{name}.norm1", x), attention, add1]
        nodes.append(self.norm(f"{name}.norm2", f"{name}.add1"))
        if number % 2 == 0:
            y = f"{name}.mlp"
            nodes.append(Node("Mlp", y, (f"{name}.norm2", *self.mlp_weights(y)), (y,)))
        else:
            y = f"{name}.experts"
            nodes += self.mixture(name)
        return [*nodes, Node("Add", f"{name}.add2", (f"{name}.add1", y), (f"{name}.add2",))]

    def mixture(self, name: str) -> list[Node]:
        router, experts, x = f"{name}.router", f"{name}.experts", f"{name}.norm2"
        routed = (f"{router}.expert_index", f"{router}.gate_score")
        self.weight(f"{router}.weight", self.routers, self.dim, self.experts)
        self.weight(f"{router}.bias", len(TASKS), self.experts, scale=float(self.biased))
        if self.biased:
            self.weights[f"{router}.bias"][1, 0] = -np.inf
        inputs = (x, TASK, f"{router}.weight", f"{router}.bias")
        attributes = {"top_k": self.top_k, "prune_scores": self.prune_scores}
        bank = [
            weight
            for expert in range(self.experts)
            for weight in self.mlp_weights(f"{experts}.{expert}")
        ]
        return [
            Node("Router", router, inputs, routed, attributes),
            Node("ExpertMixture", experts, (x, *routed, *bank), (experts,)),
        ]

    def decoder(self, task: TaskCard) -> tuple[Node, ...]:
        base = f"decoders.{task.name}"
        nodes = [self.norm(f"{base}.norm", TOKENS)]
        features = f"{base}.features"
        patch = {"patch_size": self.patch}
        nodes.append(Node("FeatureMap", features, (f"{base}.norm", IMAGE), (features,), patch))
        for stage in range(self.stages):
            name, channels = f"{base}.conv_{stage}", self.channels
            inputs = (
                nodes[-1].outputs[0],
                self.weight(f"{name}.weight", channels, channels if stage else self.dim, 3, 3),
                self.weight(f"{name}.bias", channels),
                self.weight(f"{name}.norm_scale", channels, mean=1.0),
                self.weight(f"{name}.norm_bias", channels),
                self.weight(f"{name}.norm_mean", channels),
                self.weight(f"{name}.norm_variance", channels, mean=2.0, scale=0.1),
            )
            attributes = {"scale": 2 if stage else 1, "epsilon": 1e-5}
            nodes.append(Node("UpsampleConv", name, inputs, (name,), attributes))
        exact = self.patch == 2**self.stages
        head = f"{base}.head"
        inputs = (
            nodes[-1].outputs[0],
            self.weight(f"{head}.weight", task.channels, self.channels, 1, 1),
            self.weight(f"{head}.bias", task.channels),
        )
        nodes.append(Node("Head", head, inputs, (OUTPUT if exact else head,)))
        if not exact:
            nodes.append(Node("ResizeToImage", f"{base}.resize", (head, IMAGE), (OUTPUT,)))
        return tuple(nodes)


def oracle_values(graph: Graph, task: int, image: np.ndarray) -> dict[str, np.ndarray]:
    """Every value of a task in float64, node by node, from the graph as it is: nothing folded."""
    values: dict[str, Any] = {IMAGE: image.astype(np.float64), TASK: task}
    for node in graph.nodes(task):
        inputs = [values[name] if name in values else graph.weights[name] for name in node.inputs]
        if node.operator == "Add":
            outputs: Any = inputs[0] + inputs[1]
        elif node.operator == "ResizeToImage":
            outputs = oracle.resize_bilinear(inputs[0], *image.shape[2:])
        else:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", node.operator).lower()
            outputs = getattr(oracle, name)(*inputs, **node.attributes)
        single = len(node.outputs) == 1
        values.update(zip(node.outputs, (outputs,) if single else outputs, strict=True))
    return values


@pytest.fixture(scope="session")
def make_graph() -> Callable[..., Graph]:
    """`make_graph(seed=0, depth=4, ...)`: see `GraphMaker`."""
    return lambda **sizes: GraphMaker(**sizes).make()


@pytest.fixture(scope="session")
def graph(make_graph: Callable[..., Graph]) -> Graph:
    return make_graph()


@pytest.fixture(scope="session")
def expected() -> Callable[[Graph, int, np.ndarray], dict[str, np.ndarray]]:
    return oracle_values


@pytest.fixture(scope="session")
def make_image() -> Callable[..., np.ndarray]:
    """A normalised image (N,3,H,W)."""

    def make(batch: int = 1, height: int = 24, width: int = 40, seed: int = 7) -> np.ndarray:
        random = np.random.default_rng(seed)
        return random.normal(size=(batch, 3, height, width)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def artifact(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random graph as a folder."""
    folder = tmp_path_factory.mktemp("models") / "random.gs"
    write_artifact(graph, folder)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the user's cache or environment decides a test."""
    monkeypatch.setenv("GEARSHIFT_CACHE", str(cache))
    monkeypatch.delenv("GEARSHIFT_BACKEND", raising=False)
