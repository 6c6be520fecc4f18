"""From a graph to quantised tasks, layer by layer, all tasks in step.

At every layer each task has two runs over the calibration pictures: float32, and the integers that
the layers before it compute. A layer's scales come from the float32 run of all tasks; its biases
bring the mean of the integer run back to that of the float32 run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from gearshift.errors import BackendError, InputError
from gearshift.graph.graph import Graph
from gearshift.specialise import specialise
from gearshift.weights import WeightStore
from gearshift_hls import operations as ops
from gearshift_hls.build import Build
from gearshift_hls.fixed_point import RESIDUAL_BITS, SCORE_BITS, VALUE_BITS
from gearshift_hls.quantise.decoder import quantise_decoder
from gearshift_hls.quantise.emulate import gelu_table, hidden_values
from gearshift_hls.quantise.heads import head_parameters, mixed_coding, qkv_coding
from gearshift_hls.quantise.layers import Attention, Mixture, Mlp, Norm, Product
from gearshift_hls.quantise.limits import unsupported
from gearshift_hls.quantise.norms import norm_coding, norm_parameters, router_constants
from gearshift_hls.quantise.products import Seen, pad_weights, quantise_product
from gearshift_hls.quantise.reference import attend, linear, mixture, patches
from gearshift_hls.quantise.requantise import one_multiplier
from gearshift_hls.quantise.sample import seen, take
from gearshift_hls.quantise.scales import Coding, gelu_coding
from gearshift_hls.quantise.track import RESIDUAL, Track, patch_input
from gearshift_kernels.native.team import usable_processors

FEWEST_TOKENS = 64
"""An expert that fewer tokens chose in calibration keeps its biases uncorrected."""

LARGEST_VALUE = 32.0
"""What a number of 16 bits with `VALUE_BITS` of fraction holds."""

LARGEST_RESIDUAL = 1024.0
"""What a norm reads of the residual stream."""


class Quantiser:
    """All tasks of one graph."""

    def __init__(self, graph: Graph, build: Build, pictures: NDArray[np.float32]) -> None:
        if pictures.ndim != 4 or pictures.shape[1] != 3 or len(pictures) == 0:
            raise InputError(
                f"calibration pictures of shape {pictures.shape}: give (N, 3, H, W), at least one"
            )
        store = WeightStore(graph.weights)
        height, width = pictures.shape[2:]
        programs = [
            specialise(graph, task, 1, height, width, store)
            for task in range(len(graph.card.tasks))
        ]
        reasons = dict.fromkeys(
            reason for program in programs for reason in unsupported(program, build)
        )
        if reasons:
            raise BackendError(
                f"model {graph.card.name} does not fit the accelerator: {'; '.join(reasons)}"
            )
        patch = int(programs[0].steps[0].attributes["patch_size"])
        given = patch_input(graph.card.preprocessing, patch)
        with torch.inference_mode():
            self.tracks = [Track(build, program, pictures, given) for program in programs]
        self.model = self.tracks[0].model
        self.width = len(self.model.patches.weight)
        self.pad = self.tracks[0].pad

    def run(self) -> list[ops.Quantised]:
        # torch's threads spin while they wait, and stall for seconds where others want the cores.
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, usable_processors() // 2))
        try:
            return self._run()
        finally:
            torch.set_num_threads(threads)

    def _run(self) -> list[ops.Quantised]:
        parts = len(self.model.blocks) + len(self.tracks)
        with (
            torch.inference_mode(),
            tqdm(total=parts, desc="quantise", unit="layer", delay=2, leave=False) as progress,
        ):
            self._patches()
            for number, layer in enumerate(self.model.blocks):
                self._check_residual(layer.norm.name)
                if isinstance(layer, Attention):
                    self._attention(layer)
                elif isinstance(layer, Mlp):
                    self._mlp(layer)
                else:
                    blocks = [track.model.blocks[number] for track in self.tracks]
                    self._mixture([each for each in blocks if isinstance(each, Mixture)])
                progress.update()
            results = []
            for track in self.tracks:
                if track.model.decoder is None:
                    output = ops.Output(RESIDUAL, self.width, 2.0**-RESIDUAL_BITS)
                else:
                    self._check_residual(track.model.decoder.norm.name)
                    output = quantise_decoder(track, track.model.decoder)
                results.append(track.result(output))
                progress.update()
        return results

    # --- Patches ---------------------------------------------------------------------------------

    def _patches(self) -> None:
        """Row 0, all zeros, must give the class token exactly: all constants are in the table."""
        layer, given = self.model.patches, self.tracks[0].given
        pixels = layer.patch_size**2
        coding = Coding(
            np.repeat(1 / np.array(given.scale), pixels), np.repeat(np.array(given.low), pixels)
        )
        found = seen(
            [patches(track.pictures, layer.patch_size) for track in self.tracks],
            [track.emulation.tensors[given.tensor][:, 1:] for track in self.tracks],
            np.arange(3 * pixels),
        )
        product = Product(layer.weight, np.zeros(self.width))
        weights = self._product(product, coding, found, self._residual_coding(), layer.name)
        channels = weights.channels.copy()
        constant = channels["bias"] * (channels["multiplier"] / 2.0 ** channels["shift"])
        channels["bias"] = 0
        table = np.zeros((len(layer.table), self.pad(self.width)))
        table[:, : self.width] = layer.table * 2.0**RESIDUAL_BITS
        table[1:] += constant
        rows = np.rint(table).astype(np.int32)
        operation = ops.Linear(
            layer.name,
            given.tensor,
            RESIDUAL,
            f"{layer.name}.table",
            replace(weights, channels=channels),
        )
        for track in self.tracks:
            track.tables[f"{layer.name}.table"] = rows
            track.declare(RESIDUAL, rows.shape, "int32")
            track.emit(layer.name, operation)
            track.forget(given.tensor)

    # --- Blocks ----------------------------------------------------------------------------------

    def _norm(
        self, norm: Norm, values: Sequence[Tensor], readers: Sequence[Product], routed: bool = False
    ) -> Coding:
        """The norm before a block, its results coded for the products that read them."""
        coding = norm_coding(take(values), readers)
        shift, parameters = norm_parameters(norm, coding, self.pad(self.width))
        shape = (self.tracks[0].tokens, self.pad(self.width))
        operation = ops.Norm(
            norm.name,
            RESIDUAL,
            0,
            norm.name,
            f"{norm.name}.normalised" if routed else None,
            self.width,
            norm.epsilon,
            shift,
            parameters,
        )
        for track in self.tracks:
            track.declare(norm.name, shape, "int8")
            if operation.normalised:
                track.declare(operation.normalised, shape, "int16")
            track.emit(norm.name, operation)
        return coding

    def _attention(self, layer: Attention) -> None:
        heads, head_dim = layer.heads, self.width // layer.heads
        padded = self.pad(head_dim)
        values = [track.normalised(layer.norm) for track in self.tracks]
        coding = self._norm(layer.norm, values, [layer.qkv])
        columns = np.arange(self.width)
        found = seen(values, self._integers(layer.norm.name), columns)
        qkv = [linear(each, layer.qkv) for each in values]
        mixed = [attend(each, heads) for each in qkv]
        qkv_code, step = qkv_coding(take(qkv).reshape(-1, 3, heads, head_dim))
        mixed_code, ratio = mixed_coding(take(mixed), qkv_code, heads)
        names = [f"{layer.name}.{part}" for part in ("qkv", "heads", "proj")]
        weights = quantise_product(layer.qkv, coding, found, qkv_code, names[0])
        whole_heads, place = np.divmod(np.arange(3 * self.width), head_dim)
        rows = whole_heads * padded + place
        weights = pad_weights(weights, rows, columns, 3 * heads * padded, self.pad(self.width))
        parameters = head_parameters(step, ratio, head_dim, names[1])
        product = ops.Linear(names[0], layer.norm.name, names[0], None, weights)
        mix = ops.Attention(names[1], names[0], names[1], heads, padded, parameters)
        for track in self.tracks:
            track.declare(names[0], (track.tokens, 3 * heads * padded), "int8")
            track.declare(names[1], (track.tokens, heads * padded), "int8")
            track.emit(names[0], product)
            track.emit(names[1], mix)
            track.forget(layer.norm.name, names[0])
        self._into_residual(layer.proj, mixed_code, mixed, names[1], rows[: self.width], names[2])

    def _mlp(self, layer: Mlp) -> None:
        values = [track.normalised(layer.norm) for track in self.tracks]
        coding = self._norm(layer.norm, values, [layer.fc1])
        found = seen(values, self._integers(layer.norm.name), np.arange(self.width))
        before = [linear(each, layer.fc1) for each in values]
        self._check_gelu(layer.name, before)
        hidden = [F.gelu(each) for each in before]
        scale, zero = gelu_coding(take(hidden))
        inner = len(layer.fc1.weight)
        weights = self._product(layer.fc1, coding, found, _value_coding(inner), layer.name)
        name = f"{layer.name}.fc1"
        gelu = one_multiplier(2.0**-SCORE_BITS / scale, layer.name)
        operation = ops.Linear(name, layer.norm.name, name, None, weights, gelu, zero)
        for track in self.tracks:
            track.declare(name, (track.tokens, self.pad(inner)), "uint8")
            track.emit(name, operation)
            track.forget(layer.norm.name)
        self._into_residual(
            layer.fc2, _gelu_coding(scale, zero, inner), hidden, name, np.arange(inner),
            f"{layer.name}.fc2",
        )  # fmt: skip

    def _into_residual(
        self, product: Product, coding: Coding, values: Sequence[Tensor], x: str,
        columns: NDArray[np.int64], name: str,
    ) -> None:  # fmt: skip
        """A block's last product, added to the residual stream; `values` are the float32 run's."""
        found = seen(values, self._integers(x), columns)
        weights = quantise_product(product, coding, found, self._residual_coding(), name)
        padded = self.tracks[0].tensors[x].shape[-1]
        weights = pad_weights(weights, np.arange(self.width), columns, self.pad(self.width), padded)
        operation = ops.Linear(name, x, RESIDUAL, RESIDUAL, weights)
        for track, value in zip(self.tracks, values, strict=True):
            track.residual = track.residual + linear(value, product)
            track.emit(name, operation)
            track.forget(x)

    # --- Experts ---------------------------------------------------------------------------------

    def _mixture(self, own: Sequence[Mixture]) -> None:
        """`own`: the block as each task has it, with its own router."""
        layer = own[0]
        values = [track.normalised(layer.norm) for track in self.tracks]
        readers = [first for first, _ in layer.experts]
        coding = self._norm(layer.norm, values, readers, routed=True)
        queues = f"{layer.router_name}.queues"
        for track, mine in zip(self.tracks, own, strict=True):
            track.declare(queues, (len(layer.experts), track.tokens), "queues")
            track.emit(layer.router_name, self._route(mine, queues, track.program.task))
        experts, gelu, zero = self._experts(layer, values, coding, queues)
        operation = ops.Experts(layer.name, layer.norm.name, queues, RESIDUAL, experts, gelu, zero)
        for track, value, mine in zip(self.tracks, values, own, strict=True):
            track.residual = track.residual + mixture(value, mine)
            track.emit(layer.name, operation)
            track.forget(layer.norm.name, f"{layer.norm.name}.normalised")

    def _route(self, layer: Mixture, queues: str, task: int) -> ops.Route:
        weights, biases, multiplier, shift = router_constants(layer, self.pad(self.width))
        return ops.Route(
            f"{layer.router_name}[{task}]",
            f"{layer.norm.name}.normalised",
            queues,
            layer.top_k,
            multiplier,
            shift,
            int(np.floor(layer.prune_scores * 2**SCORE_BITS)),
            weights,
            biases,
        )

    def _experts(
        self, layer: Mixture, values: Sequence[Tensor], coding: Coding, queues: str
    ) -> tuple[tuple[tuple[ops.Weights, ops.Weights], ...], tuple[int, int], int]:
        """Both products of every expert, calibrated on the tokens that the integer run sends it."""
        sent = [self._queue(layer, values, queues, expert) for expert in range(len(layer.experts))]
        inner = len(layer.experts[0][0].weight)
        hidden = []
        for (fc1, _), (rows, _) in zip(layer.experts, sent, strict=True):
            before = linear(rows, fc1)
            self._check_gelu(layer.name, [before])
            hidden.append(F.gelu(before))
        scale, zero = gelu_coding(take(hidden))
        gelu = one_multiplier(2.0**-SCORE_BITS / scale, layer.name)
        table = gelu_table(*gelu)
        hidden_code = _gelu_coding(scale, zero, inner)
        columns, inner_columns = np.arange(self.width), np.arange(inner)
        experts = []
        for number, (fc1, fc2) in enumerate(layer.experts):
            name = f"{layer.name} expert {number}"
            rows, integers = sent[number]
            few = len(rows) < FEWEST_TOKENS
            found = Seen.nothing(coding) if few else seen([rows], [integers], columns)
            first = self._product(fc1, coding, found, _value_coding(inner), name)
            middle = hidden_values(first, table, zero, integers)
            if few:
                found = Seen.nothing(hidden_code)
            else:
                found = seen([hidden[number]], [middle], inner_columns)
            second = self._product(fc2, hidden_code, found, self._residual_coding(), name)
            experts.append((first, second))
        return tuple(experts), gelu, zero

    def _queue(
        self, layer: Mixture, values: Sequence[Tensor], queues: str, expert: int
    ) -> tuple[Tensor, Tensor]:
        """The tokens of an expert, all tasks': the float32 run's and the integer run's."""
        floats, integers = [], []
        for track, value in zip(self.tracks, values, strict=True):
            chosen = (track.emulation.queues[queues][0] == expert).any(-1)
            floats.append(value[chosen])
            integers.append(track.emulation.tensors[layer.norm.name][chosen])
        return torch.cat(floats), torch.cat(integers)

    # --- Shared ----------------------------------------------------------------------------------

    def _product(
        self, product: Product, coding: Coding, found: Seen, outputs: Coding, name: str
    ) -> ops.Weights:
        """A product whose channels are only padded at their end."""
        weights = quantise_product(product, coding, found, outputs, name)
        rows, columns = map(np.arange, product.weight.shape)
        return pad_weights(weights, rows, columns, self.pad(len(rows)), self.pad(len(columns)))

    def _residual_coding(self) -> Coding:
        return Coding(np.full(self.width, 2.0**-RESIDUAL_BITS), np.zeros(self.width))

    def _integers(self, name: str) -> list[Tensor]:
        return [track.emulation.tensors[name] for track in self.tracks]

    def _check_residual(self, layer: str) -> None:
        largest = max(float(track.residual.abs().max()) for track in self.tracks)
        if not largest < LARGEST_RESIDUAL:
            raise BackendError(
                f"{layer} reads values up to {largest:.4g} in calibration, and the accelerator's "
                f"norms hold {LARGEST_RESIDUAL:g}: scale the model's residual stream down"
            )

    def _check_gelu(self, layer: str, values: Sequence[Tensor]) -> None:
        largest = max((float(each.abs().max()) for each in values if len(each)), default=0.0)
        if not largest < LARGEST_VALUE:
            raise BackendError(
                f"{layer}: GELU's input reaches {largest:.4g} in calibration, and the accelerator "
                f"holds {LARGEST_VALUE:g}: scale the first product's weights down"
            )


def _value_coding(channels: int) -> Coding:
    return Coding(np.full(channels, 2.0**-VALUE_BITS), np.zeros(channels))


def _gelu_coding(scale: float, zero: int, channels: int) -> Coding:
    return Coding(np.full(channels, scale), np.full(channels, -scale * zero))
