"""The artifact's own file in onnxruntime: float32, the task as an input, all tasks in one session.

What a stock onnxruntime does with an artifact, and so the peer that every other backend is held to.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gearshift.backends import Options, Stats, refuse_options
from gearshift.graph.graph import IMAGE, TASK
from gearshift.program import Program

NAME = f"onnxruntime {onnxruntime.__version__}"


class OnnxRuntimeBackend:
    """One `InferenceSession` over `model.onnx`, made at the first compile."""

    def __init__(self, options: Options) -> None:
        refuse_options("onnxruntime", options)
        self._options = options
        self._session: onnxruntime.InferenceSession | None = None

    def supports(self, program: Program) -> list[str]:
        """Every program that a graph specialises to: the file holds them all."""
        return []

    def compile(self, program: Program) -> OnnxRuntimeProgram:
        if self._session is None:
            self._session = self._open()
        return OnnxRuntimeProgram(self._session, program)

    def _open(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        if self._options.threads is not None:
            options.intra_op_num_threads = self._options.threads
        return onnxruntime.InferenceSession(
            self._options.folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )


class OnnxRuntimeProgram:
    """One task of the shared session. It cannot tell nodes, experts or bytes apart."""

    def __init__(self, session: onnxruntime.InferenceSession, program: Program) -> None:
        self._session = session
        self._outputs = [session.get_outputs()[0].name]
        self._task = np.array(program.task, np.int64)
        self._task_name = program.task_card.name
        self._seconds = 0.0

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        start = perf_counter()
        output: NDArray[np.float32]
        (output,) = self._session.run(self._outputs, {IMAGE: image, TASK: self._task})
        self._seconds = perf_counter() - start
        return output

    @property
    def stats(self) -> Stats:
        return Stats(NAME, self._task_name, self._seconds)
