"""The command `gearshift`: finds its sub-commands by entry point and turns errors into one line.

A command is a module with `HELP` (one line), `EXAMPLE` (one or more command lines),
`add_arguments(parser)` and `run(arguments)`, which returns the exit code. Command modules import
nothing heavy at their top, so that help is instant.

Exit codes: 0 done, 1 an error that was named, 2 a wrong command line, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Protocol, cast

from gearshift.entries import find_entries
from gearshift.errors import GearshiftError


class Command(Protocol):
    """What a command module offers."""

    HELP: str
    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


def load_commands() -> dict[str, Command]:
    """The commands of group `gearshift.commands`, by name."""
    found = find_entries("gearshift.commands")
    return {name: cast(Command, entry.load()) for name, entry in found.items()}


def add_commands(
    parser: argparse.ArgumentParser, commands: Mapping[str, Command], kind: str
) -> None:
    """A sub-command for each of `commands`, one of which must be given.

    Args:
        kind: what help calls them, and the attribute of the arguments with the chosen one's name.
    """
    sub_parsers = parser.add_subparsers(dest=kind, metavar=kind.upper(), required=True)
    for name, command in commands.items():
        sub_parser = sub_parsers.add_parser(
            name,
            help=command.HELP,
            description=command.HELP,
            epilog="examples:\n" + "\n".join(f"  {line}" for line in command.EXAMPLE.splitlines()),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub_parser)


def _parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gearshift",
        description="Runs one task at a time of a multitask mixture-of-experts vision transformer.",
        epilog="example: gearshift run photo.jpg --task depth -o depth.png",
    )
    parser.add_argument("--version", action="version", version=f"gearshift {version('gearshift')}")
    add_commands(parser, commands, "command")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    commands = load_commands()
    arguments = _parser(commands).parse_args(argv)
    try:
        return commands[arguments.command].run(arguments)
    except GearshiftError as error:
        print(f"gearshift: {error}", file=sys.stderr)
    except BrokenPipeError:
        # The reader (head, less) has left: nothing is wrong, and nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"gearshift: {where}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("gearshift: interrupted", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
