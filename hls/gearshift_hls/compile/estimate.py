"""What every descriptor costs on the RTL of `hls/rtl`, from one stated model: an estimate.

Constants stand in `cost_model.py`, the product unit's pipeline in `product_cost.py`.

- Array: it holds one tile of weights (input_lanes x output_lanes) and takes one row a cycle. A tile
  costs the greatest of its rows, of loading the next one (a beat of every port a cycle), and of
  `least_tile_cycles`. External memory fills the ports' queues ahead of the array, at its rate; what
  exceeds the rows is waiting for weights.
- Rows come in blocks of as many as half of the input buffer holds; weights are streamed again for
  every block. The next block is loaded while one multiplies, and the sums of a tile of outputs
  leave while the next one multiplies. What shows is the first load, the last tile's results, and
  whatever is slower than the array.
- On-chip memory moves a word of two lines a cycle, external memory a beat of 16 bytes a cycle. A
  row of results is a burst of its own there; no more than `bursts` wait for their acknowledgement.
- Experts follow each other through that pipeline; an expert's second product waits for the first
  one's last hidden values. The first experts' weights come while the router before fills the queues
  (a command is estimated as if it followed its router).
- Attention: a head's queries, or a set of them, stream through blocks of keys, then of values. The
  final division takes `final_cycles` a row and tile; the next set's rows are loaded while the last
  `passes_ahead` passes run.
- Units: a norm takes a word a cycle; a router multiplies `route_experts` experts with a word of
  channels a cycle; enlarging takes `resize_cycles` a word of the result.
- A descriptor takes no less than its external bytes at `memory_efficiency` of the peak rate.

Held against RTL simulation with the same memory: see `AGREEMENT`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from gearshift_hls.board import Board
from gearshift_hls.build import BEAT_BYTES
from gearshift_hls.compile.cost_model import ASSUMED, CostModel, Work
from gearshift_hls.compile.product_cost import attention, convolution, experts, linear
from gearshift_hls.descriptor import (
    SCRATCH,
    Attention,
    Command,
    Convolution,
    End,
    Experts,
    Linear,
    Norm,
    Resize,
    Route,
)

ESTIMATE = "estimate, not measured"
AGREEMENT = (
    "against RTL simulation with the same memory and the same tokens an expert: tasks within 1 %, "
    "commands of a kind together within 1 %, single descriptors within 3 % (demo's tasks and "
    "tiny's encoder)"
)


@dataclass(frozen=True)
class Estimate:
    """Of one descriptor."""

    cycles_by_cause: Mapping[str, float]
    """By each of `CAUSES`."""
    weight_bytes: int
    """Weights and parameters read."""
    external_bytes: int
    """Everything read from and written to external memory, weights included."""
    scratch_bytes: int
    """Read from and written to on-chip memory."""

    @property
    def cycles(self) -> float:
        return sum(self.cycles_by_cause.values())

    @property
    def bound(self) -> str:
        """What most of the cycles go to."""
        return max(self.cycles_by_cause, key=self.cycles_by_cause.__getitem__)


def estimate_program(
    commands: Sequence[Command],
    board: Board,
    shares: Sequence[Sequence[float]] | None = None,
    model: CostModel = ASSUMED,
) -> list[Estimate]:
    """Of every command of one task.

    Args:
        shares: for every expert mixture in order, the share of its choices on each expert, as
            `gearshift.expert_profile.card_shares` has them; None: all alike.
    """
    found: list[Estimate] = []
    tokens: Sequence[int] = ()
    mixtures = iter(shares or ())
    for command in commands:
        if isinstance(command, Route):
            tokens = expected_tokens(command, next(mixtures, None))
        found.append(estimate(command, board, tokens, model))
    return found


def expected_tokens(route: Route, shares: Sequence[float] | None = None) -> list[int]:
    """Tokens in the queue of each expert: shares of all choices, to the nearest number."""
    even = [1 / route.experts] * route.experts
    choices = route.tokens * route.top_k
    return [min(route.tokens, round(share * choices)) for share in shares or even]


def estimate(
    command: Command,
    board: Board,
    tokens_per_expert: Sequence[int] = (),
    model: CostModel = ASSUMED,
) -> Estimate:
    """Of one command.

    Args:
        tokens_per_expert: of an `Experts`; weights of an expert without tokens are not read.
    """
    work = Work(board, model)
    _WORK[type(command)](work, command, tokens_per_expert)
    least = (work.weight_bytes + work.external_bytes) / work.external_rate
    work.cycles["memory"] = max(0.0, least - sum(work.cycles.values()))
    return Estimate(
        work.cycles,
        work.weight_bytes,
        work.weight_bytes + work.external_bytes,
        work.scratch_bytes,
    )


def _norm(work: Work, command: Norm, _: Sequence[int]) -> None:
    """A word of a residual row a cycle, rows behind each other; see `norm.sv`."""
    model, values = work.model, command.rows * command.channels
    work.parameters(command)
    words = command.channels / (work.build.input_lanes / 2)
    work.count(command.x, 4 * values)
    written = [(command.y, values), (command.normalised, 2 * values)]
    for address, nbytes in written[: 2 if command.normalised else 1]:
        work.count(address, nbytes)
    reading = 4 * values if command.x < SCRATCH else 0
    writing = sum(nbytes for address, nbytes in written if 0 < address < SCRATCH)
    moving = max(reading, writing) / BEAT_BYTES
    work.cycles["unit"] += command.rows * words
    work.cycles["activations"] += max(0.0, moving - command.rows * words)
    work.cycles["latency"] += model.norm_cycles + 2 * words
    work.acknowledgement(command.y, command.normalised)


def _route(work: Work, command: Route, _: Sequence[int]) -> None:
    """A token: some experts times a line of channels a cycle; see `route.sv`."""
    model, tokens, experts = work.model, command.tokens, command.experts
    work.parameters(command)
    token = model.token_cycles(experts, command.channels, work.build.input_lanes)
    work.count(command.normalised, 2 * tokens * command.channels)
    work.count(command.queues, 4 * (tokens * command.top_k + experts))
    work.cycles["unit"] += tokens * token + experts * model.queue_cycles
    if command.normalised < SCRATCH:
        moving = 2 * tokens * command.channels / BEAT_BYTES
        work.cycles["activations"] += max(0.0, moving - tokens * token)
    work.cycles["latency"] += model.route_cycles
    work.acknowledgement(command.queues)


def _resize(work: Work, command: Resize, _: Sequence[int]) -> None:
    """A row of the map is read, then two rows of results are computed; what waits for the writer
    covers a part of the reading; see `resize.sv`."""
    model, height = work.model, command.height
    row_bytes = 2 * command.width * command.channels
    word_bytes = 2 * work.build.input_lanes
    is_outside = command.x < SCRATCH
    reading = row_bytes / (BEAT_BYTES if is_outside else word_bytes)
    work.count(command.x, height * row_bytes)
    work.count(command.y, 4 * height * row_bytes)
    computing = reading + model.resize_cycles * 4 * row_bytes / word_bytes + 4
    writing = 0.0
    if command.y < SCRATCH:
        covered = model.resize_results * word_bytes / BEAT_BYTES
        writing = 4 * row_bytes / BEAT_BYTES + max(0.0, reading - covered)
    work.cycles["unit"] += height * computing
    work.cycles["activations"] += height * max(0.0, writing - computing) + reading
    work.cycles["latency"] += model.request_cycles + (model.read_latency if is_outside else 0)
    work.acknowledgement(command.y)


def _end(work: Work, command: End, _: Sequence[int]) -> None:
    """Fetched and taken while the command before runs."""


_WORK = cast(
    Mapping[type[Command], Callable[[Work, Command, Sequence[int]], None]],
    {
        End: _end,
        Norm: _norm,
        Linear: linear,
        Attention: attention,
        Route: _route,
        Experts: experts,
        Convolution: convolution,
        Resize: _resize,
    },
)
