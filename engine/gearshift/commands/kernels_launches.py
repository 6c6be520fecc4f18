"""The launches of models on a GPU that need not be here, and the checks before them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast, get_args

from gearshift.errors import BackendError, InputError

if TYPE_CHECKING:
    from gearshift.backends import Precision
    from gearshift.program import Program
    from gearshift_kernels.triton.ahead import Resources

SIXTEEN_BIT = ("float16", "bfloat16")
"""The precisions in which no kernel may spill registers."""


def check_compiler() -> None:
    """Raises BackendError unless kernels can be compiled in this process."""
    if find_spec("triton") is None:
        raise BackendError(
            "the GPU kernels need the package triton, which is missing: "
            "pip install 'gearshift[gpu]'"
        )
    from gearshift_kernels.triton.launch import is_interpreted

    if is_interpreted():
        raise BackendError("TRITON_INTERPRET is set, so that no kernel is compiled: unset it")


def choose(what: str, text: str, known: Iterable[str]) -> list[str]:
    """The names in a comma-separated list, each once; `all` is all that are known.

    Raises:
        InputError: one is not known; the message lists those that are.
    """
    known = list(known)
    chosen = known if text == "all" else list(dict.fromkeys(text.split(",")))
    for name in chosen:
        if name not in known:
            raise InputError(f"unknown {what} {name!r}: choose from {', '.join(known)} or all")
    return chosen


def choose_precisions(text: str) -> list[Precision]:
    """The precisions in a comma-separated list, those of `SIXTEEN_BIT` first.

    Raises:
        InputError: one is not known.
    """
    from gearshift.backends import Precision

    names = choose("precision", text, get_args(Precision))
    return cast("list[Precision]", sorted(names, key=lambda name: name not in SIXTEEN_BIT))


def programs(model: str) -> list[Program]:
    """One for each task of a model, for one image of the card's size.

    Raises:
        ArtifactError: there is no such model, or it is damaged.
    """
    from gearshift.graph import read_artifact
    from gearshift.models import find_model
    from gearshift.specialise import specialise

    graph = read_artifact(find_model(model))
    return [specialise(graph, task) for task in range(len(graph.card.tasks))]


def compile_programs(
    needed: Iterable[Program], target: str, precision: Precision
) -> list[Resources]:
    """Compile what the programs launch, exactly and approximately, with a bar if it takes long.

    Raises:
        BackendError: a part of a program has no kernel, or a kernel does not compile.
    """
    from gearshift.backends import Approximation
    from gearshift.backends.lowering import UnsupportedError
    from gearshift.backends.triton_plan import plan_launches
    from gearshift_kernels.triton.ahead import compile_launches

    def progress(kernels: list[Any]) -> Iterator[Any]:
        from tqdm import tqdm

        yield from tqdm(kernels, desc=f"{target} {precision}", unit="kernel", delay=2, leave=False)

    try:
        launches = [
            launch
            for program in needed
            for approximate in (frozenset(), frozenset(get_args(Approximation)))
            for launch in plan_launches(program, target, precision, approximate)
        ]
        return compile_launches(launches, target, progress)
    except (UnsupportedError, RuntimeError) as error:
        raise BackendError(str(error)) from error
