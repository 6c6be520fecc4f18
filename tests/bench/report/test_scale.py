"""Axes: figures to pixels and back."""

from __future__ import annotations

import math

import pytest

from gearshift_bench.report.scale import Scale, log_ticks, rate_unit, span, time_unit
from gearshift_bench.report.words import amount, seconds, share, three_digits


def test_linear_scales_are_straight() -> None:
    scale = Scale(2.0, 4.0, 100.0, 0.0)
    assert [scale(one) for one in (2.0, 3.0, 3.5, 4.0)] == [100.0, 50.0, 25.0, 0.0]


def test_equal_ratios_are_equally_wide_on_a_logarithmic_scale() -> None:
    scale = Scale(1.0, 1000.0, 0.0, 90.0, True)
    assert [scale(one) for one in (1, 10, 100, 1000)] == pytest.approx([0, 30, 60, 90])


@pytest.mark.parametrize("is_log", [False, True])
def test_what_lies_outside_is_drawn_on_the_edge(is_log: bool) -> None:
    scale = Scale(1.0, 2.0, 0.0, 10.0, is_log)
    assert (scale(0.0), scale(99.0)) == (0.0, pytest.approx(10.0))


@pytest.mark.parametrize("low", [0.0, 0.0071, 0.99, 123.0])
@pytest.mark.parametrize("width", [1e-6, 0.3, 1.0, 7e8])
def test_ticks_are_round_and_inside(low: float, width: float) -> None:
    scale = Scale(low, low + width, 0.0, 1.0)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 8
    assert all(low - 1e-9 * width <= one <= low + width * (1 + 1e-9) for one in ticks)
    step = ticks[1] - ticks[0]
    leading = step / 10.0 ** math.floor(math.log10(step) + 1e-6)
    assert min(abs(leading - round_one) for round_one in (1, 2, 5)) < 1e-3


def test_logarithmic_ticks_thin_out() -> None:
    assert log_ticks(1.0, 10.0) == [1.0, 2.0, 5.0, 10.0]
    assert log_ticks(1.0, 1e5) == [1.0, 10.0, 100.0, 1000.0, 1e4, 1e5]
    assert len(log_ticks(1e-30, 1e30)) <= 6


def test_figures_far_apart_get_a_logarithmic_scale() -> None:
    assert not span([1.0, 20.0], 0, 1).is_log
    assert span([1.0, 20.1], 0, 1).is_log


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [3.0, 3.0], [0.0, 1e-9], [1e-300, 1e30]])
@pytest.mark.parametrize("zero", [False, True])
def test_any_figures_have_a_scale(values: list[float], zero: bool) -> None:
    scale = span(values, 0.0, 100.0, zero)
    assert all(0.0 <= scale(one) <= 100.0 for one in values)
    assert scale.ticks()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00705, "7.05 ms"), (0.0000123, "12.3 µs"), (61.4, "61.4 s"), (0.0, "0.000 µs")],
)
def test_times_read_well(value: float, text: str) -> None:
    assert seconds(value) == text


def test_figures_that_are_not_there_are_dashes() -> None:
    assert {seconds(None), amount(None, "B"), share(None)} == {"\N{EN DASH}"}


def test_prefixes() -> None:
    assert amount(216152128, "B") == "216 MB"
    assert amount(1.1e11, "FLOP/s") == "110 GFLOP/s"
    assert amount(0.0802, "J") == "80.2 mJ"
    assert amount(0, "B") == "0.000 B"
    assert three_digits(12345.6) == "12,346"
    assert (time_unit(0.5).name, rate_unit(999.0, "B").name) == ("ms", "B")
