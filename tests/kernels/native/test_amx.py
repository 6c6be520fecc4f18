"""AMX kernels: their logic on emulated tiles, their instructions against the compiler's own.

Where the CPU has AMX the same tests run on the real tiles as well.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gearshift_kernels.native import team
from gearshift_kernels.native.library import levels
from gearshift_kernels.native.structures import (
    BFLOAT16,
    INT8,
    Attention,
    Expert,
    Experts,
    Linear,
    Norm,
)
from gearshift_kernels.native.team import Team

from .calls import BFLOAT16_ERROR, ERRORS, FLOAT32_ERROR, Kept, relative, rounded, run, wide
from .compiling import HERE, build, compile_cpp, needs_compiler, needs_x86, run_program
from .conftest import TeamOf
from .test_attention import expected

VECTORS = [level for level in levels() if level != "amx"]

pytestmark = [needs_compiler, pytest.mark.skipif(not VECTORS, reason="no kernels were compiled")]

ROWS = (1, 16, 17, 31, 33, 129)
OUTPUTS = (1, 16, 17, 33, 70)
INPUTS = (1, 5, 32, 33, 384)
EMULATED = ("-DGS_AMX", "-DGS_AMX_EMULATED", "-UGS_LEVEL", '-DGS_LEVEL="amx_emulated"')


@pytest.fixture(scope="session")
def emulated_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels with emulated tiles, the rest on the fastest vectors of this machine."""
    library = tmp_path_factory.mktemp("amx") / build.library_name("amx_emulated")
    build.compile_level(VECTORS[-1], library, (*EMULATED, "-O2"))
    return library


@pytest.fixture(params=["amx_emulated", "amx"])
def amx_team(request: pytest.FixtureRequest, team_of: TeamOf) -> Iterator[Callable[[int], Team]]:
    """`amx_team(threads)`: with emulated tiles, and with real ones."""
    if request.param == "amx":
        if "amx" not in levels():
            pytest.skip("this CPU has no AMX")
        yield lambda threads: team_of("amx", threads)
        return
    library = request.getfixturevalue("emulated_library")

    def emulated(threads: int) -> Team:
        # Patched no longer than this: other teams must get the library of their level.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(team, "choose_level", lambda level: level)
            patch.setattr(team, "library_path", lambda level: library)
            return Team(threads, "amx_emulated")

    yield emulated


def product(
    team: Team, kind: int, x: np.ndarray, weight: np.ndarray, x_is_float: bool
) -> np.ndarray:
    kept = Kept()
    (rows, inputs), outputs = x.shape, len(weight)
    out = kept.output((rows, outputs))
    address = kept.at(x) if x_is_float else kept.operand(x, kind)
    linear = Linear(
        kept.weight(weight, kind), Norm(), address, None, None, out.ctypes.data,
        rows, inputs, outputs, int(x_is_float), 1, 0,
    )  # fmt: skip
    run(team, kind, kept, linear)
    return out


@pytest.mark.parametrize("kind", [BFLOAT16, INT8], ids=["bfloat16", "int8"])
def test_linear(amx_team: Callable[[int], Team], team_of: TeamOf, kind: int) -> None:
    random, tiles = np.random.default_rng(11), {n: amx_team(n) for n in (1, 3)}
    for rows, outputs, inputs in itertools.product(ROWS, OUTPUTS, INPUTS):
        x = random.normal(size=(rows, inputs)).astype(np.float32)
        weight = random.normal(size=(outputs, inputs)).astype(np.float32)
        threads = 1 if rows % 2 else 3
        out = product(tiles[threads], kind, x, weight, True)
        if kind == BFLOAT16:  # as it is in bfloat16, so that only float32 sums err
            x, weight = rounded(x, kind), rounded(weight, kind)
        wanted = x.astype(np.float64) @ weight.T
        assert relative(out, wanted) < (FLOAT32_ERROR if kind == BFLOAT16 else ERRORS[kind])
        vectors = product(team_of(VECTORS[-1], 1), kind, x, weight, True)
        if kind == INT8:
            np.testing.assert_array_equal(out, vectors)  # sums of integers have one value
        else:
            # Their float32 sums differ in order only.
            assert relative(out, vectors) < FLOAT32_ERROR


@pytest.mark.parametrize("rows", [31, 32, 64, 96])
def test_operands_read_in_place(amx_team: Callable[[int], Team], rows: int) -> None:
    """Whole tiles of rows come from where they are, others from a copy: nothing past the end."""
    random = np.random.default_rng(12)
    x = rounded(random.normal(size=(rows, 64)).astype(np.float32), BFLOAT16)
    weight = rounded(random.normal(size=(48, 64)).astype(np.float32), BFLOAT16)
    out = product(amx_team(2), BFLOAT16, x, weight, False)
    assert relative(out, x.astype(np.float64) @ weight.T) < FLOAT32_ERROR


@pytest.mark.parametrize("tokens", [*ROWS, 1290])
@pytest.mark.parametrize("head_dim", [5, 16, 33, 64])
def test_attention(
    amx_team: Callable[[int], Team], team_of: TeamOf, tokens: int, head_dim: int
) -> None:
    shape = (2, tokens, 2, head_dim)
    qkv = np.random.default_rng(tokens).normal(size=(2, tokens, 3, 2, head_dim))
    outs = []
    for one in (amx_team(2), team_of(VECTORS[-1], 1)):
        kept = Kept()
        out = kept.output(shape, np.uint16)
        address = kept.operand(qkv.astype(np.float32), BFLOAT16)
        run(one, BFLOAT16, kept, Attention(address, out.ctypes.data, *shape))
        outs.append(out)
    # The weights of the values are rounded, and the result is.
    wanted = expected(rounded(qkv.astype(np.float32), BFLOAT16))
    assert relative(outs[0], wanted) < BFLOAT16_ERROR
    assert relative(outs[0], wide(outs[1])) < BFLOAT16_ERROR


@pytest.mark.parametrize("kind", [BFLOAT16, INT8], ids=["bfloat16", "int8"])
def test_experts(amx_team: Callable[[int], Team], team_of: TeamOf, kind: int) -> None:
    """Queues of 0, 1, 16, 17 and 33 tokens: bfloat16 and int8 as the vectors have them."""
    queues, columns, hidden_columns = (0, 1, 16, 17, 33), 40, 70
    random, rows = np.random.default_rng(13), sum(queues)
    x = random.normal(size=(rows, columns)).astype(np.float32)
    score = random.uniform(size=rows).astype(np.float32)
    order = random.permutation(rows).astype(np.int32)
    offsets = np.cumsum((0, *queues)).astype(np.int32)
    fc1 = random.normal(size=(len(queues), hidden_columns, columns)).astype(np.float32)
    fc2 = random.normal(size=(len(queues), columns, hidden_columns)).astype(np.float32)
    fc1_bias, fc2_bias = (random.normal(size=w.shape[:2]).astype(np.float32) for w in (fc1, fc2))
    outs = []
    for one in (amx_team(2), team_of(VECTORS[-1], 1)):
        kept = Kept()
        bank = (Expert * len(queues))(
            *(
                Expert(kept.weight(a, kind), kept.weight(b, kind), kept.at(c), kept.at(d))
                for a, b, c, d in zip(fc1, fc2, fc1_bias, fc2_bias, strict=True)
            )
        )
        hidden, answers = kept.output((rows, 96), np.uint16), kept.output((rows, 1, columns))
        experts = Experts(
            bank=kept.at(np.frombuffer(bank, np.uint8)), x=kept.operand(x, kind),
            order=kept.at(order), offsets=kept.at(offsets), score=kept.at(score),
            hidden=hidden.ctypes.data, answers=answers.ctypes.data,
            experts=len(queues), top_k=1, columns=columns,
        )  # fmt: skip
        run(one, kind, kept, experts)
        outs.append(answers)
    # A hidden value may round to the next bfloat16, where sums differ in float32's last bit.
    np.testing.assert_allclose(
        outs[0], outs[1], rtol=0, atol=BFLOAT16_ERROR * np.abs(outs[1]).max()
    )


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("faults") / "faults"
    compile_cpp(HERE / "amx_faults.cpp", program, "-O1", "-DGS_AMX_EMULATED")
    return program


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("unconfigured", "before ldtilecfg"),
        ("released", "before ldtilecfg"),
        ("palette", "palette"),
        ("reserved", "reserved"),
        ("rows", "more than 16 rows"),
        ("bytes", "more than 64 bytes"),
        ("ninth", "eight tiles"),
        ("half", "rows without bytes"),
        ("shape", "shapes"),
        ("missing", "not configured"),
    ],
)
def test_emulation_stops_at_what_the_cpu_forbids(faults: Path, mistake: str, message: str) -> None:
    code, output = run_program(faults, mistake)
    assert code < 0
    assert message in output


def test_emulation_goes_through_without_a_mistake(faults: Path) -> None:
    assert run_program(faults, "none") == (0, "done\n")


AMX_FLAGS = [flag for flag in build.LEVELS["amx"] if flag != "-DGS_AMX"]


@needs_x86
@pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump here")
def test_instructions_are_the_compilers(tmp_path: Path) -> None:
    """Every instruction that amx.h writes is encoded as the compiler's own function for it."""
    listings = []
    for name, flags in {"ours": (), "theirs": ("-DCOMPILERS",)}.items():
        compiled = tmp_path / f"{name}.o"
        compile_cpp(HERE / "amx_wrappers.cpp", compiled, *AMX_FLAGS, "-O2", "-c", *flags)
        code, listing = run_program("objdump", "-d", "--no-addresses", compiled)
        assert code == 0
        listings.append(listing.split("<ordered>:")[0].replace(f"{name}.o", ""))
    assert listings[0] == listings[1]
    for instruction in ("ldtilecfg", "tileloadd", "tilestored", "tdpbf16ps", "tdpbusd"):
        assert instruction in listings[0]


@needs_x86
def test_memory_is_written_before_tiles_read_it(tmp_path: Path) -> None:
    assembly = tmp_path / "wrappers.s"
    compile_cpp(HERE / "amx_wrappers.cpp", assembly, *AMX_FLAGS, "-O3", "-S")
    ordered = assembly.read_text().split("\nordered:")[1].split(".size")[0]
    # A store that the compiler thought useless, or moved, is not found where it was written.
    first, second, tiles, last = (ordered.find(text) for text in ("$77", "$55", "tileload", "$88"))
    assert 0 <= first < second < tiles < last
    assert last > ordered.rfind("tilestore")
    # The answer is read from memory: no constant is in its register.
    assert "$55, %eax" not in ordered
    assert ordered.count("tdpbf16ps") == 4


@needs_x86
def test_the_real_kernels_compile(tmp_path: Path) -> None:
    assembly = tmp_path / "kernels.s"
    flags = ("-S", '-DGS_LEVEL="amx"', "-O1")
    compile_cpp(build.SOURCES / "kernels.cpp", assembly, *build.LEVELS["amx"], *flags)
    text = assembly.read_text()
    for instruction in ("tdpbf16ps", "tdpbusd", "ldtilecfg", "tilerelease"):
        assert instruction in text
