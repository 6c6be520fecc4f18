"""Constants of the cost model, and a descriptor's cycles and bytes added up; see `estimate.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from gearshift_hls.board import Board
from gearshift_hls.build import BEAT_BYTES, Build
from gearshift_hls.descriptor import SCRATCH, Command

CAUSES = ("array", "weights", "activations", "unit", "latency", "memory")
"""What cycles go to: rows through the array; waiting for weights; waiting for activations or for
room for results; the unit of norm, route or resize; filling and emptying pipelines, memory's
latency; its rate, beyond all the others."""


@dataclass(frozen=True)
class CostModel:
    """Constants of the model: cycles where nothing else is said.

    The memory's rate and latency are assumed, and RTL simulation assumes the same
    (`rtl_simulation.assumed_memory`). The others are the structure of `hls/rtl`, or were fitted to
    its simulation where they are the length of a pipeline.
    """

    memory_efficiency: float = 0.75
    """Share of the external memory's peak rate that long bursts reach."""
    read_latency: int = 60
    """From a read of external memory to its first beat, and from a write's last beat to its
    acknowledgement."""
    bursts: int = 16
    """Writes that wait for their acknowledgement at most."""
    weight_share: float = 0.99
    """Of the rate, what the weight ports reach: the array waits for the slowest of them."""
    queue_beats: int = 2048
    """Beats of weights that a port's queue holds."""
    swap_cycles: int = 1
    """Between the last beat of a tile's weights and the first of the next one's."""
    experts_ahead: int = 4
    """Experts, not cycles: whose weights are asked for at most while their queues are filled."""
    least_tile_cycles: int = 8
    """Of a tile in the array, however few its rows."""
    product_cycles: int = 66
    """From a product's start to its first row and from its last sum to memory."""
    sums_cycles: int = 20
    """From the last row to the first sum, and until the bank of sums is free."""
    weight_cycles: int = 12
    """From a product's start to the address of its weights, and to the array."""
    hidden_cycles: int = 45
    """From the last row of an expert's first product to its hidden values."""
    expert_cycles: int = 20
    """From an expert's last row to the next one's first."""
    attention_cycles: int = 80
    """As `product_cycles`, with softmax and division."""
    score_cycles: int = 57
    """From a row's scores to its weights for the values."""
    final_cycles: int = 2
    """Of attention's final division, a row of a tile."""
    column_bytes: int = 256
    """Of a row of external memory, what is loaded at a time, all rows before the next."""
    passes_ahead: int = 8
    """Passes that a plan is ahead of the array, and so its loads."""
    enlarged_row_cycles: int = 12
    """To start and to end a row of a map that a convolution enlarges."""
    request_cycles: int = 8
    """From a request to the first word of on-chip memory."""
    norm_cycles: int = 62
    """Of a norm's pipeline, beside two rows."""
    route_experts: int = 4
    """Experts, not cycles: that a router multiplies at a time."""
    route_cycles: int = 115
    """Of a router's pipeline, from the last token's last channels on."""
    queue_cycles: float = 3.3
    """To end an expert's queue."""
    resize_cycles: int = 2
    """Of a word of results."""
    resize_results: int = 16
    """Words that wait for the writer at most."""

    def token_cycles(self, experts: int, channels: int, lanes: int) -> float:
        """Of a token in the router: a group of experts with a word of channels a cycle, and an
        expert's score a cycle."""
        return max(experts, ceil(experts / self.route_experts) * channels / lanes)


ASSUMED = CostModel()


@dataclass
class Work:
    """A descriptor's cycles and bytes, added up."""

    board: Board
    model: CostModel
    weight_bytes: int = 0
    external_bytes: int = 0
    """Of activations."""
    scratch_bytes: int = 0
    cycles: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0.0))

    @property
    def build(self) -> Build:
        return self.board.build

    @property
    def external_rate(self) -> float:
        """Bytes a cycle that external memory gives."""
        clock = 1e6 * self.board.clock_mhz
        return self.board.memory_bytes_per_second * self.model.memory_efficiency / clock

    def count(self, address: int, nbytes: int) -> None:
        """Bytes of activations."""
        if address >= SCRATCH:
            self.scratch_bytes += nbytes
        else:
            self.external_bytes += nbytes

    def read(self, address: int, rows: int, row_bytes: int) -> float:
        """Cycles to read rows that lie side by side."""
        self.count(address, rows * row_bytes)
        if address >= SCRATCH:
            return rows * ceil(row_bytes / (2 * self.build.input_lanes))
        return rows * row_bytes / BEAT_BYTES + self.model.read_latency

    def result_cycles(self, address: int, nbytes: int) -> float:
        """Of a row's tile of results on its way to memory; two lines a cycle on the chip."""
        if address >= SCRATCH:
            return ceil(nbytes / (2 * self.build.output_lanes))
        beats = nbytes / BEAT_BYTES
        return max(beats, (self.model.read_latency + beats + 2) / self.model.bursts)

    def acknowledgement(self, *addresses: int) -> None:
        """Of the last write, if one of these results goes to external memory; 0: there is none."""
        if any(0 < address < SCRATCH for address in addresses):
            self.cycles["latency"] += self.model.read_latency

    def parameters(self, command: Command) -> None:
        """All constants of a command, read once before it begins."""
        regions = command.regions(self.build)
        nbytes = sum(one.nbytes for one in regions if one.access == "constant")
        self.weight_bytes += nbytes
        self.cycles["activations"] += nbytes / BEAT_BYTES
        self.cycles["latency"] += self.model.read_latency
