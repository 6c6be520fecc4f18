"""`gearshift bench`: a model's name measures that model; a benchmark's name runs that benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path

from gearshift.cli import Command
from gearshift_bench.commands import (
    accuracy,
    compare,
    fpga,
    fpga_accuracy,
    kernels,
    latency,
    peers,
    report,
    roofline,
    serve,
)

BENCHMARKS: dict[str, Command] = {
    "accuracy": accuracy,
    "serve": serve,
    "compare": compare,
    "report": report,
    "roofline": roofline,
    "kernels": kernels,
    "peers": peers,
    "fpga": fpga,
    "fpga-accuracy": fpga_accuracy,
}

HELP = "measure a model's tasks; predict and measure what kernels cost"
EXAMPLE = "\n".join(command.EXAMPLE for command in (latency, *BENCHMARKS.values()))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "gearshift bench MODEL [options]\n"
        "       gearshift bench BENCHMARK [options]\n"
        "       gearshift bench --compare BEFORE AFTER"
    )
    width = max(map(len, BENCHMARKS))
    lines = [f"  {name:{width}}  {command.HELP}" for name, command in BENCHMARKS.items()]
    parser.description = (
        f"MODEL: {latency.HELP}; see gearshift bench MODEL --help.\n"
        "BENCHMARK: one of\n" + "\n".join(lines)
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("BEFORE", "AFTER"),
        help="as gearshift bench compare",
    )
    # The first word decides who reads the others: it is a benchmark, or else a model.
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(bench_parser=parser)


def run(arguments: argparse.Namespace) -> int:
    parser: argparse.ArgumentParser = arguments.bench_parser
    words: list[str] = arguments.words
    if arguments.compare:
        if words:
            parser.error(f"--compare takes two files, and {words[0]!r} is one more")
        return compare.run(
            argparse.Namespace(before=arguments.compare[0], after=arguments.compare[1])
        )
    if not words:
        parser.error("name a MODEL or a BENCHMARK")
    command = BENCHMARKS.get(words[0])
    if command is None:
        return latency.run(_parse(latency, "gearshift bench", words))
    return command.run(_parse(command, f"gearshift bench {words[0]}", words[1:]))


def _parse(command: Command, name: str, words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=name,
        description=command.HELP,
        epilog="examples:\n" + "\n".join(f"  {line}" for line in command.EXAMPLE.splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return parser.parse_args(words)
