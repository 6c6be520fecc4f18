"""From a trained checkpoint to the graph that the engine runs."""
