"""`gearshift bench serve`: load on a running server."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "drive a running server: latency at a rate, capacity, overload, overhead, soak"
EXAMPLE = """\
gearshift bench serve http://127.0.0.1:8000 --rate 20,60,100 --duration 10
gearshift bench serve grpc://127.0.0.1:8001 --capacity --task depth
gearshift bench serve http://127.0.0.1:8000 --overhead --overload --json load.json
gearshift bench serve http://127.0.0.1:8000 --soak 3600 --rate 50 --mix semseg:0.7,depth:0.3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="http://HOST:PORT or grpc://HOST:PORT; https and grpcs for TLS")
    parser.add_argument("--model", help="its name; needed when the server has several")
    mix = parser.add_mutually_exclusive_group()
    mix.add_argument("--task", help="of every request; default: all tasks alike, at random")
    mix.add_argument("--mix", metavar="T:W,...", help="tasks at random, by weights")
    mix.add_argument("--markov", type=float, metavar="P", help="the task stays with probability P")
    parser.add_argument("--rate", metavar="R,...", help="requests a second, on a schedule")
    parser.add_argument(
        "--fixed", action="store_true", help="evenly spaced requests, not a Poisson process"
    )
    parser.add_argument("--capacity", action="store_true", help="the most answers a second")
    parser.add_argument(
        "--overload", action="store_true", help="twice the capacity, beside an unloaded server"
    )
    parser.add_argument(
        "--overhead", action="store_true", help="the server beside a session in this process"
    )
    parser.add_argument(
        "--session", metavar="MODEL", help="what --overhead opens; default: the model's name"
    )
    parser.add_argument("--backend", default="auto", help="of that session")
    parser.add_argument("--precision", help="of that session")
    parser.add_argument("--threads", type=int, help="of that session")
    parser.add_argument(
        "--soak", type=float, metavar="SECONDS", help="a steady load, and the server's memory"
    )
    parser.add_argument("--pid", type=int, help="the server's process, to read its memory")
    parser.add_argument(
        "--duration", type=float, default=10.0, metavar="SECONDS", help="of a load; default: 10"
    )
    parser.add_argument("--seed", type=int, default=0, help="of arrivals and tasks")
    parser.add_argument("--api-key", type=Path, metavar="FILE", help="its first line is the key")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")


def run(arguments: argparse.Namespace) -> int:
    from gearshift_bench.serve.measurement import measure

    return measure(arguments)
