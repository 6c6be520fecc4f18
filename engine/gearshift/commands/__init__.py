"""Sub-commands of `gearshift` that belong to the engine."""
