"""Latency of a model's tasks: cold, warm, one after another, at a fixed rate, and in mixes."""
