"""What the accelerator's backends share: bundles by image size, programs run by the driver."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from gearshift.backends import Options, Stats, refuse_options
from gearshift.errors import BackendError
from gearshift.program import Program
from gearshift_hls.backends.usage import Counts, Usage
from gearshift_hls.board import ZCU104, Board
from gearshift_hls.bundle import Bundle
from gearshift_hls.compile.cache import open_bundle
from gearshift_hls.descriptor import COMMANDS
from gearshift_hls.driver.accelerator import Accelerator
from gearshift_hls.driver.device import Device
from gearshift_hls.quantise import unsupported


class AcceleratedBackend:
    """The bundles of one session, one of which is loaded: another image size loads another."""

    def __init__(self, options: Options, device: Device, board: Board = ZCU104) -> None:
        self.device = device
        self._options = options
        self.board = board
        self._bundles: dict[tuple[int, int], Bundle] = {}
        self._loaded: Accelerator | None = None

    def supports(self, program: Program) -> list[str]:
        """What the accelerator, or this build of it, cannot do."""
        return unsupported(program, self.board.build)

    def compile(self, program: Program) -> AcceleratedProgram:
        """All tasks of the model at the program's size, from the cache where it holds them."""
        height, width = program.values[program.input].shape[2:]
        if (height, width) not in self._bundles:
            folder = self._options.folder
            self._bundles[height, width] = open_bundle(folder, self.board, height, width)
        return AcceleratedProgram(self, program, self._bundles[height, width])

    def last_counters(self) -> Mapping[str, int] | None:
        """Performance counters of the last program, by `registers.COUNTER_NAMES`; None: none."""
        return None

    def load(self, bundle: Bundle) -> Accelerator:
        """The accelerator with this bundle in its memory."""
        if self._loaded is None or self._loaded.bundle is not bundle:
            if self._loaded is not None:
                self._loaded.close()
                self._loaded = None
            self._loaded = Accelerator(bundle, self.device)
        return self._loaded


class AcceleratedProgram:
    """One task; the pictures of a batch run one after the other."""

    def __init__(self, backend: AcceleratedBackend, program: Program, bundle: Bundle) -> None:
        self._backend = backend
        self._bundle = bundle
        self._task = program.task_card.name
        self._usage = Usage(bundle, self._task)
        self._mixtures = [step.name for step in program.steps if step.kernel == "expert_mixture"]
        self._counts: list[Counts | None] = []
        self._counters: list[Mapping[str, int]] = []
        self._seconds = 0.0

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised (N,3,H,W) -> the output, the caller's own."""
        start = perf_counter()
        accelerator = self._backend.load(self._bundle)
        self._counts, self._counters = [], []
        results = []
        for result in accelerator.run_each(self._task, image):
            results.append(result)
            self._counts.append(self._usage.count(accelerator.read))
            if (counters := self._backend.last_counters()) is not None:
                self._counters.append(counters)
        output = np.stack(results)
        self._seconds = perf_counter() - start
        return output

    @property
    def stats(self) -> Stats:
        """Sums over the batch: every picture reads the weights anew."""
        counts = [one for one in self._counts if one is not None]
        tokens: dict[str, tuple[int, ...]] | None = None
        weight_bytes = None
        if len(counts) == len(self._counts):
            summed = [np.sum(mixture, axis=0).tolist() for mixture in zip(*counts, strict=True)]
            tokens = dict(zip(self._mixtures, map(tuple, summed), strict=True))
            weight_bytes = sum(map(self._usage.weight_bytes, counts))
        bundle, cycles = self._bundle, self._cycles()
        return Stats(
            self._backend.device.name,
            self._task,
            self._seconds,
            tokens_per_expert=tokens,
            weight_bytes=weight_bytes,
            activation_bytes=bundle.memory_bytes - bundle.write_base + bundle.build.scratch_bytes,
            cycles=cycles,
            busy_cycles=sum(one["array_busy"] for one in self._counters) if cycles else None,
            clock_mhz=self._backend.board.clock_mhz if cycles else None,
        )

    def _cycles(self) -> dict[str, int] | None:
        """By kind of command; the rest is fetching and checking descriptors."""
        if not self._counters:
            return None
        kinds = [command.__name__.lower() for command in COMMANDS[1:]]
        cycles = {kind: sum(one[kind] for one in self._counters) for kind in kinds}
        return cycles | {
            "fetch": sum(one["cycles"] for one in self._counters) - sum(cycles.values())
        }


def check_options(backend: str, options: Options) -> None:
    """The accelerator's arithmetic is fixed when its bitstream is made.

    Raises:
        BackendError: an option asks for another.
    """
    if options.threads is not None:
        raise BackendError(
            f"backend {backend} has no threads, but was asked for {options.threads}: leave "
            "threads out"
        )
    if options.approximate:
        raise BackendError(
            f"backend {backend} always takes GELU and softmax from its tables, but was asked to "
            f"approximate {', '.join(sorted(options.approximate))}: leave it out"
        )
    refuse_options(backend, options, ("int8",))
