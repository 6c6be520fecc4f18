"""Backend `rtl-sim`: the accelerator's RTL, cycle by cycle, behind the driver."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from gearshift.backends import Options
from gearshift_hls.backends.accelerated import AcceleratedBackend, check_options
from gearshift_hls.board import ZCU104
from gearshift_hls.driver.simulated_device import SimulatedDevice
from gearshift_hls.rtl_simulation import SIMULATED, RtlSimulation

NAME = f"rtl-sim {version('gearshift')} ({SIMULATED})"


class RtlSimulationBackend(AcceleratedBackend):
    """Bit for bit what the board computes, with the cycles that it takes there if external memory
    is as `rtl_simulation.assumed_memory` assumes; the seconds are the simulation's."""

    def __init__(self, options: Options) -> None:
        check_options("rtl-sim", options)
        self._simulation = RtlSimulation(ZCU104.build)
        super().__init__(options, SimulatedDevice(NAME, self._simulation.run))

    def last_counters(self) -> Mapping[str, int] | None:
        last = self._simulation.last
        return last.programs[-1].counters if last else None
