"""What a model is: every number that fixes the shapes and the routing of an M3ViT-like network."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Routing(StrEnum):
    """How a token's router is chosen. Source: M3ViT, section 3.2 and the released code."""

    MULTI_GATE = "multi_gate"
    """One router a task in every expert block."""

    SINGLE = "single"
    """One router shared by all tasks."""

    TASK_CONDITIONED = "task_conditioned"
    """One router, fed with the token and an embedding of the task."""


@dataclass(frozen=True)
class TaskConfig:
    """One task: its name, which is also its decoder's key, and its number of output channels."""

    name: str
    channels: int


@dataclass(frozen=True)
class DecoderConfig:
    """The up-sampling decoder: `stages` 3x3 convolutions of `channels` outputs, then a 1x1 head."""

    channels: int = 256
    stages: int = 4


@dataclass(frozen=True)
class ModelConfig:
    """Shapes and routing of one model; every second block (1, 3, 5, ...) holds the experts.

    Raises:
        ValueError: a combination that cannot be a model; the message names field and value.
    """

    image_height: int
    image_width: int
    patch_size: int
    width: int
    heads: int
    depth: int
    dense_hidden: int
    experts: int
    expert_hidden: int
    top_k: int
    tasks: tuple[TaskConfig, ...]
    routing: Routing = Routing.MULTI_GATE
    gate_input_ahead: bool = False
    """The router reads the block's input instead of the second norm's output."""
    task_embedding: int = 0
    """Width of the task's embedding; only with task-conditioned routing."""
    experts_per_task: int | None = None
    """Each task's router sees a window of this many experts (M3ViT's `regu_experts_fromtask`)."""
    prune_scores: float = 0.0
    """Kept scores at or below this are set to zero (M3ViT's `expert_prune` uses 0.1)."""
    decoder: DecoderConfig | None = DecoderConfig()
    """None for an encoder alone, whose output is the tokens."""

    def __post_init__(self) -> None:
        for name in ("image_height", "image_width"):
            value = getattr(self, name)
            if value <= 0 or value % self.patch_size:
                raise ValueError(
                    f"{name} {value} is not a multiple of patch_size {self.patch_size}"
                )
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")
        if not self.tasks:
            raise ValueError("tasks is empty: a model needs at least one task")
        names = [task.name for task in self.tasks]
        if len(set(names)) != len(names):
            raise ValueError(f"tasks {names} hold a name twice")
        if (self.routing is Routing.TASK_CONDITIONED) != (self.task_embedding > 0):
            raise ValueError(
                f"task_embedding {self.task_embedding} does not go with routing {self.routing}: "
                "task_conditioned wants a width above 0, every other routing wants 0"
            )
        for task in range(len(self.tasks)):
            window = self.expert_window(task)
            if window.stop > self.experts:
                raise ValueError(
                    f"experts_per_task {self.experts_per_task}: the window of task {names[task]!r} "
                    f"ends at expert {window.stop} of {self.experts}; M3ViT's cumulative starts "
                    "leave the bank for this many tasks, so no such checkpoint can have run"
                )
            if not 1 <= self.top_k <= len(window):
                raise ValueError(f"top_k {self.top_k} is not between 1 and {len(window)} experts")

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_height // self.patch_size, self.image_width // self.patch_size

    @property
    def tokens(self) -> int:
        """Patches and the class token."""
        return self.grid[0] * self.grid[1] + 1

    def has_experts(self, block: int) -> bool:
        return block % 2 == 1

    def expert_window(self, task: int) -> range:
        """The experts that the router of `task` may choose from.

        M3ViT adds up int(i (E - n) / (T - 1)) over the tasks i = 0 ... t to find the start.
        """
        if self.experts_per_task is None:
            return range(self.experts)
        spread = self.experts - self.experts_per_task
        gaps = max(len(self.tasks) - 1, 1)
        start = sum(i * spread // gaps for i in range(task + 1))
        return range(start, start + self.experts_per_task)
