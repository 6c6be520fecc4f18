"""From a compiled model to a bitstream: the vendor project, its runs and its reports."""
