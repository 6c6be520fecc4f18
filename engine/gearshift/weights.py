"""The weights of one graph and what is folded from them: each folded weight is made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from gearshift.graph.graph import Array

Floats = NDArray[np.float32]


class WeightStore:
    """Weights by name: the graph's own, as they are, and derived ones.

    A view (one task's row of a router) is derived at once, since it costs nothing; a folded weight
    (batch norm in a convolution) is made when it is first asked for and kept, so that specialising
    reads no weights and the programs of all tasks and sizes share one copy. Not locked: its owner
    (a session) lets one thread in at a time.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._arrays: dict[str, Array] = dict(weights)
        self._shapes: dict[str, tuple[int, ...]] = {
            name: tuple(array.shape) for name, array in weights.items()
        }
        self._makers: dict[str, Callable[[], Array]] = {}

    def __getitem__(self, name: str) -> Array:
        array = self._arrays.get(name)
        if array is None:
            array = self._arrays[name] = self._makers.pop(name)()
            assert array.shape == self._shapes[name], name
        return array

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a weight, read or not. Raises KeyError for an unknown name."""
        return self._shapes[name]

    def view(self, name: str, array: Array) -> str:
        """Give a view of an existing weight a name of its own, which is returned."""
        self._arrays.setdefault(name, array)
        self._shapes.setdefault(name, tuple(array.shape))
        return name

    def fold(self, name: str, shape: tuple[int, ...], make: Callable[[], Array]) -> str:
        """Promise the weight `name` of `shape`, to be made by `make` at its first use."""
        if name not in self._shapes:
            self._shapes[name] = shape
            self._makers[name] = make
        return name

    def select(self, names: tuple[str, ...]) -> Mapping[str, Array]:
        """The weights of one program."""
        return _Selection(self, names)


class _Selection(Mapping[str, Array]):
    """Some weights of a store, in order, each made when it is asked for."""

    def __init__(self, store: WeightStore, names: tuple[str, ...]) -> None:
        self._store = store
        self._names = dict.fromkeys(names)

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._store[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def fold_batch_norm(
    weight: Array, bias: Array, norm: tuple[Array, Array, Array, Array], epsilon: float
) -> tuple[Floats, Floats]:
    """Convolution then batch norm as one convolution: weight (C',C,3,3), bias (C').

    `norm` is scale, bias, mean and variance, each (C'). BN(conv(x)) = g (conv(x) - mean) + bias
    with g = scale / sqrt(variance + epsilon), so g moves into the weight. Computed in float64.
    """
    scale, shift, mean, variance = (array.astype(np.float64) for array in norm)
    gain = scale / np.sqrt(variance + epsilon)
    folded = weight.astype(np.float64) * gain[:, None, None, None]
    return (
        folded.astype(np.float32),
        ((bias.astype(np.float64) - mean) * gain + shift).astype(np.float32),
    )


def embedding_table(
    class_token: Array, positions: Array, bias: Array, grid: tuple[int, int]
) -> Floats:
    """What patch embedding adds to each token: (1 + h w, D).

    Row 0 is the class token (1,1,D), whose position is in it already; the others are the positions
    (1,D,rows,columns), resized bilinearly to `grid`, plus the convolution's bias (D). float64.
    """
    resized = resize_bilinear(positions[0].astype(np.float64), grid)
    patches = resized.reshape(len(resized), -1).T + bias.astype(np.float64)
    return np.concatenate([class_token.reshape(1, -1), patches]).astype(np.float32)


def resize_bilinear(x: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """(..., h, w) -> (..., *size); half-pixel centres, edges repeated, no anti-aliasing."""
    for axis, length in ((-2, size[0]), (-1, size[1])):
        if x.shape[axis] != length:
            x = _resize_axis(x, axis, length)
    return x


def _resize_axis(x: NDArray[np.float64], axis: int, length: int) -> NDArray[np.float64]:
    old = x.shape[axis]
    centre = np.clip((np.arange(length) + 0.5) * old / length - 0.5, 0, old - 1)
    low = np.floor(centre).astype(np.intp)
    high = np.minimum(low + 1, old - 1)
    share = (centre - low).reshape(-1, *(1,) * (-1 - axis))
    resized: NDArray[np.float64] = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    return resized
