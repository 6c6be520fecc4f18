"""Load on a running server: latency at a rate, capacity, overload, overhead and soak."""
