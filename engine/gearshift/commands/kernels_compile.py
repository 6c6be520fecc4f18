"""`gearshift kernels compile`: every kernel that models need, and what each asks of a GPU."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gearshift.output import check_file, whole_file

if TYPE_CHECKING:
    from gearshift_kernels.triton.ahead import Resources

HELP = "compile the kernels that models need, and show what each asks of a GPU"
FILE = "kernel-resources.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        default="sm_80,sm_86,sm_89,sm_90,sm_100,gfx942",
        help="GPU architectures, or all (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        default="demo,tiny,small",
        help="artifacts or built-in names (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        default="bfloat16,float16",
        help="float32, float16, bfloat16, int8, float8 or all (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "-o", "--output", type=Path, help=f"JSON to write (default: {FILE} in the cache folder)"
    )


def run(arguments: argparse.Namespace) -> int:
    from gearshift.commands.kernels_launches import (
        check_compiler,
        choose,
        choose_precisions,
        compile_programs,
        programs,
    )

    check_compiler()
    from gearshift_kernels.triton.targets import TARGETS

    output = arguments.output or _default_output()
    check_file(output)
    targets = choose("target", arguments.target, TARGETS)
    precisions = choose_precisions(arguments.precision)
    needed = [program for model in arguments.model.split(",") for program in programs(model)]
    found: dict[Path, dict[str, Any]] = {}
    for target in targets:
        for precision in precisions:
            if precision == "float8" and not TARGETS[target].has_float8:
                print(f"{target} has no float8: left out", file=sys.stderr)
                continue
            for resources in compile_programs(needed, target, precision):
                found.setdefault(resources.folder, _row(resources, precision))
    rows = list(found.values())
    _number(rows)
    content = json.dumps({"kernels": rows}, indent=2)
    with whole_file(output) as partial:
        partial.write_text(content + "\n")
    print(content if arguments.json else _text(rows, output))
    problems = [problem for row in rows for problem in _problems(row)]
    for problem in problems:
        print(f"gearshift: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _row(resources: Resources, precision: str) -> dict[str, Any]:
    from gearshift_kernels.triton.targets import TARGETS

    return {
        "name": resources.name,
        "dtype": resources.dtype,
        "target": resources.target,
        "precision": precision,
        "registers": resources.registers,
        "spills": resources.spills,
        "shared": resources.shared,
        "shared_limit": TARGETS[resources.target].shared_of_block,
        "tensor_columns": resources.tensor_columns,
        "warps": resources.warps,
        "stages": resources.stages,
        "occupancy": round(resources.occupancy, 4),
        "seconds": round(resources.seconds, 3),
    }


def _number(rows: list[dict[str, Any]]) -> None:
    """Give variants of one name a number each, from the second on."""
    seen: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        variant = row["target"], row["dtype"], row["name"]
        seen[variant] += 1
        if seen[variant] > 1:
            row["name"] += f" #{seen[variant]}"


def _problems(row: dict[str, Any]) -> list[str]:
    """What is wrong with a kernel: no launch of it would run, or it is needlessly slow."""
    from gearshift.commands.kernels_launches import SIXTEEN_BIT

    kernel = f"kernel {row['name']} {row['dtype']} on {row['target']}"
    if row["shared"] > row["shared_limit"]:
        return [
            f"{kernel} needs {row['shared']:,} bytes of shared memory, "
            f"a block may have {row['shared_limit']:,}"
        ]
    if not row["occupancy"]:
        return [f"{kernel} does not fit a multiprocessor: {row['registers']} registers"]
    if row["spills"] and row["precision"] in SIXTEEN_BIT:
        return [f"{kernel} spills {row['spills']:,} bytes of registers"]
    return []


def _text(rows: list[dict[str, Any]], output: Path) -> str:
    from gearshift.text import columns

    head = ("kernel", "dtype", "target", "registers", "spills", "shared", "occupancy")
    table = [
        (
            row["name"],
            row["dtype"],
            row["target"],
            str(row["registers"]),
            str(row["spills"]),
            f"{row['shared']:,}",
            f"{row['occupancy']:.0%}",
        )
        for row in rows
    ]
    spilling = sum(row["spills"] > 0 for row in rows)
    targets = ", ".join(dict.fromkeys(row["target"] for row in rows))
    return (
        f"{columns([head, *table], right=(3, 4, 5, 6))}\n\n"
        f"{len(rows)} kernels for {targets}; {spilling} of them spill registers\n"
        f"spills are bytes of a thread, shared memory is bytes of a block\n{output}"
    )


def _default_output() -> Path:
    from gearshift.cache import cache_folder

    return cache_folder() / FILE
