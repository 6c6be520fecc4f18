"""Recipes: the built-in ones agree with the published facts, bad ones are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from gearshift.errors import CheckpointError
from gearshift.graph import TaskKind
from gearshift_export.recipe import CheckpointFormat, load_recipe
from gearshift_export.recipes import built_in_recipes

GOOD = """
format = "m3vit"
top_k = 2
heads = 3
image_height = 32
image_width = 48
gate_input_ahead = true
experts_per_task = 4
prune_scores = 0.1
routing = "single"
provenance = "a test"

[preprocessing]
divisor = 256
mean = [0.5, 0.5, 0.5]

[[tasks]]
name = "semseg"
kind = "segmentation"
labels = ["a", "b"]
colours = [[0, 0, 0], [255, 0, 1]]

[[tasks]]
name = "edge"
kind = "probability"
threshold = 0.3
"""

# Published facts: image size, heads, top_k, tasks in router order with their output channels.
NYUD = ((480, 640), 12, 4, [("semseg", 40), ("depth", 1)])
PASCAL = (
    (512, 512),
    12,
    4,
    [("semseg", 21), ("human_parts", 7), ("sal", 1), ("normals", 3), ("edge", 1)],
)
PUBLISHED = {
    "nyud-small": NYUD,
    "nyud-base": NYUD,
    "pascal-small": PASCAL,
    "pascal-base": PASCAL,
    "pascal-small-onehot": PASCAL,
    "cityscapes-tiny": ((128, 256), 3, 2, [("semseg", 7), ("depth", 1)]),
    "edge-moe-tiny": ((128, 256), 3, 2, [("semseg", None), ("depth", None)]),
    "nyud-small-normals": ((480, 640), 12, 4, [("normals", 3)]),
}


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", PUBLISHED)
def test_built_in_recipes_state_the_published_facts(name: str) -> None:
    recipe = load_recipe(name)
    size, heads, top_k, tasks = PUBLISHED[name]
    assert recipe.name == name
    assert (recipe.image_height, recipe.image_width) == size
    assert (recipe.heads, recipe.top_k) == (heads, top_k)
    assert [(task.name, task.channels) for task in recipe.tasks] == tasks
    imagenet = "nyud" in name or "pascal" in name
    assert recipe.preprocessing.mean == ((0.485, 0.456, 0.406) if imagenet else (0, 0, 0))
    assert recipe.preprocessing.divisor == (256 if name == "edge-moe-tiny" else 255)


@pytest.mark.parametrize("name", built_in_recipes())
def test_every_built_in_recipe_is_complete(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.provenance
    for task in recipe.tasks:
        if task.kind is TaskKind.SEGMENTATION:
            assert len(task.labels) == task.channels
            assert len(set(task.labels)) == len(task.labels)


def test_a_file_says_everything(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD))
    assert recipe.name == "mine"
    assert recipe.format is CheckpointFormat.M3VIT
    assert recipe.gate_input_ahead
    assert (recipe.experts_per_task, recipe.prune_scores, recipe.routing) == (4, 0.1, "single")
    assert recipe.preprocessing.divisor == 256.0
    assert recipe.preprocessing.standard_deviation == (1.0, 1.0, 1.0)
    assert recipe.tasks[0].colours == ((0, 0, 0), (255, 0, 1))
    assert recipe.tasks[1].threshold == 0.3
    assert recipe.tasks[1].channels is None


BAD = {
    "top_k = 2": [
        ("", "top_k is missing, expected a whole number above 0"),
        ("top_k = 0", "top_k is 0, expected a whole number above 0"),
        ("top_k = true", "top_k is True, expected a whole number"),
        ("top_k = 2.0", "top_k is 2.0, expected a whole number"),
        ('top_k = 2\n"a\\nb" = 3', "'a\\nb' (3) is unknown, expected format, top_k, "),
        ("top_k = 2\ntopk = 3", "topk (3) is unknown, expected format, top_k, "),
    ],
    '"m3vit"': [('"onnx"', "format is 'onnx', expected one of m3vit, edge-moe")],
    '"single"': [('"both"', "routing is 'both', expected one of multi_gate, single, task_cond")],
    "= true": [("= 1", "gate_input_ahead is 1, expected true or false")],
    "[0.5, 0.5, 0.5]": [("[0.5, 0.5]", "preprocessing.mean is [0.5, 0.5], expected three numbers")],
    "divisor = 256": [
        ("divisor = 0", "preprocessing.divisor is 0, expected a number above 0"),
        ("divisor = nan", "preprocessing.divisor is nan"),
        ("scale = 2", "preprocessing.scale (2) is unknown"),
        ("standard_deviation = [1, 0, 1]", "preprocessing.standard_deviation is [1, 0, 1]"),
    ],
    '"segmentation"': [('"segment"', "tasks[0].kind is 'segment', expected one of segmentation,")],
    "threshold = 0.3": [
        ("threshold = 3", "tasks[1].threshold is 3, expected a number from 0 to 1"),
        ("unit = 3", "tasks[1].unit is 3, expected a text"),
        ("colors = []", "tasks[1].colors ([]) is unknown"),
    ],
    '"edge"': [
        ('"semseg"', "tasks hold the name 'semseg' twice"),
        ('"a.b"', "tasks[1].name is 'a.b', expected a name of letters"),
    ],
    '"probability"': [('"tokens"', "task edge has kind tokens, expected all tasks or none")],
    "[255, 0, 1]": [
        ("[256, 0, 1]", "tasks[0].colours is [[0, 0, 0], [256, 0, 1]], expected a list of [red,"),
        ("[1, 1, 1], [2, 2, 2]", "tasks[0].colours has 3 entries, expected 2, one a label"),
    ],
    '["a", "b"]': [
        ('"a"', "tasks[0].labels is 'a', expected a list of texts"),
        (r'["a", "\u001b[2J"]', "expected a list of texts of one line"),
    ],
}


@pytest.mark.parametrize(
    ("old", "new", "words"), [(old, *case) for old, cases in BAD.items() for case in cases]
)
def test_bad_recipe_is_one_clear_line(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert old in GOOD
    with pytest.raises(CheckpointError) as caught:
        load_recipe(write(tmp_path, GOOD.replace(old, new)))
    assert str(caught.value).startswith("recipe mine.toml: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_recipe(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'nyud-smal' is neither .* nyud-small, "):
        load_recipe("nyud-smal")
    with pytest.raises(CheckpointError, match=r"none\.toml: cannot be read: No such file"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(CheckpointError, match=r"mine\.toml: is not TOML: "):
        load_recipe(write(tmp_path, "top_k ="))
    with pytest.raises(CheckpointError, match=r"mine\.toml: is not TOML: "):
        load_recipe(write(tmp_path, "top_k = " + "[" * 10_000))
    with pytest.raises(CheckpointError, match=r"tasks is missing, expected one or more tables"):
        load_recipe(write(tmp_path, GOOD.split("[[tasks]]")[0]))
    with pytest.raises(CheckpointError, match=r"tasks is \[\], expected one or more tables"):
        load_recipe(write(tmp_path, "tasks = []" + GOOD.split("[[tasks]]")[0]))
