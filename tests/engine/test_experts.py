"""The plan of what stays in fast memory, and amounts of memory as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift.errors import InputError
from gearshift.experts import STREAMING_SLOTS, parse_memory, plan_residency

BANKS = st.lists(st.integers(1, 20), min_size=1, max_size=6).map(
    lambda sizes: {f"bank{number}": size for number, size in enumerate(sizes)}
)


@given(BANKS, st.integers(1, 1000), st.integers(0, 120_000))
def test_the_budget_is_kept_and_used(experts: dict, expert_bytes: int, budget: int) -> None:
    total = sum(experts.values())
    if budget < min(STREAMING_SLOTS, total) * expert_bytes:
        with pytest.raises(InputError, match="holds fewer than 2 experts"):
            plan_residency(experts, expert_bytes, budget)
        return
    plan = plan_residency(experts, expert_bytes, budget)
    assert plan.slots * expert_bytes <= budget
    assert plan.slots == min(budget // expert_bytes, total)
    resident = sum(plan.resident.values())
    assert plan.streams == (resident < total)
    assert resident == (plan.slots - STREAMING_SLOTS if plan.streams else total)
    assert all(0 <= plan.resident[bank] <= number for bank, number in experts.items())
    # Evenly: a bank that has experts to give holds as many as any other, or one less.
    open_banks = [plan.resident[bank] for bank in experts if plan.resident[bank] < experts[bank]]
    assert all(number >= max(plan.resident.values()) - 1 for number in open_banks)


def test_without_a_budget_everything_stays() -> None:
    plan = plan_residency({"a": 3, "b": 5}, 10)
    assert (dict(plan.resident), plan.slots, plan.streams) == ({"a": 3, "b": 5}, 8, False)


def test_too_little_memory_names_what_is_needed() -> None:
    with pytest.raises(InputError, match=r"1,999 bytes .* of 1,000 bytes: give at least 2,000"):
        plan_residency({"a": 3}, 1000, 1999)


@pytest.mark.parametrize(
    ("text", "number"),
    [("64MB", 64_000_000), ("1.5 GiB", 3 * 2**29), ("8 kB", 8000), ("3B", 3), (17, 17),
     ("2KiB", 2048)],
)  # fmt: skip
def test_memory_in_words(text: str | int, number: int) -> None:
    assert parse_memory(text) == number


@pytest.mark.parametrize(
    "text", ["", "64", "MB", "64 TB", "-1MB", "0MB", 0, -5, True, 1.5, "1e3MB", "64mb", "64kiB"]
)
def test_no_amount_of_memory(text: object) -> None:
    with pytest.raises(InputError, match="is no amount"):
        parse_memory(text)  # type: ignore[arg-type]
