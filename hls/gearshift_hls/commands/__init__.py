"""Commands of `gearshift` that belong to the accelerator."""
