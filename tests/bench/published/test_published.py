"""Others' figures: where they come from, and the arithmetic on them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gearshift.specialise import specialise
from gearshift_bench.published import (
    WATTS_TIMES_LATENCY,
    Published,
    encoder_macs,
    published,
)

from ...engine.conftest import GraphMaker


def test_every_figure_says_where_it_stands_and_what_it_includes() -> None:
    designs = {one.design.split("'")[0] for one in published()}
    assert designs == {"M3ViT", "Edge-MoE", "UbiMoE", "CoQMoE", "HeatViT"}
    for one in published():
        assert "arXiv:" in one.source
        assert any(word in one.source for word in ("Table", "section", "abstract"))
        assert one.includes
        assert one.joules is None or one.joules_from


def test_joules_are_given_or_power_times_latency() -> None:
    by_source = {(one.design, one.platform, one.model): one for one in published()}
    given = by_source[("M3ViT", "ZCU104", "M3ViT small, one task of PASCAL-Context, 512x512")]
    assert given.joules == 0.690
    assert "10 W" in str(given.joules_from)
    for one in published():
        if one.joules_from == WATTS_TIMES_LATENCY:
            assert one.watts is not None
            assert one.milliseconds is not None
            assert one.joules == pytest.approx(one.watts * one.milliseconds / 1000)
        else:
            assert one.watts is None or one.milliseconds is None


def test_the_work_of_an_encoder_is_that_of_a_program() -> None:
    """The exporter's own count, step by step, of a random graph of three sizes."""
    for sizes in ({}, {"depth": 2}, {"top_k": 1}):
        graph = GraphMaker(**sizes).make()
        program = specialise(graph, 0, 1)
        steps = {step.name: step for step in program.steps}
        experts = next(step for step in program.steps if step.kernel == "expert_mixture")
        shapes = program.weights
        dense = next(step for step in program.steps if step.kernel == "mlp")
        image, table = (steps["patch_embedding"].weights[place] for place in (0, 1))
        tokens, width = shapes[table].shape
        counted = sum(step.macs for step in program.steps if not step.name.startswith("decoders."))
        assert counted == encoder_macs(
            tokens=tokens,
            width=width,
            layers=sum(step.kernel == "attention" for step in program.steps),
            dense_hidden=shapes[dense.weights[0]].shape[0],
            experts=int(experts.attributes["experts"]),
            expert_hidden=shapes[experts.weights[0]].shape[0],
            top_k=int(experts.attributes["top_k"]),
            patch_values=math.prod(shapes[image].shape[1:]),
        )


def test_edge_moe_has_the_work_of_its_size() -> None:
    """783 million multiply-accumulates, as the roofline of the built-in model has them."""
    edge = next(one for one in published() if one.design == "Edge-MoE")
    assert edge.tokens == 129
    assert edge.macs == pytest.approx(783e6, rel=1e-3)


def test_latency_and_energy_at_equal_work_grow_with_it() -> None:
    settings: dict[str, Any] = {"includes": "", "source": ""}
    one = Published("A", "B", "ZCU102", **settings, macs=2e9)
    assert one.at_work(30.0, 0.5e9) == pytest.approx(7.5)
    assert one.at_work(30.0, None) is None
    assert one.at_work(None, 0.5e9) is None
    assert Published("A", "B", "C", **settings).at_work(30.0, 1e9) is None
