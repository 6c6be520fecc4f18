"""What a run read and which experts it used, told from its descriptors and the queues it left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gearshift_hls.build import Build
from gearshift_hls.bundle import Bundle
from gearshift_hls.descriptor import SCRATCH, Command, Experts, Region, Route, queue_bytes
from gearshift_hls.program import commands as read_commands

Counts = tuple[tuple[int, ...], ...]
"""By `Experts` command: the tokens of each of its experts."""


class Usage:
    """The mixtures of one program, and what each run costs in weights."""

    def __init__(self, bundle: Bundle, task: str) -> None:
        commands = [one for one in read_commands(bundle, bundle.tasks[task]) if one is not None]
        self._build = bundle.build
        self._write_base = bundle.write_base
        self._experts = [command for command in commands if isinstance(command, Experts)]
        self._dense_bytes = sum(self._constant_bytes(command) for command in commands)
        self._can_count = queues_are_left(commands, bundle.build)

    def count(self, read: Callable[[int, int], NDArray[np.uint8]]) -> Counts | None:
        """Tokens of every expert in the last run; None where its queues are no longer there.

        Args:
            read: address and length in external memory -> the bytes.
        """
        if not self._can_count:
            return None
        heads = [read(command.queues, 4 * command.experts) for command in self._experts]
        return tuple(tuple(head.view("<u4").tolist()) for head in heads)

    def weight_bytes(self, counts: Counts) -> int:
        """Constants that a run with these counts used: an expert's only where it had tokens."""
        total = self._dense_bytes
        for command, tokens in zip(self._experts, counts, strict=True):
            used = sum(count > 0 for count in tokens)
            expert_bytes = self._build.expert_bytes(command.channels, command.hidden)
            total += used * self._build.weight_ports * expert_bytes
        return total

    def _constant_bytes(self, command: Command) -> int:
        """Of a command's weights, parameters and tables, but for the experts' weights."""
        return sum(
            region.nbytes
            for region in command.regions(self._build)
            if region.address < self._write_base
            and not (isinstance(command, Experts) and region.field == "weights")
        )


def queues_are_left(commands: Sequence[Command], build: Build) -> bool:
    """Whether the processor can still read all expert queues when the program has ended: they lie
    in external memory, and no later command writes there."""
    regions = [command.regions(build) for command in commands]
    for number, command in enumerate(commands):
        if isinstance(command, Route):
            later = [region for those in regions[number + 1 :] for region in those]
            if command.queues >= SCRATCH or any(_spoils(region, command) for region in later):
                return False
    return True


def _spoils(region: Region, route: Route) -> bool:
    start, end = route.queues, route.queues + queue_bytes(route.experts, route.tokens)
    meets = region.address < end and start < region.address + region.nbytes
    return meets and region.access == "write"
