"""Joules a request, by the meters of this machine; where there is none, why there is no number."""

from gearshift_bench.energy.measure import measure_energy

__all__ = ["measure_energy"]
