"""Every kernel under the compiler's sanitizers, in buffers without a byte to spare.

`sanitizer_driver.cpp` calls them; a mistake on purpose shows that a build finds mistakes. What the
address sanitizer does not see: AVX-512 loads and stores under a mask, which is why the same kernels
run on scalar code and AVX2 as well.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gearshift_kernels.native.library import levels

from .compiling import HERE, build, compile_cpp, needs_compiler, run_program

pytestmark = [pytest.mark.slow, needs_compiler]

MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREADS = ("-fsanitize=thread",)
EMULATED = ("-DGS_AMX", "-DGS_AMX_EMULATED")
ROUNDS = "20"


def compiled(folder: Path, level: str, *flags: str) -> Path:
    """The driver with the kernels of a level; tiles, where a level has them, are emulated."""
    if level == "amx_emulated":
        flags, level = (*flags, *EMULATED), "avx512_bf16"
    if level not in levels():
        pytest.skip(f"this CPU has no {level}")
    program = folder / "driver"
    compile_cpp(
        HERE / "sanitizer_driver.cpp", program,
        *build.LEVELS[level], "-O1", "-g1", f'-DGS_LEVEL="{level}"', *flags,
    )  # fmt: skip
    return program


# Not called `level`: that name stands for the compiled libraries (conftest.py).
@pytest.mark.parametrize("variant", ["scalar", "avx2", "avx512_bf16", "amx_emulated"])
def test_memory_and_undefined_behaviour(variant: str, tmp_path: Path) -> None:
    driver = compiled(tmp_path, variant, *MEMORY)
    code, output = run_program(driver, "outside")
    assert code > 0
    assert "AddressSanitizer" in output
    assert f"{(17 * 32 - 1) * 4}-byte region" in output
    code, output = run_program(driver, "undefined")
    assert code > 0
    assert "signed integer overflow" in output
    assert run_program(driver, "check", "1", ROUNDS) == (0, "done\n")


def test_threads(tmp_path: Path) -> None:
    driver = compiled(tmp_path, "avx2", *THREADS)
    code, output = run_program(driver, "race")
    if "unexpected memory mapping" in output:
        pytest.skip("the thread sanitizer cannot work with this system's layout of addresses")
    assert code > 0
    assert "data race" in output
    assert run_program(driver, "check", "2", ROUNDS) == (0, "done\n")
