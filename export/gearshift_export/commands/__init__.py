"""Commands of `gearshift` that need the exporter."""
