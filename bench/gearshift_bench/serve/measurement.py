"""What the command asks for, one plan after another, and the document that they make."""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from gearshift.errors import InputError
from gearshift.output import check_file, whole_file
from gearshift_bench.latency.workload import Workload, markov, parse_weights, single, weighted
from gearshift_bench.peers.host import describe_host, load_average
from gearshift_bench.serve import memory, plans
from gearshift_bench.serve.drive import run
from gearshift_bench.serve.floor import Floor
from gearshift_bench.serve.http_client import HttpClient
from gearshift_bench.serve.payload import make_payloads, random_image
from gearshift_bench.serve.report import EXPLANATION, to_text
from gearshift_bench.serve.target import (
    Address,
    Client,
    ServerError,
    Target,
    connect,
    find_target,
    parse_url,
)

FORMAT = "gearshift-serve-1"
SOAK_SHARE = 0.5
"""Of the capacity: the rate of a soak for which none is given."""
MOST_RATE = 1e5
MOST_SECONDS = 86_400.0

Plan = Callable[[], Awaitable[dict[str, Any]]]


def measure(arguments: argparse.Namespace) -> int:
    """Run the command. Raises GearshiftError."""
    address = parse_url(arguments.url)
    rates = parse_rates(arguments.rate)
    for option in ("duration", "soak"):
        check_seconds(option, getattr(arguments, option))
    if arguments.json is not None:
        check_file(arguments.json)
    key = read_key(arguments.api_key)
    return run(_measure(arguments, address, rates, key))


async def _measure(
    arguments: argparse.Namespace, address: Address, rates: list[float], key: str | None
) -> int:
    client = connect(address, key)
    try:
        target = await find_target(client, address, arguments.model)
        workload = make_workload(arguments, target)
        load = load_average()
        print(_heading(address, target, workload), flush=True)
        records = []
        driver = _driver(arguments, client, target, workload)
        for plan in choose_plans(arguments, client, target, driver, rates):
            record = await plan()
            records.append(record)
            print(to_text(record), flush=True)
        print(EXPLANATION)
    except OSError as error:
        raise ServerError(f"{address}: {error.strerror or error}") from None
    finally:
        await client.close()
    if arguments.json is not None:
        document = {
            "format": FORMAT,
            "url": str(address),
            "target": asdict(target),
            "workload": {"kind": workload.kind, "description": workload.description},
            "host": asdict(describe_host()),
            "load_average_before": load,
            "records": records,
        }
        with whole_file(arguments.json) as partial:
            partial.write_text(json.dumps(document, indent=1) + "\n")
        print(f"wrote {arguments.json}")
    return 0


def choose_plans(
    arguments: argparse.Namespace,
    client: Client,
    target: Target,
    driver: plans.Driver,
    rates: list[float],
) -> list[Plan]:
    """In their order; without any wish, the capacity."""
    seconds: float = arguments.duration
    chosen: list[Plan] = []
    if arguments.overhead:
        options = session_options(arguments, target)
        run_here = open_session(options, target)
        chosen.append(
            partial(_overhead, client, target, driver.requests, run_here, options, seconds)
        )
    if arguments.soak is None:
        chosen += [partial(plans.at_rate, driver, rate, seconds) for rate in rates]
    if arguments.overload:
        chosen.append(partial(plans.overload, driver, seconds))
    if arguments.soak is not None:
        read = memory_reader(arguments.pid, client)
        chosen.append(partial(_soak, driver, rates, arguments.soak, read))
    if arguments.capacity or not chosen:
        chosen.insert(0, partial(plans.capacity, driver, seconds))
    return chosen


async def _overhead(
    client: Client,
    target: Target,
    requests: Iterator[str],
    run_here: Callable[[str], object],
    options: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    payloads = make_payloads(target.tasks, target.height, target.width)
    send = client.prepare_blocking(target.model, payloads)
    with Floor(payloads, options) as floor:
        return await plans.overhead(requests, run_here, send, floor.send, seconds)


async def _soak(
    driver: plans.Driver, rates: list[float], seconds: float, read: plans.ReadMemory | None
) -> dict[str, Any]:
    if not rates:
        found = await plans.capacity(driver, 1.0)
        rates = [SOAK_SHARE * found["answers_per_second"]]
    return await plans.soak(driver, rates[0], seconds, read)


def memory_reader(pid: int | None, client: Client) -> plans.ReadMemory | None:
    """How the server's resident bytes are read; None where they cannot be. Raises InputError."""
    if pid is not None:
        memory.of_process(pid)

        async def of_process() -> float:
            return memory.of_process(pid)

        return of_process
    if not isinstance(client, HttpClient):
        return None

    async def of_metrics() -> float:
        return memory.of_metrics((await client.ask("GET", "/metrics")).decode())

    return of_metrics


def session_options(arguments: argparse.Namespace, target: Target) -> dict[str, Any]:
    """Of the session that a server is compared with."""
    return {
        "model": arguments.session or target.model,
        "backend": arguments.backend,
        "precision": arguments.precision,
        "threads": arguments.threads,
    }


def open_session(options: Mapping[str, Any], target: Target) -> Callable[[str], object]:
    """The same requests to a session of this process, warm. Raises GearshiftError."""
    from gearshift import Session

    session = Session(**options)
    image = random_image(target.height, target.width)
    for task in target.tasks:
        session.run_normalised(image, task)
    return lambda task: session.run_normalised(image, task)


def make_workload(arguments: argparse.Namespace, target: Target) -> Workload:
    """Which tasks are asked for. Raises InputError."""
    if arguments.task is not None:
        if arguments.task not in target.tasks:
            known = ", ".join(target.tasks)
            raise InputError(f"model {target.model} has no task {arguments.task!r}: it has {known}")
        return single(arguments.task)
    if arguments.markov is not None:
        return markov(arguments.markov, target.tasks, arguments.seed)
    if arguments.mix is not None:
        return weighted(parse_weights(arguments.mix, target.tasks), arguments.seed)
    return weighted(dict.fromkeys(target.tasks, 1.0), arguments.seed)


def parse_rates(text: str | None) -> list[float]:
    """`20,60.5`. Raises InputError."""
    rates = []
    for part in text.split(",") if text else []:
        try:
            rate = float(part)
        except ValueError:
            rate = 0.0
        if not 0 < rate <= MOST_RATE:
            raise InputError(f"--rate {part!r}: give requests a second, up to {MOST_RATE:,.0f}")
        rates.append(rate)
    return rates


def check_seconds(option: str, seconds: float | None) -> None:
    """Raises InputError."""
    if seconds is not None and not 0 < seconds <= MOST_SECONDS:
        raise InputError(f"--{option} {seconds:g}: give seconds, up to {MOST_SECONDS:,.0f}")


def read_key(path: Path | None) -> str | None:
    """The first line of a file. Raises InputError."""
    if path is None:
        return None
    try:
        key = path.read_text("ascii").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--api-key {path}: {error}") from None
    if not key or not key.isprintable():
        raise InputError(f"--api-key {path}: its first line holds no key")
    return key


def _driver(
    arguments: argparse.Namespace, client: Client, target: Target, workload: Workload
) -> plans.Driver:
    payloads = make_payloads(workload.tasks, target.height, target.width)
    send = client.prepare(target.model, payloads)
    return plans.Driver(send, workload.requests(), not arguments.fixed, arguments.seed)


def _heading(address: Address, target: Target, workload: Workload) -> str:
    return (
        f"{address}, model {target.model}, image 1x3x{target.height}x{target.width}, "
        f"{workload.description}"
    )
