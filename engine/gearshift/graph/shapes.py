"""Symbolic shapes of every operator: do a node's inputs fit together, and what does it compute?

A shape is written as words: a number, a name, or a product such as `3*D`. Values have the shapes
- tokens, scores: `N T D`
- chosen experts: `N T K of E`, every number in it below E
- maps: `N C S`, where S tells how many points each patch of the image became, along each side
- image: `N 3 H W`, the task: nothing
N, T, H and W stay names; every other name stands for a number once an input or attribute fixed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from gearshift.graph.brief import brief
from gearshift.graph.graph import Attribute, Node
from gearshift.graph.vocabulary import OPERATORS

Dimension = int | str
Sizes = dict[str, int | float | str]
Shape = tuple[Dimension, ...]

IMAGE_SHAPE: Shape = ("N", 3, "H", "W")
TASK_SHAPE: Shape = ()

_FIXED = ("N", "T", "H", "W", "of")

# One shape an input, in the operator's order, then one an output. `patch_size`, `scale` and
# `top_k` are attributes; `tasks` is the number of tasks.
_SIGNATURES: dict[str, tuple[str, str]] = {
    "PatchEmbedding": ("N 3 H W, D 3 patch_size patch_size, D, 1 1 D, 1 D h w", "N T D"),
    "LayerNormalization": ("N T D, D, D", "N T D"),
    "Attention": ("N T D, 3*D D, 3*D, D D, D", "N T D"),
    "Add": ("N T D, N T D", "N T D"),
    "Mlp": ("N T D, F D, F, D F, D", "N T D"),
    "Router": ("N T D, , R D E, tasks E", "N T top_k of E, N T top_k"),
    "ExpertMixture": ("N T D, N T K of experts, N T K", "N T D"),
    "FeatureMap": ("N T D, N 3 H W", "N D 1"),
    "UpsampleConv": ("N C S, F C 3 3, F, F, F, F, F", "N F scale*S"),
    "Head": ("N C S, F C 1 1, F", "N F 2*S"),
    "ResizeToImage": ("N C S, N 3 H W", "N C patch_size"),
}
_EXPERT = "F D, F, D F, D"


def bank_size(mixture: Node) -> int:
    """How many experts an `ExpertMixture` node has, told by the number of its inputs."""
    operator = OPERATORS["ExpertMixture"]
    return (len(mixture.inputs) - len(operator.inputs)) // len(operator.repeated)


class ShapeError(Exception):
    """An input does not have the shape that the node's other inputs and attributes ask for."""


def output_shapes(
    node: Node, inputs: Sequence[Shape], known: Mapping[str, Attribute]
) -> list[Shape]:
    """Shapes of `node`'s outputs; `known` are numbers that the whole graph fixes.

    Raises:
        ShapeError: with the input's name, its shape and the shape asked for.
    """
    sizes: Sizes = {name: name for name in _FIXED}
    sizes.update(known)
    sizes.update(node.attributes)
    pattern, results = _SIGNATURES[node.operator]
    patterns = pattern.split(",")
    if node.operator == "ExpertMixture":
        experts = bank_size(node)
        sizes["experts"] = experts
        patterns += _EXPERT.split(",") * experts
    for name, words, shape in zip(node.inputs, patterns, inputs, strict=True):
        if not _fits(words.split(), shape, sizes):
            asked = tuple(_dimension(word, sizes) or word for word in words.split())
            raise ShapeError(f"input {brief(name)} has shape {_text(shape)}, not {_text(asked)}")
    return [
        tuple(_dimension(word, sizes) or word for word in words.split())
        for words in results.split(",")
    ]


def _fits(words: Sequence[str], shape: Shape, sizes: Sizes) -> bool:
    """Whether `shape` is what `words` say; names met for the first time are fixed by it."""
    if len(words) != len(shape):
        return False
    for word, dimension in zip(words, shape, strict=True):
        if word.isidentifier() and word not in sizes and isinstance(dimension, int):
            sizes[word] = dimension
        if _dimension(word, sizes) != dimension:
            return False
    return True


def _dimension(word: str, sizes: Sizes) -> Dimension | None:
    """The number or fixed name that `word` stands for; None while a name in it has no value."""
    factors = [int(part) if part.isdigit() else sizes.get(part) for part in word.split("*")]
    numbers = [factor for factor in factors if isinstance(factor, int)]
    if len(numbers) == len(factors):
        return prod(numbers)
    return word if word in _FIXED else None


def _text(shape: Shape) -> str:
    return f"({', '.join(str(dimension) for dimension in shape)})"
