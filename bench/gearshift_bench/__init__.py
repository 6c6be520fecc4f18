"""Predictions and measurements of what programs and kernels cost."""
