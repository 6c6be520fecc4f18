"""`import gearshift.graph` is light: nothing heavy until something is read or written."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gearshift.graph


def test_onnx_and_torch_stay_unloaded() -> None:
    code = "import sys, gearshift.graph; print({'onnx', 'torch', 'onnxruntime'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert result.stdout == "set()\n", result.stderr


def test_every_promised_name_is_there() -> None:
    for name in gearshift.graph.__all__:
        assert getattr(gearshift.graph, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = gearshift.graph.no_such_name
