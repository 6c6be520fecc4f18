"""How long a batch will take: measured on idle hardware, and corrected by what batches took since.

What slows one batch, another program on the same cores or a hot chip, slows all of them. So the
times of each key and number of images change slowly, and one factor for all of a model's follows
what happens now. Without it a size that has not run lately would seem cheap beside one that has.
"""

from __future__ import annotations

from bisect import bisect_left

from gearshift.scheduler.entry import Key

NEWEST = 0.2
"""Weight of the newest batch in the factor; the older ones fade."""
NEWEST_OWN = 0.05
"""The same in the times of its own key and number of images."""
SURPRISE = 5.0
"""A time of more than so many times the expected counts as this many: one hiccup teaches little."""
MOST_KEYS = 512
"""That are remembered: clients choose image sizes."""


class ServiceTimes:
    """Seconds by key and number of images, and what a switch adds to them, by model."""

    def __init__(self) -> None:
        self._idle: dict[Key, dict[int, float]] = {}
        self._slower: dict[str, float] = {}
        """Times of `_idle` that a model's batches take now."""
        self._switch: dict[str, float] = {}
        self._useful: dict[tuple[Key, int, float], int] = {}
        """What `useful_batch` has found; kept true when times change, while nobody waits for it."""

    def measured(self, key: Key, images: int, seconds: float) -> None:
        """A batch takes so long on idle hardware, without a switch; what was known is forgotten."""
        times = self._idle.pop(key, {})
        times[images] = seconds
        # A key that is used goes to the end: the front one is forgotten first.
        self._idle[key] = times
        if len(self._idle) > MOST_KEYS:
            del self._idle[next(iter(self._idle))]
            self._useful.clear()
        for asked in self._useful:
            other, most, least_gain = asked
            if other[:3] == key[:3]:
                self._useful[asked] = _useful_batch(self._nearest(other)[0], most, least_gain)

    def measured_switch(self, model: str, seconds: float) -> None:
        """A batch takes so much longer when another task ran before it."""
        self._switch[model] = max(0.0, seconds)

    def observe(self, key: Key, images: int, seconds: float, switched: bool = False) -> None:
        """A batch took so long."""
        idle = self.unloaded(key, images)
        if not idle:
            self.measured(key, images, seconds)
            return
        slower = self._slower.get(key.model, 1.0)
        if switched:
            seconds = max(seconds - self.switch(key), 0.0)
        # Also when this number of images never ran: the first run makes its program as well.
        seconds = min(seconds, SURPRISE * slower * idle)
        slower = _mixed(slower, seconds / idle, NEWEST)
        self._slower[key.model] = slower
        self.measured(key, images, _mixed(idle, seconds / slower, NEWEST_OWN))

    def switch(self, key: Key) -> float:
        """Seconds that a batch of this key takes longer when another task ran before."""
        return self._switch.get(key.model, 0.0)

    def seconds(self, key: Key, images: int) -> float:
        """Expected now, without a switch; 0 when nothing like it has run."""
        return self._slower.get(key.model, 1.0) * self.unloaded(key, images)

    def unloaded(self, key: Key, images: int) -> float:
        """Expected on idle hardware, without a switch; 0 when nothing like it has run."""
        times, scale = self._nearest(key)
        if not times:
            return 0.0
        if images in times:
            return scale * times[images]
        sizes = sorted(times)
        place = bisect_left(sizes, images)
        if place == 0:
            return scale * times[sizes[0]] * images / sizes[0]
        below = sizes[place - 1]
        if place == len(sizes):
            return scale * times[below] * images / below
        above = sizes[place]
        share = (images - below) / (above - below)
        return scale * ((1 - share) * times[below] + share * times[above])

    def useful_batch(self, key: Key, most: int, least_gain: float) -> int:
        """The fewest images a batch whose cost an image is within `least_gain` of the lowest.

        `most` when nothing is known, or when no gain is asked for.
        """
        asked = key, most, least_gain
        if asked not in self._useful:
            if len(self._useful) > MOST_KEYS:
                self._useful.clear()
            self._useful[asked] = _useful_batch(self._nearest(key)[0], most, least_gain)
        return self._useful[asked]

    def _nearest(self, key: Key) -> tuple[dict[int, float], float]:
        """Times of this key, or of the same task at another size and the ratio of the sizes."""
        if key in self._idle:
            return self._idle[key], 1.0
        for other, times in reversed(self._idle.items()):
            if other[:3] == key[:3]:
                return times, key.pixels / other.pixels
        return {}, 1.0


def _useful_batch(times: dict[int, float], most: int, least_gain: float) -> int:
    costs = {images: seconds / images for images, seconds in times.items() if images <= most}
    if not least_gain or len(costs) < 2:
        return most
    enough = min(costs.values()) / (1 - least_gain)
    return min(images for images, cost in costs.items() if cost <= enough)


def _mixed(mean: float, newest: float, weight: float) -> float:
    return mean + weight * (newest - mean)
