"""Post-training quantisation: a graph's float weights as the accelerator's integer operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gearshift_hls.quantise.limits import unsupported

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gearshift.graph.graph import Graph
    from gearshift_hls.build import Build
    from gearshift_hls.operations import Quantised

__all__ = ["quantise_model", "unsupported"]


def quantise_model(graph: Graph, build: Build, pictures: NDArray[np.float32]) -> list[Quantised]:
    """Every task of a graph, calibrated on `pictures`: normalised, (N, 3, H, W).

    H and W are the size that the operations are made for. Operations of the backbone have the same
    constants in all tasks: they are calibrated over all tasks together.

    Raises:
        BackendError: a layer that the accelerator cannot do, or whose values leave the number
            formats; the message says which.
        InputError: a size that patches cannot tile.
    """
    from gearshift_hls.quantise.model import Quantiser

    return Quantiser(graph, build, pictures).run()
