"""The command line as a user meets it: output, exit codes, one-line errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gearshift.cli import load_commands, main

DEMO_TASKS = ["semseg", "normals", "edge", "depth"]


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (90, 150, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def _fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail, and return its one line of error."""
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from gearshift.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ")}
    assert {"run", "info", "export", "train-demo"} <= listed


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name in load_commands():
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
        assert f"  gearshift {name} " in capsys.readouterr().out


def test_a_wrong_command_line_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", "photo.png"])
    assert end.value.code == 2
    assert "--task" in capsys.readouterr().err


def test_info_lists_tasks_work_and_experts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "demo", "--json"]) == 0
    description = json.loads(capsys.readouterr().out)
    assert [task["name"] for task in description["tasks"]] == DEMO_TASKS
    assert description["experts"] == {"blocks": 4, "experts": 8, "top_k": 2}
    assert all(task["macs"] > 1e8 for task in description["tasks"])
    assert description["file_bytes"] <= 12_000_000

    assert main(["info", "demo"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{task} " in text for task in DEMO_TASKS)
    assert "average predictor" in text


def test_info_prints_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "demo", "--program", "depth"]) == 0
    text = capsys.readouterr().out
    assert "blocks.1.experts" in text
    assert "decoders.depth.head" in text
    assert "decoders.semseg" not in text


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_run_writes_a_picture_of_the_image_s_size(
    backend: str, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "depth.png"
    arguments = ["run", str(photo), "--task", "depth", "-o", str(output), "--backend", backend]
    assert main([*arguments, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["tasks"]
    assert row["task"] == "depth"
    assert row["backend"].startswith(backend)
    assert 0 < row["result"]["nearest"] < row["result"]["farthest"]
    with Image.open(output) as picture:
        assert picture.size == (150, 90)
        assert len(np.unique(np.asarray(picture))) > 10
    assert list(tmp_path.iterdir()) == [output]


def test_run_all_shows_every_task_on_one_sheet(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "tasks.png"
    assert main(["run", str(photo), "--task", "all", "-o", str(output)]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{task} " in text for task in DEMO_TASKS)
    with Image.open(output) as picture:
        assert picture.width > 5 * 256


def test_errors_are_one_line_that_names_the_remedy(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "absent.png"
    assert str(absent) in _fails(capsys, "run", str(absent), "--task", "depth")
    assert "semseg" in _fails(capsys, "run", str(photo), "--task", "dept")
    assert "onnxruntime" in _fails(capsys, "run", str(photo), "--task", "depth", "--backend", "tpu")
    assert "demo" in _fails(capsys, "info", str(tmp_path / "no.gs"))
    assert ".png" in _fails(capsys, "run", str(photo), "--task", "depth", "-o", "depth.txt")
    text = tmp_path / "text.png"
    text.write_text("this is no picture")
    assert str(text) in _fails(capsys, "run", str(text), "--task", "depth")
    nowhere = tmp_path / "no" / "folder" / "out.png"
    assert "out" in _fails(capsys, "run", str(photo), "--task", "depth", "-o", str(nowhere))
