"""The accelerator as backends of a session: its C simulation, and the board."""
