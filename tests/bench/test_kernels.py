"""The cases behind `gearshift bench kernels`: that they find faults, and that peers agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from gearshift.graph import read_artifact
from gearshift.models import find_model
from gearshift.program import Program
from gearshift.specialise import specialise
from gearshift_bench import kernels
from gearshift_bench.case import Bench, relative_error, tolerance
from gearshift_bench.cases import make_case
from gearshift_bench.kernels import OURS, Entry, Result, check, contenders, entries
from gearshift_kernels.triton.launch import Device, current_target


@pytest.fixture(scope="module")
def device() -> Device:
    return Device(current_target())


@pytest.fixture(scope="module")
def program() -> Program:
    """The demo on an image of two by three patches."""
    graph = read_artifact(find_model("demo"))
    size = int(specialise(graph, 0).steps[0].attributes["patch_size"])
    return specialise(graph, 0, height=2 * size, width=3 * size)


def entry_of(program: Program, kernel: str, precision: str = "bfloat16") -> Entry:
    return next(e for e in entries(program, precision) if e.sizes.step.kernel == kernel)


def test_steps_that_are_alike_are_one_entry(program: Program) -> None:
    found = entries(program, "bfloat16")
    keys = [entry.sizes.key for entry in found]
    assert len(set(keys)) == len(keys)
    counts = {entry.sizes.step.kernel: entry.count for entry in found}
    assert counts["attention"] == 8
    assert counts["router"] == counts["expert_fc1"] == 4


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "float8"])
@pytest.mark.parametrize(
    "kernel", ["linear", "linear_add", "attention", "expert_fc1", "expert_fc2", "router"]
)
def test_kernels_are_right_in_every_precision(
    program: Program, device: Device, kernel: str, precision: str
) -> None:
    result = check(Bench(device, precision), entry_of(program, kernel, precision))
    assert result.is_right, (result.error, result.tolerance)


@pytest.mark.parametrize("kernel", ["linear", "router", "expert_fc2", "layer_norm"])
def test_a_kernel_that_writes_nothing_is_wrong(
    program: Program, device: Device, kernel: str
) -> None:
    case = make_case(Bench(device, "bfloat16"), entry_of(program, kernel).sizes)
    assert not case.error() <= case.tolerance


@pytest.mark.parametrize("kernel", ["linear", "expert_fc1", "attention", "combine_add"])
def test_one_value_that_is_off_is_found(program: Program, device: Device, kernel: str) -> None:
    case = make_case(Bench(device, "bfloat16"), entry_of(program, kernel).sizes)
    case.run()
    assert case.error() <= case.tolerance
    out = case.launches[-1].arguments["out"]
    assert isinstance(out, torch.Tensor)
    out[(0,) * (out.ndim - 1)][3] += 0.1 * out.abs().max()
    assert not case.error() <= case.tolerance


def test_input_sets_differ(program: Program, device: Device) -> None:
    sizes = entry_of(program, "linear").sizes
    bench = Bench(device, "bfloat16")
    one, same, other = (make_case(replace(bench, seed=s), sizes) for s in (1, 1, 2))
    x = [case.arguments[0] for case in (one, same, other)]
    assert torch.equal(x[0], x[1])
    assert not torch.equal(x[0], x[2])


@pytest.mark.parametrize(
    ("kernel", "names"),
    [
        ("linear_add", [OURS, "torch", "torch.compile"]),
        ("attention", [OURS, "scaled_dot_product_attention", "torch.compile"]),
        ("upsample_conv", [OURS, "torch", "torch.compile"]),
        ("router", [OURS, "torch", "torch.compile"]),
        ("expert_fc1", [OURS, "torch, expert by expert", "grouped_mm (the product only)"]),
        ("expert_fc2", [OURS, "torch, expert by expert", "grouped_mm (the product only)"]),
    ],
)
def test_peers_of_a_kernel(program: Program, device: Device, kernel: str, names: list[str]) -> None:
    bench = Bench(device, "bfloat16")
    cases = [
        make_case(replace(bench, seed=seed), entry_of(program, kernel).sizes) for seed in (1, 2)
    ]
    runs = contenders(cases, lambda plain: plain)
    assert list(runs) == names
    assert all(len(one) == 2 for one in runs.values())


@pytest.mark.parametrize(
    "kernel", ["linear", "attention", "expert_fc1", "expert_fc2", "layer_norm"]
)
def test_peers_compute_the_same(program: Program, device: Device, kernel: str) -> None:
    """In bfloat16 a peer rounds where we do, and on the way from the product to the GELU."""
    case = make_case(Bench(device, "bfloat16"), entry_of(program, kernel).sizes)
    case.run()
    ours = case.launches[-1].arguments["out"]
    _, (peer,), *_ = contenders([case], lambda plain: plain).values()
    found = peer()
    assert isinstance(found, torch.Tensor)
    assert isinstance(ours, torch.Tensor)
    assert relative_error(found.flatten(), ours.reshape(found.shape).flatten()) < 3 * tolerance(
        torch.bfloat16
    )


def test_a_right_kernel_is_timed_beside_its_peers(
    program: Program, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything but the card's own clock."""
    seconds = iter([4e-6, 6e-6, 5e-6])
    card = SimpleNamespace(L2_cache_size=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: card)
    monkeypatch.setattr(torch, "compile", lambda plain, dynamic: plain)
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)

    def sample(runs: Sequence[Callable[[], object]]) -> Callable[[], float]:
        for run in runs:
            run()
        own = next(seconds)
        return lambda: own

    monkeypatch.setattr(kernels, "sample_on_card", sample)
    bench = Bench(device, "bfloat16")
    result = kernels.measure(bench, check(bench, entry_of(program, "linear_add")))
    assert result.seconds == {OURS: 4e-6, "torch": 6e-6, "torch.compile": 5e-6}
    assert result.input_sets == 2


def test_a_wrong_kernel_is_not_timed(program: Program, device: Device) -> None:
    wrong = Result(entry_of(program, "linear_add"), error=float("nan"), tolerance=1.0)
    assert not wrong.is_right
    assert kernels.measure(Bench(device, "bfloat16"), wrong) is wrong
