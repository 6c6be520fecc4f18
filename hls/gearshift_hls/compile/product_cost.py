"""What the commands of the product unit cost: Linear, Experts, Convolution, Attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from gearshift_hls.build import BEAT_BYTES, CHANNEL_BYTES, Build
from gearshift_hls.compile.cost_model import Work
from gearshift_hls.descriptor import (
    ITEM_BYTES,
    SCRATCH,
    Attention,
    Convolution,
    Experts,
    Format,
    Linear,
)


@dataclass
class Pipeline:
    """The product unit: loads into two halves of a buffer, the array, two banks of sums. All times
    are cycles from the command's start."""

    work: Work
    loaded: float = 0.0
    last_tiles: int = 0
    """Of a row of the block, those that come last."""
    multiplied: float = 0.0
    """The last row of the tile before has entered the array."""
    halves: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """When the blocks before were multiplied."""
    banks: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """When the sums of the tiles before have left."""
    array: float = 0.0
    weights: float = 0.0
    ahead: float = 0.0
    """Cycles that external memory is ahead of the array with weights."""

    def load(self, cycles: float, first: float | None = None, last_tiles: int = 0) -> None:
        """A block of rows; multiplying may begin when its `first` cycles have passed, and the last
        `last_tiles` tiles of inputs when all is there."""
        begin = max(self.loaded, self.halves[-2])
        self.loaded = begin + cycles
        self.last_tiles = last_tiles
        self.wait(begin + (cycles if first is None else first))

    def wait(self, until: float) -> None:
        self.multiplied = max(self.multiplied, until)

    def ask_weights(self, now: float) -> None:
        """The first weights of the command are asked for."""
        model = self.work.model
        there = now + model.read_latency + model.weight_cycles
        self.wait(there)
        self.ahead = self.multiplied - there

    def asked_before(self, cycles: float) -> None:
        """The first weights were asked for before the command: the memory is ahead by `cycles`."""
        self.ahead = min(self.room(), cycles + self.multiplied)

    def room(self) -> float:
        """Cycles of weights that the ports' queues hold."""
        model, build = self.work.model, self.work.build
        rate = self.work.external_rate * model.weight_share
        return build.weight_ports * model.queue_beats * BEAT_BYTES / rate

    def multiply(self, rows: int, inputs: int, outputs: int, result_cycles: float) -> None:
        """A product; `result_cycles`: of a row's tile of results."""
        model, build = self.work.model, self.work.build
        tiles_in, tiles_out = inputs // build.input_lanes, outputs // build.output_lanes
        tiles = tiles_in * tiles_out
        tile_beats = build.port_lanes * build.input_lanes // BEAT_BYTES
        parameter_beats = build.port_lanes * CHANNEL_BYTES // BEAT_BYTES
        loading = tiles * (tile_beats + model.swap_cycles) + tiles_out * parameter_beats
        busy = max(tiles * max(rows, model.least_tile_cycles), loading)
        cycles = self.stream(build.weight_ports * build.stream_bytes(inputs, outputs), busy)
        self.array += tiles * rows
        self.weights += cycles - tiles * rows
        for tile in range(tiles_out):
            self.wait(self.banks[-2])
            self.multiplied += cycles / tiles_out
            if tile == 0:
                self.wait(self.loaded + rows * self.last_tiles)
            self.drain(rows * result_cycles, self.multiplied)

    def drain(self, cycles: float, ready: float) -> None:
        """The sums of a bank leave; its last row entered the array at `ready`."""
        begin = max(self.banks[-1], ready + self.work.model.sums_cycles)
        self.banks = [self.banks[-1], begin + cycles]

    def stream(self, nbytes: int, busy: float) -> float:
        """Cycles of a product that takes `busy` when its weights are there."""
        model = self.work.model
        self.work.weight_bytes += nbytes
        rate = self.work.external_rate * model.weight_share
        streaming = nbytes / rate
        cycles = max(busy, streaming - self.ahead)
        self.ahead = min(self.room(), self.ahead + cycles - streaming)
        return cycles

    def end_block(self) -> None:
        self.halves = [self.halves[-1], self.multiplied]

    def end(self, latency: float) -> None:
        """All is in memory; `latency`: of the pipelines, `sums_cycles` included."""
        total = max(self.multiplied, self.banks[-1] - self.work.model.sums_cycles)
        cycles = self.work.cycles
        cycles["array"] += self.array
        cycles["weights"] += self.weights
        cycles["activations"] += total - self.array - self.weights
        cycles["latency"] += latency


def linear(work: Work, command: Linear, _: Sequence[int]) -> None:
    build, pipeline = work.build, Pipeline(work)
    item = ITEM_BYTES[Format(command.format)]
    nbytes = item * build.output_lanes
    result_cycles = work.result_cycles(command.y, nbytes)
    if command.format == Format.RESIDUAL and command.residual < SCRATCH:
        result_cycles = max(result_cycles, nbytes / BEAT_BYTES)
    for number, rows in enumerate(_groups(command.rows, _block_rows(build, command.inputs))):
        pipeline.load(*_by_columns(work, command.x, rows, command.inputs))
        if number == 0:
            pipeline.ask_weights(0)
        pipeline.multiply(rows, command.inputs, command.outputs, result_cycles)
        pipeline.end_block()
        work.count(command.y, item * rows * command.outputs)
        if command.format == Format.RESIDUAL:
            work.count(command.residual, item * rows * command.outputs)
    if command.format == Format.RESIDUAL and command.residual < SCRATCH:
        work.cycles["latency"] += work.model.read_latency
    work.acknowledgement(command.y)
    pipeline.end(work.model.product_cycles)


def _by_columns(work: Work, address: int, rows: int, row_bytes: int) -> tuple[float, float, int]:
    """What `Pipeline.load` takes: the first columns of all rows come first, two lines of on-chip
    memory, `column_bytes` of external memory, if rows are longer; see `loader.sv`."""
    model, line = work.model, work.build.input_lanes
    cycles = work.read(address, rows, row_bytes)
    if address >= SCRATCH:
        return cycles, rows, min(2, row_bytes // line)
    if row_bytes <= model.column_bytes:
        return cycles, cycles, 0
    first = model.read_latency + rows * model.column_bytes / BEAT_BYTES
    return cycles, first, ceil(row_bytes % model.column_bytes or model.column_bytes) // line


def _block_rows(build: Build, inputs: int) -> int:
    """A power of two, as many as half of the input buffer has room for; see `linear_plan.sv`."""
    tiles = inputs // build.input_lanes
    half = build.input_bytes // build.input_lanes // 2
    fit = (half.bit_length() - 1) - (tiles - 1).bit_length()
    return min(1 << max(0, fit), build.max_tokens)


def experts(work: Work, command: Experts, tokens_per_expert: Sequence[int]) -> None:
    build, model, pipeline = work.build, work.model, Pipeline(work)
    nbytes = ITEM_BYTES[Format.RESIDUAL] * build.output_lanes
    result_cycles = work.result_cycles(command.y, nbytes)
    # The counts, then the first queue.
    reading = model.request_cycles
    if command.queues < SCRATCH:
        reading += model.read_latency
    start = 2.0 * reading
    pipeline.wait(start)
    pipeline.loaded = start
    pipeline.load(*_by_columns(work, command.x, command.tokens, command.channels))
    ahead = _experts_ahead(work, command, tokens_per_expert)
    if ahead:
        pipeline.asked_before(ahead)
    else:
        pipeline.ask_weights(start)
    work.count(command.queues, 4 * command.experts)
    for tokens in tokens_per_expert:
        if not tokens:
            continue
        work.count(command.queues, 4 * tokens)
        before = pipeline.multiplied
        pipeline.multiply(tokens, command.channels, command.hidden, 1)
        period = (pipeline.multiplied - before) * build.input_lanes * build.output_lanes
        period /= command.channels * command.hidden
        # The last hidden values are needed by the last tile of inputs.
        later = (command.hidden // build.input_lanes - 1) * period
        pipeline.wait(pipeline.multiplied + tokens + model.hidden_cycles - later)
        pipeline.multiply(tokens, command.hidden, command.channels, result_cycles)
        pipeline.multiplied += model.expert_cycles
        work.count(command.y, 2 * ITEM_BYTES[Format.RESIDUAL] * tokens * command.channels)
    work.acknowledgement(command.y)
    pipeline.end(model.product_cycles)


def _experts_ahead(work: Work, command: Experts, tokens_per_expert: Sequence[int]) -> float:
    """Cycles of weights that come while the router before fills the queues: those of the first
    experts, each once a token has chosen it, at even distances; see `experts_ahead.sv`."""
    model, build = work.model, work.build
    token = model.token_cycles(command.experts, command.channels, build.input_lanes)
    end = command.tokens * token
    rate = work.external_rate * model.weight_share
    expert = build.weight_ports * build.expert_bytes(command.channels, command.hidden) / rate
    now = ahead = 0.0
    for tokens in tokens_per_expert[: model.experts_ahead]:
        now = max(now, end / (tokens + 1))
        ahead += min(expert, end - now)
        now = min(end, now + expert)
    return ahead


def convolution(work: Work, command: Convolution, _: Sequence[int]) -> None:
    build, pipeline = work.build, Pipeline(work)
    line = command.width * command.inputs
    result_cycles = work.result_cycles(command.y, build.output_lanes)
    for number, rows in enumerate(_groups(command.height, _map_rows(build, command))):
        # A row more on each side that is not the map's border.
        sides = (number > 0) + ((number + 1) * _map_rows(build, command) < command.height)
        pipeline.load(_map_load(work, command, rows + sides))
        if number == 0:
            pipeline.ask_weights(0)
        pixels = rows * command.width
        pipeline.multiply(pixels, 9 * command.inputs, command.outputs, result_cycles)
        if 6 * line <= build.input_bytes:
            pipeline.end_block()
        else:
            pipeline.halves = [pipeline.multiplied] * 2
        work.count(command.y, pixels * command.outputs)
    work.acknowledgement(command.y)
    pipeline.end(work.model.product_cycles)


def _map_rows(build: Build, command: Convolution) -> int:
    """Rows of a block; see `convolution_plan.sv`."""
    line = command.width * command.inputs
    room = build.input_bytes // 2 if 6 * line <= build.input_bytes else build.input_bytes
    return max(1, min(room // line - 2, build.max_tokens // 4 // command.width, command.height))


def _map_load(work: Work, command: Convolution, rows: int) -> float:
    """Cycles to load `rows` of the map, which is enlarged if asked: a line a cycle."""
    line = command.width * command.inputs
    if not command.upsample:
        return work.read(command.x, rows, line)
    model, build = work.model, work.build
    taken = rows // 2 + 1
    reading = work.read(command.x, taken, line // 2) + taken * model.request_cycles
    if command.x < SCRATCH:
        reading += (taken - 1) * model.read_latency
    tiles = command.inputs // build.input_lanes
    return reading + rows * (line / build.input_lanes + 2 * tiles + model.enlarged_row_cycles)


def attention(work: Work, command: Attention, _: Sequence[int]) -> None:
    """Head by head, set by set of queries; for every block of keys one pass for the scores and one
    for the values; see `attention_plan.sv`."""
    build, model, pipeline = work.build, work.model, Pipeline(work)
    tokens, head_dim, lanes = command.tokens, command.head_dim, build.output_lanes
    tiles, blocks = head_dim // lanes, ceil(tokens / lanes)
    result_cycles = max(model.final_cycles, work.result_cycles(command.y, lanes))
    work.parameters(command)
    asked = 0.0
    dividing = 0.0  # of the set before, which waits for the final division
    ready = 0.0
    for head in range(command.heads):
        # Keys and values; the first keys once more, into the array.
        loading = work.read(command.x, 2 * tokens, head_dim) + (lanes if head == 0 else 0)
        for queries in _groups(tokens, build.max_tokens * lanes // build.max_head_dim // 2):
            pipeline.loaded = asked
            pipeline.load(loading + work.read(command.x, queries, head_dim))
            loading = 0.0
            pipeline.wait(pipeline.banks[-1])
            tile = max(queries, lanes + 1)
            multiplying = 2 * blocks * tiles * tile
            pipeline.multiplied += multiplying
            pipeline.array += 2 * blocks * tiles * queries
            pipeline.weights += multiplying - 2 * blocks * tiles * queries
            if blocks == 1:
                pipeline.multiplied += max(0, model.score_cycles - tile)
            # The division begins when the softmax stands still, which few queries never let it.
            if blocks > 1 and queries + model.score_cycles > 2 * tiles * tile:
                ready = pipeline.multiplied
            pipeline.drain(dividing, ready)
            dividing, ready = tiles * queries * result_cycles, pipeline.multiplied
            asked = pipeline.multiplied - model.passes_ahead * tiles * tile
            work.count(command.y, queries * head_dim)
    pipeline.drain(dividing, ready)
    work.acknowledgement(command.y)
    pipeline.end(model.attention_cycles)


def _groups(rows: int, most: int) -> list[int]:
    """`rows` as groups of at most `most`."""
    return [min(most, rows - start) for start in range(0, rows, most)]
