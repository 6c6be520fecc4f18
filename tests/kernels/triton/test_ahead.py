"""Compiling for GPUs that are not here, in processes of their own: this one interprets kernels."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gearshift_kernels.triton.ahead import compile_launches
from gearshift_kernels.triton.launch import Device
from gearshift_kernels.triton.targets import TARGETS, occupancy

CHILD = Path(__file__).with_name("ahead_child.py")

Child = Callable[..., tuple[Any, str]]


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Child:
    """`child(action, *arguments)`: what it returned, and all that it printed."""
    cache = tmp_path_factory.mktemp("triton")

    def run(*arguments: str, **variables: str) -> tuple[Any, str]:
        environment = {**os.environ, "TRITON_CACHE_DIR": str(cache), **variables}
        environment.pop("TRITON_INTERPRET", None)
        command = [sys.executable, str(CHILD), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stdout

    return run


@pytest.mark.parametrize("target", ["sm_80", "gfx942"])
def test_each_binary_is_compiled_once(child: Child, target: str) -> None:
    kernels, _ = child("resources", target)
    assert [(kernel["name"], kernel["dtype"]) for kernel in kernels] == [
        (kernels[0]["name"], "bfloat16"),
        (kernels[0]["name"], "float16"),
        (kernels[0]["name"].replace("gelu", "gelu weight_scale"), "int8"),
        (kernels[0]["name"], "bfloat16"),
    ]
    assert re.fullmatch(r"linear gelu bias norm_scale \d+x\d+x\d+", kernels[0]["name"])
    assert len({kernel["folder"] for kernel in kernels}) == 4
    assert all(kernel["seconds"] for kernel in kernels)
    for kernel in kernels:
        assert kernel["target"] == target
        assert kernel["registers"] > 16
        assert kernel["spills"] == 0
        assert 0 < kernel["shared"] <= TARGETS[target].shared_of_block
        assert kernel["occupancy"] > 0
        numbers = [kernel[key] for key in ("registers", "shared", "warps", "tensor_columns")]
        assert kernel["occupancy"] == occupancy(TARGETS[target], *numbers)
    again, _ = child("resources", target)
    assert again == [{**kernel, "seconds": False} for kernel in kernels]


@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
def test_registers_and_spills_are_those_of_the_assembler(child: Child, target: str) -> None:
    # Triton prints what the assembler says.
    kernel, printed = child("spilling", target, "2", TRITON_DUMP_PTXAS_LOG="1")
    (stack,) = re.findall(r"(\d+) bytes stack frame", printed)
    (registers,) = re.findall(r"Used (\d+) registers", printed)
    (stores,) = re.findall(r"(\d+) bytes spill stores", printed)
    assert int(stores) > 0
    assert (kernel["registers"], kernel["spills"]) == (int(registers), int(stack))


@pytest.mark.parametrize("warps", ["1", "2"])
def test_spills_of_amd_are_those_of_the_compiler(child: Child, warps: str) -> None:
    kernel, _ = child("spilling", "gfx942", warps)
    (assembly,) = Path(kernel["folder"]).glob("*.amdgcn")
    (spilled,) = re.findall(r"vgpr_spill_count: +(\d+)", assembly.read_text())
    (registers,) = re.findall(r"TotalNumVgprs: (\d+)", assembly.read_text())
    (waves,) = re.findall(r"; Occupancy: (\d+)", assembly.read_text())
    assert (kernel["spills"] > 0) == (int(spilled) > 0) == (warps == "1")
    assert kernel["registers"] == int(registers)
    # Waves of one of four units, of at most eight.
    assert kernel["occupancy"] <= int(waves) / 8


def test_a_kernel_that_does_not_compile_is_named(child: Child) -> None:
    found, _ = child("failing", "sm_80")
    assert re.match(
        r"kernel linear gelu weight_scale .* does not compile for sm_80: .*fp8e4nv", found["error"]
    )
    assert found["after"] == 1


def test_an_unknown_target() -> None:
    with pytest.raises(ValueError, match="unknown target 'sm_1'"):
        compile_launches([], "sm_1")


@pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are not interpreted here")
def test_interpreted_kernels_are_refused(device: Device) -> None:
    with pytest.raises(RuntimeError, match="unset TRITON_INTERPRET"):
        compile_launches([], "sm_90")
