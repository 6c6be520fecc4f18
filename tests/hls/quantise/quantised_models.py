"""Random quantised tasks of awkward small shapes, and how a test runs them without the compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import prod
from typing import Any

import numpy as np

from gearshift.graph.card import TaskCard, TaskKind
from gearshift_hls import golden
from gearshift_hls import operations as ops
from gearshift_hls.board import Board, Resources
from gearshift_hls.build import SMALL_BUILD, Build
from gearshift_hls.descriptor import (
    DESCRIPTOR_BYTES,
    Attention,
    Command,
    Convolution,
    End,
    Experts,
    Linear,
    Norm,
    Resize,
    Route,
    align,
    encode,
)
from gearshift_hls.records import CHANNEL, HEAD, NORM, pack_stream

SMALL_BOARD = Board(
    name="small",
    part="none",
    board_part="none",
    clock_mhz=100.0,
    resources=Resources(lut=1, ff=1, dsp=1, bram=1, uram=1),
    build=SMALL_BUILD,
    memory_bytes=8 << 20,
    memory_bytes_per_second=1e9,
)


@dataclass
class ModelMaker:
    """A vision transformer like the real ones: patches, attention, experts, a decoder a task.

    `ModelMaker(seed).make()`: its quantised tasks; backbone constants are shared, routers and
    decoders are not.
    """

    seed: int = 0
    build: Build = SMALL_BUILD
    rows: int = 3
    columns: int = 4
    patch: int = 2
    true_channels: int = 21
    heads: int = 2
    blocks: int = 2
    hidden: int = 40
    experts: int = 5
    top_k: int = 2
    map_channels: int = 12
    decoders: bool = True
    in_place: bool = False
    """The residual stream keeps one name, instead of a new one after every sum."""
    tasks: tuple[str, ...] = ("rooms", "depth")
    tensors: dict[str, ops.Tensor] = field(default_factory=dict)
    operations: list[ops.Operation] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    shared: dict[str, Any] = field(default_factory=dict)

    def make(self) -> list[ops.Quantised]:
        return [self.task(number, name) for number, name in enumerate(self.tasks)]

    @property
    def channels(self) -> int:
        return self.padded(self.true_channels)

    @property
    def tokens(self) -> int:
        return 1 + self.rows * self.columns

    def padded(self, channels: int) -> int:
        multiple = self.build.channel_multiple
        return -(-channels // multiple) * multiple

    def task(self, number: int, name: str) -> ops.Quantised:
        self.tensors, self.operations, self.names = {}, [], []
        pixels = self.padded(3 * self.patch**2)
        patches = self.tensor("patches", (self.tokens, pixels), "uint8")
        table = self.constant("positions", self.table)
        stream = self.linear("embedding", patches, self.stream("embedding"), residual="positions")
        for block in range(self.blocks):
            stream = self.attention(f"blocks.{block}.attention", stream)
            if block % 2:
                stream = self.mixture(f"blocks.{block}", name, stream)
            else:
                stream = self.mlp(f"blocks.{block}.mlp", stream)
        output = self.decoder(f"decoders.{name}", stream) if self.decoders else stream
        return ops.Quantised(
            task=number,
            task_card=TaskCard(name, TaskKind.NORMALS if self.decoders else TaskKind.TOKENS, 3),
            height=self.rows * self.patch,
            width=self.columns * self.patch,
            input=ops.PatchInput(patches, self.patch, (0.0, -1.0, 0.5), (255.0, 127.0, 99.5)),
            output=ops.Output(output, 3 if self.decoders else self.true_channels, 2.0**-8),
            operations=tuple(self.operations),
            names=tuple(self.names),
            tensors=dict(self.tensors),
            tables={"positions": table},
        )

    def attention(self, name: str, stream: str) -> str:
        width = self.channels
        head_dim = self.padded(-(-self.true_channels // self.heads))
        inner = self.heads * head_dim
        x = self.norm(f"{name}.norm", stream, f"{name}.x")
        qkv = self.tensor(f"{name}.qkv", (self.tokens, 3 * inner), "int8")
        self.linear(f"{name}.qkv", x, qkv)
        mixed = self.tensor(f"{name}.mixed", (self.tokens, inner), "int8")
        heads = self.constant(f"{name}.heads", self.head_records)
        self.add(ops.Attention(f"{name}.heads", qkv, mixed, self.heads, head_dim, heads), name)
        assert width == self.tensors[stream].shape[1]
        return self.linear(f"{name}.proj", mixed, self.stream(name), residual=stream)

    def mlp(self, name: str, stream: str) -> str:
        x = self.norm(f"{name}.norm", stream, f"{name}.x")
        shape = (self.tokens, self.padded(self.hidden))
        hidden = self.linear(
            f"{name}.fc1", x, self.tensor(f"{name}.hidden", shape, "uint8"), gelu=True
        )
        return self.linear(f"{name}.fc2", hidden, self.stream(name), residual=stream)

    def mixture(self, name: str, task: str, stream: str) -> str:
        """The experts add to the residual stream in place."""
        normalised = self.tensor(f"{name}.normalised", (self.tokens, self.channels), "int16")
        x = self.norm(f"{name}.norm", stream, f"{name}.x", normalised)
        queues = self.tensor(f"{name}.queues", (self.experts, self.tokens), "queues")
        key = f"{name}.router.{task}"
        weights, biases = self.constant(key, self.router)
        self.add(
            ops.Route(key, normalised, queues, self.top_k, 40_000, 20, 3_000, weights, biases), key
        )
        bank = self.constant(f"{name}.experts", self.bank)
        self.add(
            ops.Experts(f"{name}.experts", x, queues, stream, bank, (33_000, 24), 5),
            f"{name}.experts",
        )
        return stream

    def decoder(self, name: str, stream: str) -> str:
        rows, columns = self.rows, self.columns
        features = self.tensor(f"{name}.features", (rows, columns, self.channels), "int8")
        self.norm(f"{name}.norm", stream, features, skip=1)
        shape = (rows, columns, self.padded(self.map_channels))
        middle = self.tensor(f"{name}.conv_0", shape, "uint8")
        self.convolution(f"{name}.conv_0", features, middle, upsample=False)
        shape = (2 * rows, 2 * columns, self.padded(self.map_channels))
        large = self.tensor(f"{name}.conv_1", shape, "uint8")
        self.convolution(f"{name}.conv_1", middle, large, upsample=True)
        head = self.tensor(f"{name}.head", (*shape[:2], self.padded(3)), "int16")
        self.linear(f"{name}.head", large, head)
        output = self.tensor(f"{name}.out", (4 * rows, 4 * columns, self.padded(3)), "int16")
        self.add(ops.Resize(head, output), f"{name}.out")
        return output

    def tensor(self, name: str, shape: tuple[int, ...], dtype: Any) -> str:
        self.tensors[name] = ops.Tensor(name, shape, dtype)
        return name

    def stream(self, name: str) -> str:
        name = "residual" if self.in_place else f"{name}.sum"
        return self.tensor(name, (self.tokens, self.channels), "int32")

    def norm(self, name: str, x: str, y: str, normalised: str | None = None, skip: int = 0) -> str:
        if y not in self.tensors:
            self.tensor(y, (self.tokens, self.channels), "int8")
        parameters = self.constant(name, self.norm_records)
        self.add(
            ops.Norm(name, x, skip, y, normalised, self.true_channels, 1e-6, 12, parameters), name
        )
        return y

    def linear(
        self, name: str, x: str, y: str, residual: str | None = None, gelu: bool = False
    ) -> str:
        outputs, inputs = self.tensors[y].shape[-1], self.tensors[x].shape[-1]
        loud = self.tensors[y].dtype != "int8"
        weights = self.constant(name, lambda random: self.product(random, outputs, inputs, loud))
        self.add(
            ops.Linear(
                name, x, y, residual, weights, (40_000, 23) if gelu else None, 7 if gelu else 0
            ),
            name,
        )
        return y

    def convolution(self, name: str, x: str, y: str, upsample: bool) -> None:
        outputs, inputs = self.tensors[y].shape[-1], 9 * self.tensors[x].shape[-1]
        weights = self.constant(name, lambda random: self.product(random, outputs, inputs))
        self.add(ops.Convolution(name, x, y, upsample, weights), name)

    def add(self, operation: ops.Operation, name: str) -> None:
        self.operations.append(operation)
        self.names.append(name)

    def constant(self, key: str, make: Any) -> Any:
        """The same for all tasks."""
        if key not in self.shared:
            random = np.random.default_rng([self.seed, *key.encode()])
            self.shared[key] = make(random)
        return self.shared[key]

    def table(self, random: np.random.Generator) -> np.ndarray:
        return random.integers(-(1 << 17), 1 << 17, (self.tokens, self.channels), np.int32)

    def product(
        self, random: np.random.Generator, outputs: int, inputs: int, loud: bool = False
    ) -> ops.Weights:
        """Results have about 6 bits, or 12 if `loud`."""
        channels = np.zeros(outputs, CHANNEL)
        channels["bias"] = random.integers(-2_000, 2_000, outputs)
        channels["multiplier"] = random.integers(1 << 15, 1 << 16, outputs)
        spread = int(np.log2(inputs) / 2)
        channels["shift"] = random.integers(22, 25, outputs) + spread - 6 * loud
        return ops.Weights(random.integers(-127, 128, (outputs, inputs), np.int8), channels)

    def norm_records(self, random: np.random.Generator) -> np.ndarray:
        records = np.zeros(self.channels, NORM)
        records["gain"] = random.integers(50, 250, self.channels)
        records["offset"] = random.integers(-30_000, 30_000, self.channels)
        return records

    def head_records(self, random: np.random.Generator) -> np.ndarray:
        records = np.zeros(self.heads, HEAD)
        records["score_multiplier"] = random.integers(1 << 15, 1 << 16, self.heads)
        records["score_shift"] = 18
        records["output_multiplier"] = random.integers(1 << 15, 1 << 16, self.heads)
        records["output_shift"] = 25
        return records

    def router(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        weights = random.integers(-3_000, 3_000, (self.experts, self.channels), np.int16)
        return weights, random.integers(-3_000, 3_000, self.experts, np.int32)

    def bank(self, random: np.random.Generator) -> tuple[tuple[ops.Weights, ops.Weights], ...]:
        hidden = self.padded(self.hidden)
        return tuple(
            (
                self.product(random, hidden, self.channels, loud=True),
                self.product(random, self.channels, hidden, loud=True),
            )
            for _ in range(self.experts)
        )


def run_alone(
    task: ops.Quantised, build: Build, picture: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The output's bytes, and every tensor's bytes when it was last written.

    The oracle of the compiler: each operation is a program of its own, in a memory of its own in
    which its tensors lie one behind the other, with values carried over by name.
    """
    values: dict[str, np.ndarray] = {task.input.tensor: picture.reshape(-1).view(np.uint8)}
    values |= {name: table.reshape(-1).view(np.uint8) for name, table in task.tables.items()}
    for operation in task.operations:
        _run_operation(operation, task, build, values)
    return values[task.output.tensor], values


def _run_operation(
    operation: ops.Operation,
    task: ops.Quantised,
    build: Build,
    values: dict[str, np.ndarray],
) -> None:
    command, constants, tensors, written = _plain_command(operation, task.tensors, build)
    memory = [np.zeros(2 * DESCRIPTOR_BYTES, np.uint8)]
    addresses: dict[str, int] = {}

    def add(field_name: str, data: np.ndarray) -> None:
        addresses[field_name] = sum(len(part) for part in memory)
        memory.append(np.pad(data, (0, align(len(data)) - len(data))))

    for name, array in constants.items():
        add(name, np.frombuffer(array, np.uint8))
    write_base = sum(len(part) for part in memory)
    places = {}
    for field_name, name in tensors.items():
        nbytes = task.tensors[name].nbytes if name in task.tensors else values[name].nbytes
        add(field_name, values.get(name, np.full(nbytes, 0x5A, np.uint8)))
        places[field_name] = addresses[field_name], nbytes
    if isinstance(operation, ops.Norm):
        addresses["x"] += operation.skip_rows * task.tensors[operation.x].shape[1] * 4
    command = replace(command, **addresses)
    memory[0] = np.frombuffer(encode(command) + encode(End()), np.uint8)
    image = np.concatenate(memory)
    ending = golden.run(build, image, write_base, 0)
    assert ending == golden.Ending(golden.Status.DONE, 1), (command, ending)
    for field_name in written:
        start, nbytes = places[field_name]
        values[tensors[field_name]] = image[start : start + nbytes].copy()


def _plain_command(
    operation: ops.Operation, tensors: Mapping[str, ops.Tensor], build: Build
) -> tuple[Command, dict[str, bytes], dict[str, str], tuple[str, ...]]:
    """The command without addresses; its constants; its tensors by field; the fields written.

    Written from the contract's words alone, not with the compiler's functions.
    """
    one: Any = operation
    if isinstance(operation, ops.Resize):
        sizes = tensors[one.x].shape
        return _command(Resize, *sizes), {}, {"x": one.x, "y": one.y}, ("y",)
    if isinstance(operation, ops.Norm):
        true = one.true_channels
        rows, channels = prod(tensors[one.y].shape[:-1]), tensors[one.y].shape[-1]
        integers = (round(2**26 / true), round(2**11 * np.sqrt(true)), round(2**32 * 1e-6 * true))
        command = _command(Norm, rows, channels, true, *integers, one.shift)
        fields_of = {"x": one.x, "y": one.y}
        if one.normalised:
            fields_of["normalised"] = one.normalised
        constants = {"parameters": one.parameters.tobytes()}
        return command, constants, fields_of, tuple(set(fields_of) - {"x"})
    if isinstance(operation, ops.Attention):
        command = _command(Attention, tensors[one.x].shape[0], one.heads, one.head_dim)
        constants = {"parameters": one.parameters.tobytes()}
        return command, constants, {"x": one.x, "y": one.y}, ("y",)
    if isinstance(operation, ops.Route):
        sizes = (*tensors[one.x].shape, len(one.weights), one.top_k)
        command = _command(Route, *sizes, one.multiplier, one.shift, one.prune)
        constants = {"weights": one.weights.tobytes(), "biases": one.biases.tobytes()}
        return command, constants, {"normalised": one.x, "queues": one.queues}, ("queues",)
    if isinstance(operation, ops.Experts):
        hidden = one.experts[0][0].weights.shape[0]
        sizes = (*tensors[one.x].shape, hidden, len(one.experts))
        streams = b"".join(_expert_stream(build, *expert) for expert in one.experts)
        fields_of = {"x": one.x, "queues": one.queues, "y": one.y}
        command = _command(Experts, *sizes, *one.gelu, one.zero)
        return command, {"weights": streams}, fields_of, ("y",)
    stream = pack_stream(build, one.weights.weights, one.weights.channels)
    x, y = tensors[one.x], tensors[one.y]
    unsigned = int(x.dtype == "uint8")
    if isinstance(operation, ops.Convolution):
        sizes = (*y.shape[:2], x.shape[-1], y.shape[-1], int(one.upsample), unsigned)
        return _command(Convolution, *sizes), {"weights": stream}, {"x": one.x, "y": one.y}, ("y",)
    kind = ("int8", "uint8", "int16", "int32").index(y.dtype)
    sizes = (prod(y.shape[:-1]), x.shape[-1], y.shape[-1], unsigned, kind)
    command = _command(Linear, *sizes, int(one.gelu is not None), *(one.gelu or (0, 0)), one.zero)
    fields_of = {"x": one.x, "y": one.y}
    if one.residual is not None:
        fields_of["residual"] = one.residual
    return command, {"weights": stream}, fields_of, ("y",)


def _expert_stream(build: Build, first: ops.Weights, second: ops.Weights) -> bytes:
    """Port by port: its part of the first product's stream, then of the second's."""
    one = pack_stream(build, first.weights, first.channels)
    two = pack_stream(build, second.weights, second.channels)
    ports = build.weight_ports
    size_one, size_two = len(one) // ports, len(two) // ports
    return b"".join(
        one[port * size_one : (port + 1) * size_one] + two[port * size_two : (port + 1) * size_two]
        for port in range(ports)
    )


def _command(kind: type[Command], *sizes: int) -> Any:
    """A command whose remaining words, its addresses, are 0."""
    return kind(*sizes, *[0] * (len(fields(kind)) - len(sizes)))
