"""Kernels run compiled on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import os

import torch

# Triton reads the variable when a kernel's module is imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
