"""The emulation is the golden model, bit for bit, and the float32 run is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gearshift.graph import TOKENS
from gearshift.specialise import specialise
from gearshift_hls import fixed_point as fp
from gearshift_hls import operations as ops
from gearshift_hls.build import SMALL_BUILD
from gearshift_hls.golden import enlarge
from gearshift_hls.host import pack_patches
from gearshift_hls.quantise import emulate, reference
from gearshift_hls.quantise.layers import read_model
from gearshift_hls.records import CHANNEL

from ...engine.conftest import GraphMaker, oracle_values
from .quantised_graphs import emulated, run_golden
from .quantised_models import ModelMaker

RANDOM: list[dict] = [
    {},
    {"experts": 1, "top_k": 1, "heads": 1, "true_channels": 16},
    {"rows": 1, "columns": 1, "decoders": False, "in_place": True},
    {"rows": 5, "columns": 7, "experts": 8, "top_k": 4, "hidden": 64, "blocks": 1},
]


@pytest.mark.parametrize("sizes", RANDOM)
@pytest.mark.parametrize("seed", range(3))
def test_every_operation_is_the_golden_models(sizes: dict, seed: int) -> None:
    """Random constants, which saturate where calibrated ones would not."""
    maker = ModelMaker(seed, **sizes)
    tasks = maker.make()
    task = tasks[seed % 2]
    random = np.random.default_rng(seed)
    low, scale = (np.array(part)[:, None, None] for part in (task.input.low, task.input.scale))
    shape = (2, 3, task.height, task.width)
    pictures = (random.integers(0, 256, shape) / scale + low).astype(np.float32)
    patches = np.stack(
        [
            pack_patches(picture, task.input, *task.tensors[task.input.tensor].shape)
            for picture in pictures
        ]
    )
    after = emulated(SMALL_BUILD, task, patches)
    traces = [run_golden(tasks, seed % 2, picture)[1] for picture in pictures]
    for number, operation in enumerate(task.operations):
        found = after(number)
        for place, trace in enumerate(traces):
            if isinstance(operation, ops.Route):
                index, score = found.queues[operation.queues]
                np.testing.assert_array_equal(index[place], trace[number, "chosen"])
                np.testing.assert_array_equal(score[place], trace[number, "scores"])
                continue
            y = found.tensors[operation.y][place].numpy()
            np.testing.assert_array_equal(y, trace[number, "y"].reshape(y.shape))
            if isinstance(operation, ops.Norm) and operation.normalised:
                values = found.tensors[operation.normalised][place]
                np.testing.assert_array_equal(values, trace[number, "normalised"])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_maps_are_enlarged_as_the_golden_model_does(dtype: type) -> None:
    limits = np.iinfo(dtype)
    shape = (2, 3, 4, 5)
    maps = np.random.default_rng(0).integers(limits.min, limits.max + 1, shape).astype(dtype)
    found = emulate.enlarge(torch.from_numpy(maps)).numpy()
    np.testing.assert_array_equal(found, [enlarge(each.astype(np.int64)) for each in maps])


def test_products_of_the_widest_sums_are_exact() -> None:
    """All of them at their largest: 4,096 inputs of 255 times -127."""
    channels = np.zeros(16, CHANNEL)
    channels["multiplier"], channels["bias"] = 1, -(1 << 31)
    weights = ops.Weights(np.full((16, 4096), -127, np.int8), channels)
    x = torch.full((3, 4096), 255, dtype=torch.uint8)
    total = emulate._Product(weights)(x)
    assert (total == -255 * 127 * 4096 - (1 << 31)).all()


@pytest.mark.parametrize("shift", [0, 1, 5, 40, 62])
def test_shifts_round_halves_up(shift: int) -> None:
    random = np.random.default_rng(shift)
    values = np.concatenate([[-3, -1, 0, 1, 3, 1 << 47], random.integers(-(1 << 47), 1 << 47, 500)])
    halves = (np.arange(-6, 7) << shift) + (1 << shift >> 1)
    values = np.concatenate([values, halves[np.abs(halves) < 1 << 47]])
    found = emulate._shift(torch.from_numpy(values.astype(np.float64)), shift)
    np.testing.assert_array_equal(found.numpy(), fp.shift_right(values, shift))


@pytest.mark.parametrize("sizes", [{}, {"routers": 1, "biased": True, "prune_scores": 0.2}])
@pytest.mark.parametrize("task", [0, 3])
def test_the_float32_run_is_the_oracle(sizes: dict, task: int) -> None:
    graph = GraphMaker(**sizes).make()
    pictures = np.random.default_rng(7).normal(size=(2, 3, 24, 40)).astype(np.float32)
    values = oracle_values(graph, task, pictures)
    model = read_model(specialise(graph, task))
    tokens, chosen = reference.encode(model, torch.from_numpy(pictures))
    wanted = values[TOKENS]
    assert np.abs(tokens.numpy() - wanted).max() < 2e-5 * np.abs(wanted).max()
    for name, experts in chosen.items():
        np.testing.assert_array_equal(experts, values[f"{name}.expert_index"])
    assert model.decoder is not None
    result = reference.decode(model.decoder, tokens, (3, 5)).permute(0, 3, 1, 2).numpy()
    assert np.abs(result - values["output"]).max() < 2e-5 * np.abs(values["output"]).max()
