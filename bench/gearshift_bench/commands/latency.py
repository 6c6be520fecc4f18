"""`gearshift bench MODEL`: latency, throughput, work, memory and energy of a model's tasks."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gearshift.errors import InputError
from gearshift.output import check_file, make_folder

if TYPE_CHECKING:
    from gearshift_bench.latency.plan import Plan
    from gearshift_bench.latency.workload import Workload

PRECISIONS = ("float32", "float16", "bfloat16", "int8", "float8")
APPROXIMATIONS = ("gelu", "softmax")
SECONDS = 5.0
MOST_SECONDS = 86_400.0
MOST_RATE = 1e5
MOST_BATCH = 1024
MOST_RUNS = 256

HELP = "measure a model's tasks: latency, throughput, work, memory, energy"
EXAMPLE = """\
gearshift bench demo
gearshift bench demo --task semseg depth --backend native onnxruntime --precision float32 bfloat16
gearshift bench demo --mix semseg:0.7,depth:0.3 --rate 50 --json result.json --report report.html
gearshift bench --compare before.json after.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="artifact or built-in name")
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    parser.add_argument(
        "--task", metavar="TASK", help="(default: each, or the mix alone)", **several
    )
    parser.add_argument("--backend", metavar="BACKEND", help="(default: auto)", **several)
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="(default: the backend's own)", **several
    )
    parser.add_argument("--batch", type=int, metavar="N", help="images a request (1)", **several)
    parser.add_argument(
        "--threads", type=int, metavar="N", help="(the backend's choice)", **several
    )
    parser.add_argument("--approximate", choices=APPROXIMATIONS, **several)
    parser.add_argument("--memory", metavar="SIZE", help="fast memory for experts, such as 64MB")
    parser.add_argument("--image", type=Path, metavar="FILE", help="(default: rendered rooms)")
    parser.add_argument(
        "--duration", type=float, default=SECONDS, metavar="SECONDS", help="of a run (%(default)g)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of mixes and arrivals (%(default)s)")
    _add_load(parser)
    parser.add_argument("--no-cold", action="store_true", help="no cold starts, no peak memory")
    parser.add_argument(
        "--assume-watts", type=float, metavar="W", help="energy by assumption, in its own column"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write it as one HTML page")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write its pictures")


def _add_load(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate", type=float, metavar="R", help="requests a second, waited for or not (open loop)"
    )
    parser.add_argument(
        "--arrivals",
        choices=("poisson", "fixed"),
        default="poisson",
        help="of --rate (%(default)s)",
    )
    mix = parser.add_mutually_exclusive_group()
    mix.add_argument("--mix", metavar="TASK:WEIGHT,…", help="tasks drawn at random")
    mix.add_argument("--markov", type=float, metavar="P", help="the task stays with probability P")
    mix.add_argument(
        "--trace", type=Path, metavar="FILE", help="a task, or seconds and task, a line"
    )


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    plan = make_plan(arguments)
    if arguments.plots:
        make_folder(arguments.plots)

    from gearshift_bench.latency.loops import SystemClock
    from gearshift_bench.latency.measure import measure
    from gearshift_bench.latency.text import lines
    from gearshift_bench.progress import show_progress

    document = measure(plan, show_progress, SystemClock())
    print("\n".join(lines(document)))
    for words in _write(document, arguments):
        print(words)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Everything that can be told before a model is opened."""
    _within("--duration", arguments.duration, 0.0, MOST_SECONDS)
    _within("--rate", arguments.rate, 0.0, MOST_RATE)
    _within("--assume-watts", arguments.assume_watts, 0.0, 1e6)
    for batch in arguments.batch:
        if not 1 <= batch <= MOST_BATCH:
            raise InputError(f"--batch {batch}: give 1 to {MOST_BATCH}")
    if arguments.seed < 0:
        raise InputError(f"--seed {arguments.seed}: give 0 or more")
    for output in (arguments.json, arguments.report):
        if output is not None:
            check_file(output)
    if arguments.json and arguments.json == arguments.report:
        raise InputError(f"--json and --report are both {arguments.json}: choose two names")
    if arguments.json or arguments.report or arguments.plots:
        from gearshift_bench.report.files import need

        need("jsonschema")
        if arguments.report:
            need("jinja2")
    if arguments.plots:
        from gearshift_bench.report.plots import check_plots

        check_plots()


def _within(option: str, value: float | None, above: float, most: float) -> None:
    if value is not None and not (math.isfinite(value) and above < value <= most):
        raise InputError(f"{option} {value:g}: give more than {above:g}, at most {most:g}")


def make_plan(arguments: argparse.Namespace) -> Plan:
    """The plan that a checked command line asks for.

    Raises:
        GearshiftError: an unknown model, task or backend, or a mix or trace that makes no sense.
    """
    from gearshift.backends import choose_backend
    from gearshift.experts import parse_memory
    from gearshift.graph import read_artifact
    from gearshift.models import find_model
    from gearshift_bench.latency.configuration import configurations
    from gearshift_bench.latency.plan import Plan

    backends = [choose_backend(name) for name in arguments.backend or ["auto"]]
    memory = None if arguments.memory is None else parse_memory(arguments.memory)
    model = find_model(arguments.model).absolute()
    known = [task.name for task in read_artifact(model).card.tasks]
    workloads = _workloads(arguments, known)
    found = configurations(
        backends,
        arguments.precision,
        arguments.batch or [1],
        arguments.threads or [None],
        arguments.approximate,
        memory,
    )
    if len(found) * len(workloads) > MOST_RUNS:
        raise InputError(f"{len(found) * len(workloads)} runs: ask for {MOST_RUNS} at most")
    return Plan(
        model,
        workloads,
        found,
        arguments.duration,
        arguments.rate,
        arguments.arrivals,
        not arguments.no_cold,
        arguments.assume_watts,
        arguments.seed,
        arguments.image,
    )


def _workloads(arguments: argparse.Namespace, known: Sequence[str]) -> list[Workload]:
    """Every task asked for by itself, then the mix; a mix alone, when no task is named."""
    from gearshift_bench.latency.trace import read_trace
    from gearshift_bench.latency.workload import markov, parse_weights, single, weighted

    for task in arguments.task:
        if task not in known:
            raise InputError(f"task {task!r} is not known: choose from {', '.join(known)}")
    tasks = list(dict.fromkeys(arguments.task))
    mixes = []
    if arguments.mix is not None:
        mixes.append(weighted(parse_weights(arguments.mix, known), arguments.seed))
    if arguments.markov is not None:
        mixes.append(markov(arguments.markov, tasks or known, arguments.seed))
    if arguments.trace is not None:
        mixes.append(read_trace(arguments.trace, known))
        if mixes[0].arrivals is not None and arguments.rate is not None:
            raise InputError(f"--rate: {arguments.trace} has times of its own; leave --rate out")
    alone = tasks if mixes else tasks or known
    return [*map(single, alone), *mixes]


def _write(document: dict[str, Any], arguments: argparse.Namespace) -> list[str]:
    """The files that were asked for; returns what was written."""
    from gearshift_bench.report import write_plots, write_report
    from gearshift_bench.report.document import write_document

    written = []
    if arguments.json:
        write_document(document, arguments.json)
        written.append(f"wrote {arguments.json}")
    if arguments.report:
        write_report(document, arguments.report)
        written.append(f"wrote {arguments.report}")
    if arguments.plots:
        pictures = write_plots(document, arguments.plots)
        written.append(f"wrote {len(pictures)} pictures to {arguments.plots}")
    return written
