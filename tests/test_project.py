"""Rules of the house that no single module can keep alone."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from gearshift_export.demo.batches import MEAN, STANDARD_DEVIATION
from gearshift_export.demo.scenes import CLASS_COLOURS, CLASSES
from gearshift_export.demo.train import DEMO_CONFIG
from gearshift_export.recipe import load_recipe

ROOT = Path(__file__).parents[1]


def test_each_top_folder_holds_one_package_and_shadows_nothing() -> None:
    for folder, package in {
        "bench": "gearshift_bench",
        "engine": "gearshift",
        "export": "gearshift_export",
        "hls": "gearshift_hls",
        "kernels": "gearshift_kernels",
    }.items():
        assert [path.parent.name for path in (ROOT / folder).glob("*/__init__.py")] == [package]
        assert not (ROOT / folder / "__init__.py").exists()


def test_pinned_versions_satisfy_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    wanted = project["dependencies"] + [
        name
        for extra in project["optional-dependencies"].values()
        for name in extra
        if not name.startswith("gearshift[")
    ]
    for requirement in wanted:
        name = re.split(r"\[|>=", requirement)[0]
        assert f"\n{name}==" in f"\n{pinned}", requirement


def test_the_demo_recipe_agrees_with_its_training() -> None:
    recipe = load_recipe("demo")
    assert [task.name for task in recipe.tasks] == [task.name for task in DEMO_CONFIG.tasks]
    assert recipe.tasks[0].labels == CLASSES
    assert recipe.tasks[0].colours == CLASS_COLOURS
    assert (recipe.top_k, recipe.heads) == (DEMO_CONFIG.top_k, DEMO_CONFIG.heads)
    assert recipe.preprocessing.mean == MEAN
    assert recipe.preprocessing.standard_deviation == STANDARD_DEVIATION
