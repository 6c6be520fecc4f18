"""Two lanes of the array in one cascade of multipliers, bit for bit."""

from __future__ import annotations

import pytest

from .rtl_bench import run_bench


@pytest.mark.parametrize("inputs", [8, 32])
def test_two_lanes_share_their_multipliers(inputs: int) -> None:
    environment = {"INPUTS": str(inputs)}
    run_bench(
        "dot_product_pair", "rtl_pair_bench", parameters={"INPUTS": inputs}, environment=environment
    )
