"""What the demo model is trained towards: one loss a task, and one for the routers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EDGE_POSITIVE_WEIGHT = 4.0
"""Edge pixels are some 6 % of a room; this keeps the network from answering 'no edge' always."""


def semantic_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of (N, C, H, W) against int64 (N, H, W)."""
    return F.cross_entropy(logits, labels)


def depth_loss(metres: Tensor, target: Tensor) -> Tensor:
    """Huber loss with its knee at one metre, (N, 1, H, W) against (N, H, W)."""
    return 2.0 * F.smooth_l1_loss(metres[:, 0], target)


def normals_loss(vectors: Tensor, target: Tensor) -> Tensor:
    """One minus the cosine, (N, 3, H, W) against (N, 3, H, W) of unit length."""
    return 3.0 * (1.0 - F.cosine_similarity(vectors, target, dim=1, eps=1e-6)).mean()


def edge_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Weighted binary cross-entropy, (N, 1, H, W) against (N, H, W) of zeros and ones."""
    weight = torch.tensor(EDGE_POSITIVE_WEIGHT)
    return F.binary_cross_entropy_with_logits(logits[:, 0], target, pos_weight=weight)


TASK_LOSSES = {
    "semseg": semantic_loss,
    "depth": depth_loss,
    "normals": normals_loss,
    "edge": edge_loss,
}


def routing_loss(probabilities: list[Tensor], task: Tensor, tasks: int, top_k: int) -> Tensor:
    """Balance over all tasks together, while each task may prefer up to half of the experts.

    Per block: 0.1 (log E - H(mean use)) + 0.05 mean over tasks of max(E sum_e f_e P_e - 2, 0),
    with f the share of a task's choices that fell on an expert and P its mean probability. The
    sum is the balance loss of Fedus et al., "Switch Transformers" (2021), section 2.2: 1 when
    all experts are used alike, 2 when half of them are, so that the hinge lets a task specialise
    but not shrink to fewer.

    Args:
        probabilities: a block's router output each, (N, T, E).
        task: int64 (N,), the task of each picture; every task occurs.
    """
    total = torch.zeros(())
    for block in probabilities:
        experts = block.shape[-1]
        chosen = F.one_hot(block.topk(top_k).indices, experts).sum(2) / top_k
        preferred = torch.stack([block[task == t].mean((0, 1)) for t in range(tasks)])
        share = torch.stack([chosen[task == t].mean((0, 1)) for t in range(tasks)])
        used = preferred.mean(0)
        imbalance = math.log(experts) + (used * used.clamp_min(1e-9).log()).sum()
        concentration = experts * (share * preferred).sum(1)
        total = total + 0.1 * imbalance + 0.05 * (concentration - 2.0).clamp_min(0.0).mean()
    return total / len(probabilities)
