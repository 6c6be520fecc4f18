"""What the commands make of strange cards and places; `cli` tests the command line itself."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gearshift.commands import info, run
from gearshift.errors import InputError
from gearshift.graph import Graph, TaskCard, TaskKind, write_artifact
from gearshift.results import SegmentationResult, make_result
from gearshift.text import with_unit

GOOD_SHARE = {"rooms": [[0.5, 0.25, 0.25, 0.0, 0.0]] * 2}


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (
            {"rooms": {"metric": "IoU", "value": 0.51, "average_predictor": 0.1}},
            "IoU 0.51 (average predictor 0.1)",
        ),
        ({"rooms": 5}, "not measured"),
        ({"rooms": {"metric": "IoU"}}, "not measured"),
        ({"rooms": {"metric": "m", "value": "x", "average_predictor": 1}}, "not measured"),
        ({"expert_share": GOOD_SHARE}, "share of tokens"),
        ({"expert_share": 5}, ""),
        ({"expert_share": {"rooms": 5}}, ""),
        ({"expert_share": {"rooms": [[0.5]]}}, ""),
        ({"expert_share": {"rooms": [[-5.0], [0.5]]}}, ""),
        ({"expert_share": {"rooms": [["x"], [0.5]]}}, ""),
    ],
    ids=str,
)
def test_free_form_metrics_are_shown_where_they_are_understood(
    metrics: dict[str, Any],
    words: str,
    make_graph: Callable[..., Graph],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    graph = make_graph()
    folder = tmp_path / "x.gs"
    write_artifact(replace(graph, card=replace(graph.card, metrics=metrics)), folder)
    for as_json in (False, True):
        assert info.run(argparse.Namespace(model=str(folder), program=None, json=as_json)) == 0
        text = capsys.readouterr().out
        if not as_json:
            assert words in text
            assert ("share of tokens" in text) == (words == "share of tokens")


def test_a_run_tells_what_the_budget_cost(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "in.png"
    Image.fromarray(np.zeros((24, 40, 3), np.uint8)).save(picture)
    texts = {}
    for memory in (None, "10kB", "1MB"):
        for as_json in (False, True):
            arguments = argparse.Namespace(
                image=picture, task="all", output=None, model=str(artifact), backend="torch",
                precision="float32", memory=memory, approximate=(), json=as_json,
            )  # fmt: skip
            assert run.run(arguments) == 0
            texts[memory, as_json] = capsys.readouterr().out
    _, head, *rows = texts["10kB", False].splitlines()
    assert all(word in head for word in ("hits", "misses", "moved in"))
    for text, row in zip(rows, json.loads(texts["10kB", True])["tasks"], strict=True):
        assert row["expert_hits"] + row["expert_misses"] == sum(row["experts_used"])
        assert row["moved_bytes"] > 0
        moved = with_unit(row["moved_bytes"], "B")
        assert f" {row['expert_hits']}  " in text
        assert f" {row['expert_misses']}  " in text
        assert f" {moved}  " in text
    assert texts["1MB", False].count(" 0 B  ") == 4
    assert "misses" not in texts[None, False]


@pytest.mark.parametrize("output", ["none/out.png", "folder.png"])
def test_where_no_picture_can_be_written_nothing_runs(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "in.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture)
    (tmp_path / "folder.png").mkdir()
    monkeypatch.setattr("gearshift.session.Session", None)
    arguments = argparse.Namespace(image=picture, output=tmp_path / output)
    with pytest.raises(InputError, match=f"{output} .*folder"):
        run.run(arguments)


@pytest.mark.parametrize("labels", [("floor", "wall"), ()])
def test_colours_of_labels_never_mix(labels: tuple[str, ...]) -> None:
    task = TaskCard("rooms", TaskKind.SEGMENTATION, 2, labels)
    logits = np.random.default_rng(0).normal(size=(1, 2, 8, 8)).astype(np.float32)
    result = make_result(logits, task)
    assert isinstance(result, SegmentationResult)
    picture = run._picture(Image.new("RGB", (37, 29)), {"rooms": result})
    assert picture.size == (37, 29)
    shown = set(map(tuple, np.asarray(picture).reshape(-1, 3).tolist()))
    assert shown == set(map(tuple, result.colours.tolist()))
