"""Progress of work in steps, on the terminal."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int], Callable[[], object]]
"""Begins so many steps under a name; what it returns is called after each of them."""


def show_progress(title: str, steps: int) -> Callable[[], object]:
    """A bar that appears after two seconds, and goes with the last step: a `Progress`.

    Only on a terminal: a log would keep every state of it.
    """
    from tqdm import tqdm

    bar = tqdm(total=steps, desc=title, delay=2, leave=False, disable=None)

    def step() -> None:
        bar.update()
        if bar.n >= steps:
            bar.close()

    return step
