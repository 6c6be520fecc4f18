"""What a backend, a precision or an approximation costs in accuracy, beside what it saves."""

from gearshift_bench.accuracy.measure import measure_accuracy

__all__ = ["measure_accuracy"]
