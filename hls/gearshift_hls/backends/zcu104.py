"""Backend `zcu104`: the board, through PYNQ."""

from __future__ import annotations

from gearshift.backends import Options
from gearshift_hls.backends.accelerated import AcceleratedBackend, check_options
from gearshift_hls.driver.pynq_device import PynqDevice


class Zcu104Backend(AcceleratedBackend):
    """Runs on the board itself: opening it loads the overlay that GEARSHIFT_OVERLAY names."""

    def __init__(self, options: Options) -> None:
        check_options("zcu104", options)
        super().__init__(options, PynqDevice())
