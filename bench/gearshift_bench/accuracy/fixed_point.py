"""Records of the FPGA accelerator's integers, from its emulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gearshift.graph.graph import Graph
from gearshift_bench.accuracy.trade import EMULATED
from gearshift_bench.fpga_accuracy import measure
from gearshift_export.demo.scenes import Scene
from gearshift_hls.board import ZCU104
from gearshift_hls.quantise import quantise_model
from gearshift_hls.quantise.pictures import calibration_pictures

NAME = "accelerator, emulated"
"""Bit for bit; see `gearshift_hls.quantise.emulate`."""


def fixed_point_records(graph: Graph, rooms: Sequence[Scene]) -> list[dict[str, Any]]:
    """A record a task, calibrated on the pictures that come with gearshift.

    Raises:
        GearshiftError: the accelerator cannot run this model.
    """
    card = graph.card
    seen = calibration_pictures(card, card.image_height, card.image_width)
    quantised = quantise_model(graph, ZCU104.build, seen)
    return [
        {
            "task": one.task,
            "backend": NAME,
            "precision": "int8 fixed point",
            "approximate": "all functions from tables",
            "metric": one.metric or None,
            "routed_alike": one.alike or None,
            **EMULATED,
            "value": one.int8 if one.metric else None,
            "value_float32": one.float32 if one.metric else None,
            "change_percent": 100 * (one.int8 / one.float32 - 1) if one.metric else None,
            "output_change_percent": None,
            "rooms": len(rooms),
        }
        for one in measure(graph, quantised, ZCU104.build, rooms)
    ]
