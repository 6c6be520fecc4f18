"""GPU kernels in Triton, one idea a file: a kernel, and the function that plans its launch."""
