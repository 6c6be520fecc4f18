"""Backend `fpga-sim`: the accelerator's own C++, compiled by g++ and run behind the driver."""

from __future__ import annotations

from importlib.metadata import version

from gearshift.backends import Options
from gearshift_hls.backends.accelerated import AcceleratedBackend, check_options
from gearshift_hls.board import ZCU104
from gearshift_hls.driver.simulated_device import SimulatedDevice
from gearshift_hls.simulation import Simulation

NAME = f"fpga-sim {version('gearshift')} (C simulation, not the FPGA's time)"


class SimulationBackend(AcceleratedBackend):
    """Bit for bit what the board computes; its seconds are the simulation's."""

    def __init__(self, options: Options) -> None:
        check_options("fpga-sim", options)
        super().__init__(options, SimulatedDevice(NAME, Simulation(ZCU104.build).run))
