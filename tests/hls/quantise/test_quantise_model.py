"""Whole small graphs: quantised, run by the golden model, held against the float64 oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gearshift.errors import BackendError, InputError
from gearshift.graph import TOKENS, Graph, read_artifact
from gearshift.models import find_model
from gearshift.pictures import load_pictures
from gearshift.specialise import specialise
from gearshift_export.demo.calibration import pictures as calibration
from gearshift_export.demo.dataset import SPLIT_FIRST_SEED
from gearshift_export.demo.scenes import render_scene
from gearshift_hls import operations as ops
from gearshift_hls.build import SMALL_BUILD, Build
from gearshift_hls.host import pack_patches
from gearshift_hls.quantise import emulate, quantise_model, reference
from gearshift_hls.quantise.layers import read_model
from gearshift_hls.quantise.track import RESIDUAL

from ...engine.conftest import GraphMaker, oracle_values
from .quantised_graphs import fixed_routing, run_golden, signal_to_noise

GRAPHS: dict[str, dict] = {
    "four tasks": {},
    "one token a side": {"patch": 4, "height": 4, "width": 4, "stages": 2},
    "every expert chosen": {"height": 16, "width": 24, "top_k": 4, "experts": 4},
    "one router with shut experts": {"routers": 1, "biased": True, "prune_scores": 0.2},
    "one expert and no decoder": {"experts": 1, "top_k": 1, "depth": 2, "decoders": False},
}
WIRED_DB = 22.0
"""A term that is left out, or a channel in another's place, leaves less than 10 dB. What 8 bits
leave depends on the weights: random ones of this small width amplify errors."""
TARGET_DB = 30.0
"""The published target for the tokens of real models, routing fixed."""


def pictures(graph: Graph, count: int, seed: int) -> np.ndarray:
    """8-bit pictures, normalised as the card says: float32 (N, 3, H, W)."""
    card, random = graph.card, np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 3, 4, 4)).astype(np.float64)
    smooth = coarse.repeat(-(-card.image_height // 4), 2).repeat(-(-card.image_width // 4), 3)
    pixels = smooth[:, :, : card.image_height, : card.image_width]
    pixels = np.clip(np.rint(pixels + random.normal(0, 20, pixels.shape)), 0, 255)
    given = card.preprocessing
    mean, deviation = (
        np.array(values)[:, None, None] for values in (given.mean, given.standard_deviation)
    )
    return ((pixels / given.divisor - mean) / deviation).astype(np.float32)


@pytest.fixture(scope="module", params=GRAPHS.values(), ids=GRAPHS.keys())
def case(request: pytest.FixtureRequest) -> tuple[Graph, list[ops.Quantised]]:
    """Calibrated on other pictures than it is tested on."""
    graph = GraphMaker(**request.param).make()
    return graph, quantise_model(graph, SMALL_BUILD, pictures(graph, 24, seed=0))


def emulate_fixed(
    task: ops.Quantised, seen: np.ndarray, values: dict[str, np.ndarray]
) -> np.ndarray:
    """The result with the oracle's routing: (N, T, D), or (N, C, H, W)."""
    shape = task.tensors[task.input.tensor].shape
    patches = np.stack([pack_patches(picture, task.input, *shape) for picture in seen])
    run = emulate.run(SMALL_BUILD, task, patches, fixed_routing(values))
    result = run.tensors[task.output.tensor][..., : task.output.channels].numpy()
    result = result * task.output.scale
    return result if result.ndim == 3 else result.transpose(0, 3, 1, 2)


def test_every_task_is_close_to_float64(case: tuple[Graph, list[ops.Quantised]]) -> None:
    graph, tasks = case
    seen = pictures(graph, 3, seed=1)
    for task in tasks:
        values = oracle_values(graph, task.task, seen)
        wanted = values["output" if graph.decoders else TOKENS]
        found = emulate_fixed(task, seen, values)
        assert found.shape == wanted.shape
        assert signal_to_noise(found, wanted) > WIRED_DB, task.task_card.name


@pytest.mark.parametrize("model", ["demo", pytest.param("tiny", marks=pytest.mark.slow)])
def test_tokens_meet_the_published_target(model: str) -> None:
    """Of models that ship: calibrated on training rooms, measured on test rooms."""
    graph = read_artifact(find_model(model))
    size = graph.card.image_height, graph.card.image_width
    rooms = [render_scene(SPLIT_FIRST_SEED["test"] + room, *size).image for room in range(2)]
    seen = load_pictures(np.stack(rooms), graph.card)
    tasks = quantise_model(graph, Build(), load_pictures(calibration(*size, 6), graph.card))
    for task in tasks:
        model_of_task = read_model(specialise(graph, task.task))
        tokens, chosen = reference.encode(model_of_task, torch.from_numpy(seen))
        shape = task.tensors[task.input.tensor].shape
        patches = np.stack([pack_patches(picture, task.input, *shape) for picture in seen])
        backbone = replace(
            task,
            operations=tuple(
                op
                for op, name in zip(task.operations, task.names, strict=True)
                if not name.startswith("decoders.")
            ),
        )
        fixed = {f"{name}.queues": experts for name, experts in chosen.items()}
        run = emulate.run(Build(), backbone, patches, fixed)
        found = run.tensors[RESIDUAL][..., : tokens.shape[-1]].numpy() * 2.0**-16
        assert signal_to_noise(found, tokens.numpy()) > TARGET_DB, task.task_card.name


def test_the_golden_model_runs_what_was_emulated(case: tuple[Graph, list[ops.Quantised]]) -> None:
    graph, tasks = case
    picture = pictures(graph, 1, seed=2)
    for number, task in enumerate(tasks):
        found, _ = run_golden(tasks, number, picture[0])
        shape = task.tensors[task.input.tensor].shape
        run = emulate.run(SMALL_BUILD, task, pack_patches(picture[0], task.input, *shape)[None])
        integers = run.tensors[task.output.tensor][0, ..., : task.output.channels].numpy()
        wanted = (integers * task.output.scale).astype(np.float32)
        wanted = wanted if wanted.ndim == 2 else wanted.transpose(2, 0, 1)
        np.testing.assert_array_equal(found, wanted)


def test_the_class_token_is_exact(case: tuple[Graph, list[ops.Quantised]]) -> None:
    """To half of the residual stream's last bit, whatever the picture."""
    graph, tasks = case
    token = graph.weights["patch_embedding.class_token"][0, 0]
    for number, task in enumerate(tasks):
        picture = pictures(graph, 1, seed=number)[0]
        _, trace = run_golden(tasks, number, picture)
        row = trace[0, "y"][0, : len(token)]
        np.testing.assert_array_equal(row, np.rint(token.astype(np.float64) * 2**16))
        first = task.operations[0]
        assert isinstance(first, ops.Linear)
        assert not first.weights.channels["bias"].any()


def test_tasks_share_the_backbones_constants(case: tuple[Graph, list[ops.Quantised]]) -> None:
    """The same objects, not equal copies; only routers and decoders are a task's own."""
    _, tasks = case
    first = {op.constants: op for op in tasks[0].operations if not isinstance(op, ops.Resize)}
    for task in tasks[1:]:
        assert task.tables.keys() == tasks[0].tables.keys()
        assert all(task.tables[name] is table for name, table in tasks[0].tables.items())
        for op, name in zip(task.operations, task.names, strict=True):
            own = isinstance(op, ops.Route | ops.Resize) or name.startswith("decoders.")
            if own:
                assert isinstance(op, ops.Resize) or op.constants not in first
            else:
                assert first[op.constants] is op


def test_weights_are_padded_with_zeros(case: tuple[Graph, list[ops.Quantised]]) -> None:
    _, tasks = case
    multiple = SMALL_BUILD.channel_multiple
    for task in tasks:
        for tensor in task.tensors.values():
            assert tensor.dtype == "queues" or tensor.shape[-1] % multiple == 0
        for op in task.operations:
            if isinstance(op, ops.Linear) and op.constants == "patch_embedding":
                assert not op.weights.weights[:, 3 * op.weights.weights.shape[1] :].any()
            if isinstance(op, ops.Norm):
                assert not op.parameters[op.true_channels :]["gain"].any()
                assert not op.parameters[op.true_channels :]["offset"].any()


def test_the_wide_build_takes_the_same_graph() -> None:
    graph = GraphMaker().make()
    seen = pictures(graph, 8, seed=0)
    narrow = quantise_model(graph, SMALL_BUILD, seen)[1]
    wide = quantise_model(graph, Build(), seen)[1]
    assert [type(op) for op in wide.operations] == [type(op) for op in narrow.operations]
    assert wide.output.scale == pytest.approx(narrow.output.scale)


# --- What it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 24, 40), (0, 3, 24, 40), (2, 4, 24, 40)])
def test_pictures_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="calibration pictures of shape"):
        quantise_model(GraphMaker().make(), SMALL_BUILD, np.zeros(shape, np.float32))


def test_a_size_that_patches_cannot_tile() -> None:
    with pytest.raises(InputError, match="height 20 is not a multiple"):
        quantise_model(GraphMaker().make(), SMALL_BUILD, np.zeros((1, 3, 20, 40), np.float32))


def test_a_model_that_does_not_fit_says_where() -> None:
    graph = GraphMaker(patch=10, height=20, width=30, stages=2).make()
    with pytest.raises(BackendError, match=r"decoders\.rooms\.resize: .*resize_bilinear"):
        quantise_model(graph, SMALL_BUILD, pictures(graph, 1, seed=0))


def scaled(graph: Graph, name: str, factor: float) -> Graph:
    weights = {**graph.weights, name: graph.weights[name] * np.float32(factor)}
    return replace(graph, weights=weights)


def test_a_residual_stream_beyond_the_norms_names_the_norm() -> None:
    graph = GraphMaker().make()
    loud = scaled(graph, "blocks.1.attention.proj_bias", 1e4)
    with pytest.raises(BackendError, match=r"blocks\.1\.norm2 reads values up to .* hold 1024"):
        quantise_model(loud, SMALL_BUILD, pictures(graph, 2, seed=0))


@pytest.mark.parametrize("layer", ["blocks.2.mlp.fc1_bias", "blocks.1.experts.{}.fc1_bias"])
def test_gelus_input_beyond_its_format_names_the_layer(layer: str) -> None:
    graph = loud = GraphMaker().make()
    for expert in range(5):
        loud = scaled(loud, layer.format(expert), 1e4)
    name = layer.split(".")[2]
    with pytest.raises(BackendError, match=rf"blocks\.\d\.{name}: GELU's input .* holds 32"):
        quantise_model(loud, SMALL_BUILD, pictures(graph, 2, seed=0))
