"""Moves experts from host memory into two slots, ahead of their use."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gearshift.backends.triton_plan import Move
from gearshift.backends.triton_weights import ExpertPool
from gearshift.experts import STREAMING_SLOTS


class Mover:
    """The moves of one program, in the order of its run.

    A run calls `start` once and then, for every move in turn, `wait` before the launches that
    read the slot and `release` behind them. On a GPU copies go their own stream, so that the next
    expert arrives while this one computes, across the boundaries of blocks as well; events keep a
    copy behind the last reader of its slot. All of it can be captured in a CUDA graph. On the CPU
    a copy is done when the call returns.
    """

    def __init__(self, pool: ExpertPool, moves: Sequence[Move], place: torch.device) -> None:
        self.moves = moves
        self._pool = pool
        self._is_gpu = place.type == "cuda"
        self._stream = torch.cuda.Stream() if self._is_gpu else None
        self._arrived = [torch.cuda.Event() for _ in moves] if self._is_gpu else []
        self._next = 0

    def start(self) -> None:
        """Begin the first copies, behind everything that the current stream still does."""
        self._next = 0
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream())
        for number in range(min(STREAMING_SLOTS, len(self.moves))):
            self._copy(number)

    def wait(self) -> None:
        """Keep the current stream's next launches behind the arrival of the next expert."""
        if self._is_gpu:
            torch.cuda.current_stream().wait_event(self._arrived[self._next])

    def release(self) -> None:
        """The launches that read this expert are issued: its slot takes the next but one."""
        following = self._next + STREAMING_SLOTS
        self._next += 1
        if following >= len(self.moves):
            return
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream())
        self._copy(following)

    def _copy(self, number: int) -> None:
        move = self.moves[number]
        source, slot = self._pool.host[move.row], self._pool.slots[move.slot]
        if self._stream is None:
            slot.copy_(source)
            return
        with torch.cuda.stream(self._stream):
            slot.copy_(source, non_blocking=True)
            self._arrived[number].record()
