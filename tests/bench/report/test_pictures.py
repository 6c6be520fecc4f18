"""What the pictures draw, from figures with known places."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
import pytest

from gearshift_bench.report.pictures import draw
from gearshift_bench.report.pictures.experts import heat_maps
from gearshift_bench.report.pictures.latency import distributions, history, overview
from gearshift_bench.report.pictures.nodes import kind, node_times, split
from gearshift_bench.report.pictures.roofline import roofline
from gearshift_bench.report.pictures.switches import switch_costs
from gearshift_bench.report.svg import Picture
from gearshift_bench.report.words import Names, Run, run_numbers

from .conftest import make_document, make_mix, make_run

SVG = "{http://www.w3.org/2000/svg}"


def elements(picture: Picture, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(picture.inline()).iter(SVG + tag))


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.attrib[name])


def words(picture: Picture) -> str:
    return " | ".join("".join(one.itertext()) for one in elements(picture, "text"))


def with_tip(picture: Picture, tag: str, start: str) -> ElementTree.Element:
    """The one element whose tip begins so."""
    (found,) = (
        one
        for one in elements(picture, tag)
        if (tip := one.find(SVG + "title")) is not None and (tip.text or "").startswith(start)
    )
    return found


def measured(seconds: list[float], **changes: object) -> Run:
    """A run whose latencies are these."""
    run = make_run(**changes)  # type: ignore[arg-type]
    found = {
        "count": len(seconds),
        "min": min(seconds),
        "median": float(np.median(seconds)),
        "mean": float(np.mean(seconds)),
        "p90": max(seconds),
        "p99": None,
        "max": max(seconds),
        "median_low": min(seconds),
        "median_high": max(seconds),
        "confidence": 0.95,
    }
    return run | {"seconds": seconds, "latency": found}


def test_every_run_is_in_the_overview() -> None:
    runs = make_document()["runs"]
    picture = overview(runs, Names(runs))
    assert len(elements(picture, "circle")) == len(runs)
    assert len(elements(picture, "rect")) == 2 * len(runs)


def test_an_overview_starts_at_zero_and_is_in_proportion() -> None:
    """Twice the latency is twice as far from the axis's zero."""
    runs = [measured([0.01] * 9), measured([0.02] * 9, precision="bfloat16")]
    first, second = elements(overview(runs, Names(runs)), "circle")
    assert number(second, "cx") - 360 == pytest.approx(2 * (number(first, "cx") - 360), abs=0.02)


def test_latencies_far_apart_are_told_to_be_logarithmic() -> None:
    runs = [measured([0.001] * 9), measured([1.0] * 9, backend="rtl-sim")]
    assert "logarithmic" in words(overview(runs, Names(runs)))
    assert "logarithmic" not in words(overview(runs[:1], Names(runs[:1])))


def test_runs_of_one_task_and_load_share_a_distribution() -> None:
    runs = [make_run(), make_run(precision="bfloat16"), make_run(batch=4), make_run("depth")]
    assert len(distributions(runs, Names(runs))) == 3


def test_many_engines_are_spread_over_pictures() -> None:
    runs = [make_run(backend=f"backend{index}", seed=index) for index in range(13)]
    names = Names(runs)
    assert len(distributions(runs, names)) == 3
    looks = {(names.colour(run), names.dash(run)) for run in runs}
    assert len(looks) == 13, "no two engines look alike"


def test_each_nine_of_a_distribution_has_the_same_room() -> None:
    run = measured([0.001 * index for index in range(1, 1001)])
    picture = distributions([run], Names([run]))[0]
    places = {"".join(one.itertext()): number(one, "x") for one in elements(picture, "text")}
    nine = places["99 %"] - places["90 %"]
    assert places["99.9 %"] - places["99 %"] == pytest.approx(nine, abs=0.02)
    assert places["50 %"] - places["0 %"] == pytest.approx(math.log10(2) * nine, abs=0.02)
    assert "99.99 %" not in places, "a thousand requests say nothing about it"


def test_a_stall_does_not_flatten_the_history() -> None:
    """It is counted above the axis instead."""
    steady = [0.01 + 0.0001 * (index % 7) for index in range(200)]
    quiet, stalled = measured(steady), measured([*steady, 4.0, 5.0])
    assert "slower" not in words(history(quiet, Names([quiet])))
    assert "2 slower, up to 5.00 s" in words(history(stalled, Names([stalled])))


@pytest.mark.parametrize("count", [1, 2, 50, 601, 5000])
def test_a_histogram_holds_every_request(count: int) -> None:
    series = np.random.default_rng(count).uniform(0.01, 0.02, count).tolist()
    run = measured(series)
    tips = [
        one.findtext(SVG + "title") or "" for one in elements(history(run, Names([run])), "rect")
    ]
    assert sum(int(tip.split(" of ")[0]) for tip in tips if tip) == count


def test_points_lie_under_their_roof_in_proportion() -> None:
    """On logarithmic axes a hundredth of a roof is two decades below it."""
    roofs = {"threads": 1, "flops": {"float32": 1e11, "int8": None}, "bytes": 1e10}
    work = {"flops": 1e9, "bytes": 1e8, "flops_per_second": 1e9}
    fast = work | {"flops_per_second": 1e11}
    runs = [make_run(work=work), make_run(work=fast), make_run(work=dict.fromkeys(work))]
    picture = roofline(roofs, runs, Names(runs))
    assert picture is not None
    slow, quick = sorted(elements(picture, "circle"), key=lambda one: -number(one, "cy"))
    assert number(slow, "cx") == number(quick, "cx")
    assert "int8" not in words(picture)
    roof = next(p for p in elements(picture, "path") if p.attrib["stroke-width"] == "1.5")
    ridge = [float(one) for one in roof.attrib["d"].removeprefix("M").split()][2:]
    assert number(quick, "cy") == pytest.approx(ridge[1], abs=0.02)
    assert number(quick, "cx") == pytest.approx(ridge[0], abs=0.02), "both have 10 FLOP/byte"
    decades = math.log10(1e11 * 1.6 / (1e9 / 3))
    assert number(slow, "cy") - number(quick, "cy") == pytest.approx(
        2 / decades * (390 - 44 - 44), abs=0.02
    )


def test_without_figures_there_is_no_roofline() -> None:
    run = make_run(work={"flops": None, "bytes": 1, "flops_per_second": None})
    roofs = {"threads": 1, "flops": {"float32": 1e11}, "bytes": 1e10}
    assert roofline(roofs, [run], Names([run])) is None
    assert roofline({**roofs, "flops": {}}, [make_run()], Names([make_run()])) is None


def test_boxes_of_nodes_are_as_wide_as_their_time() -> None:
    run = make_run(nodes={"blocks.0.attention": 0.003, "blocks.0.mlp": 0.001, "tail": 0.004})
    picture = node_times(run, Names([run]))
    assert picture is not None
    tips = {"blocks.0.attention": 375, "blocks.0.mlp": 125, "blocks.0: ": 500}
    for tip, width in tips.items():
        assert number(with_tip(picture, "rect", tip), "width") == pytest.approx(width)
    assert "attention 38 %" in words(picture)


def test_nodes_are_grouped_by_their_names() -> None:
    assert split("blocks.11.experts") == ("blocks.11", "experts")
    assert split("patch_embedding") == ("patch_embedding", "patch_embedding")
    assert [kind(one) for one in ("blocks.1.router", "decoders.depth.head", "x.y", "")] == [
        "router",
        "decoder",
        "other",
        "other",
    ]


def test_a_backend_that_tells_no_times_has_no_picture_of_nodes() -> None:
    runs = [make_run(nodes={}), make_run(nodes={"head": 0.0})]
    assert [node_times(run, Names(runs)) for run in runs] == [None, None]


def test_heat_follows_the_share_of_tokens() -> None:
    """The fullest expert of all pictures is the darkest, an empty one has no colour."""
    runs = [
        make_run(experts={"blocks.1.experts": [0, 10, 30]}),
        make_run("depth", experts={"blocks.1.experts": [20, 20, 0]}),
    ]
    first, second = heat_maps(runs, Names(runs))
    expected = {"expert 0: 0 tokens": 0.0, "expert 1: 10": 1 / 3, "expert 2: 30": 1.0}
    for tip, opacity in expected.items():
        cell = with_tip(first, "rect", f"blocks.1.experts, {tip}")
        assert number(cell, "fill-opacity") == pytest.approx(opacity, abs=0.006)
    half = with_tip(second, "rect", "blocks.1.experts, expert 0: 20")
    assert number(half, "fill-opacity") == pytest.approx(0.5 / 0.75, abs=0.006)


def test_runs_that_route_alike_share_a_heat_map() -> None:
    alike = {"blocks.1.experts": [1, 2]}
    runs = [
        make_run(experts=alike),
        make_run(experts=dict(alike), precision="bfloat16"),
        make_run("depth", experts=alike),
        make_run(experts={}),
    ]
    titles = [words(picture) for picture in heat_maps(runs, Names(runs))]
    assert len(titles) == 2
    assert "runs 1 to 2" in titles[0]
    assert "run 3" in titles[1]


@pytest.mark.parametrize("counts", [[], [0, 0], [5], [1] * 300])
def test_awkward_numbers_of_experts(counts: list[int]) -> None:
    run = make_run(experts={"blocks.1.experts": counts, "b": [1]})
    (picture,) = heat_maps([run], Names([run]))
    assert len(elements(picture, "rect")) == 2 * (len(counts) + 1)


def test_switches_are_written_as_a_change() -> None:
    runs = [make_run(), make_mix()]
    picture = switch_costs(runs, Names(runs))
    assert picture is not None
    assert "+5.2 %" in words(picture)
    assert switch_costs(runs[:1], Names(runs)) is None


def test_a_mix_without_a_switch_has_no_picture() -> None:
    nothing = {"count": 0, "median_same": 0.01, "median_after_switch": None, "ratio": None}
    mix = make_mix(switches=nothing | {"by_pair": []})
    assert switch_costs([mix], Names([mix])) is None


def test_files_have_names_of_their_own() -> None:
    every = draw(make_document()).every()
    assert len({picture.name for picture in every}) == len(every)
    assert all(picture.name.replace("-", "").isalnum() for picture in every)


def test_settings_that_all_runs_share_are_not_repeated() -> None:
    runs = [make_run(), make_run("depth")]
    names = Names(runs)
    assert names.short(runs[1]) == "2  depth  native float32"
    assert names.shared() == "batch 1, 1 thread"
    runs = [make_run(), make_run(batch=4, memory="4MB", approximate=["gelu"])]
    assert Names(runs).short(runs[1]) == (
        "2  semseg  native float32, approximate gelu, experts in 4MB, batch 4"
    )


def test_neighbouring_numbers_are_drawn_together() -> None:
    assert run_numbers([1, 2, 3, 5, 7, 8]) == "runs 1 to 3, 5, 7 to 8"
    assert run_numbers([4]) == "run 4"
