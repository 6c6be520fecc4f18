"""The accelerator: contract, quantiser, compiler, golden model, board files and driver."""
