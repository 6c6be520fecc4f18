"""`gearshift bench`: one sub-command a benchmark."""

from __future__ import annotations

import argparse

from gearshift_bench.commands import kernels, peers, roofline

BENCHMARKS = {"roofline": roofline, "kernels": kernels, "peers": peers}

HELP = "predict and measure what tasks and kernels cost"
EXAMPLE = f"{roofline.EXAMPLE}\n{kernels.EXAMPLE}\n{peers.EXAMPLE}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sub_parsers = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True)
    for name, benchmark in BENCHMARKS.items():
        benchmark.add_arguments(
            sub_parsers.add_parser(
                name,
                help=benchmark.HELP,
                description=benchmark.HELP,
                epilog="examples:\n"
                + "\n".join(f"  {line}" for line in benchmark.EXAMPLE.splitlines()),
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )


def run(arguments: argparse.Namespace) -> int:
    return BENCHMARKS[arguments.benchmark].run(arguments)
