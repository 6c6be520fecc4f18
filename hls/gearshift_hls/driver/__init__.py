"""What starts programs: one driver, over the board or over anything with the same registers."""
