"""How long a batch will take, learnt from those that ran."""

from __future__ import annotations

from bisect import bisect_left

from gearshift.scheduler.entry import Key

NEWEST = 0.2
"""Weight of the newest time in a mean; the older ones fade."""
NEWEST_SWITCH = 0.05
"""The same for what a switch adds: a small difference of large, noisy times."""
SURPRISE = 5.0
"""A time of more than so many means counts as this many: one hiccup teaches little."""
MOST_KEYS = 512
"""That are remembered: clients choose image sizes."""


class ServiceTimes:
    """Means by key and number of images, of batches on the task that ran before them; and what a
    switch adds to them, by model."""

    def __init__(self) -> None:
        self._means: dict[Key, dict[int, float]] = {}
        self._switch: dict[str, float] = {}

    def measured(self, key: Key, images: int, seconds: float) -> None:
        """A batch takes so long, by a measurement of its own: what was known is forgotten."""
        means = self._means.pop(key, {})
        means[images] = seconds
        # A key that is used goes to the end: the front one is forgotten first.
        self._means[key] = means
        if len(self._means) > MOST_KEYS:
            del self._means[next(iter(self._means))]

    def observe(self, key: Key, images: int, seconds: float, switched: bool = False) -> None:
        """A batch took so long.

        Those that came after a switch teach what a switch adds, only the others what a batch takes:
        else, where tasks alternate, all of a switch would become a part of the batches.
        """
        expected = self.seconds(key, images)
        if not expected:
            self.measured(key, images, seconds)
            return
        # Also when this number of images never ran: the first run makes its program as well.
        seconds = min(seconds, SURPRISE * expected)
        if switched:
            extra = self._switch.get(key.model, 0.0)
            self._switch[key.model] = _mixed(extra, seconds - expected, NEWEST_SWITCH)
        else:
            self.measured(key, images, _mixed(expected, seconds, NEWEST))

    def switch(self, key: Key) -> float:
        """Seconds that a batch of this key takes longer when another task ran before."""
        return max(0.0, self._switch.get(key.model, 0.0))

    def seconds(self, key: Key, images: int) -> float:
        """Expected, without a switch; 0 when nothing like it has run."""
        means, scale = self._nearest(key)
        if not means:
            return 0.0
        if images in means:
            return scale * means[images]
        sizes = sorted(means)
        place = bisect_left(sizes, images)
        if place == 0:
            return scale * means[sizes[0]] * images / sizes[0]
        below = sizes[place - 1]
        if place == len(sizes):
            return scale * means[below] * images / below
        above = sizes[place]
        share = (images - below) / (above - below)
        return scale * ((1 - share) * means[below] + share * means[above])

    def useful_batch(self, key: Key, most: int, least_gain: float) -> int:
        """The fewest images a batch whose cost an image is within `least_gain` of the lowest.

        `most` when nothing is known, or when no gain is asked for.
        """
        means, _ = self._nearest(key)
        costs = {images: mean / images for images, mean in means.items() if images <= most}
        if not least_gain or len(costs) < 2:
            return most
        enough = min(costs.values()) / (1 - least_gain)
        return min(images for images, cost in costs.items() if cost <= enough)

    def _nearest(self, key: Key) -> tuple[dict[int, float], float]:
        """Means of this key, or of the same task at another size and the ratio of the sizes."""
        if key in self._means:
            return self._means[key], 1.0
        for other, means in reversed(self._means.items()):
            if other[:3] == key[:3]:
                return means, key.pixels / other.pixels
        return {}, 1.0


def _mixed(mean: float, newest: float, weight: float) -> float:
    return mean + weight * (newest - mean)
