"""The arithmetic of gearshift: kernels that know tensors, not models, each with an oracle."""
