"""`gearshift bench MODEL` as a user meets it. No time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gearshift.backends import Options
from gearshift.cli import main
from gearshift_bench.commands.bench import BENCHMARKS
from gearshift_bench.report.document import read_document

from ..processor import has_bfloat16

Answer = Callable[[int, tuple[int, ...]], NDArray[np.float32]]
QUICK = ("--duration", "0.05", "--threads", "1")


@pytest.fixture(autouse=True)
def _short_roofs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gearshift_bench.latency.roofs.READ_BYTES", 1 << 20)


def bench(*words: str | Path) -> int:
    return main(["bench", *map(str, words)])


def fails(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The one line of an error; nothing else was printed."""
    assert bench(*words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_tasks_and_a_mix_become_one_valid_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "result.json"
    words = ("demo", "--task", "depth", "edge", "--mix", "depth:1,edge:2", "--backend", "torch")
    assert bench(*words, *QUICK, "--no-cold", "--json", output, "--assume-watts", "7") == 0
    document = read_document(output)
    assert list(tmp_path.iterdir()) == [output]
    assert [run["task"] for run in document["runs"]] == ["depth", "edge", None]
    for run in document["runs"]:
        check_run(run)
    *_, mix = document["runs"]
    assert mix["mix"] == {"kind": "weights", "description": "depth:1,edge:2"}
    assert len(mix["tasks"]) == mix["latency"]["count"]
    assert sum(pair["count"] for pair in mix["switches"]["by_pair"]) == mix["latency"]["count"]
    assert document["model"]["tasks"] == ["semseg", "normals", "edge", "depth"]
    assert document["model"]["parameters"] > 2_000_000
    assert document["software"]["backend torch"].startswith("torch 2")
    assert document["settings"] == {"seconds": 0.05, "seed": 0, "image": "rooms"}
    text = capsys.readouterr().out
    assert "energy not measured: " in text
    assert "assumption, no measurement: at 7 W" in text
    assert f"wrote {output}" in text
    rows = [line for line in text.splitlines() if line.startswith(("1 ", "2 ", "3 "))]
    assert len(rows) == 3


def check_run(run: dict[str, Any]) -> None:
    """What the entries of one run of torch have to do with each other."""
    found, work = run["latency"], run["work"]
    assert found["count"] == len(run["seconds"]) >= 5
    assert found["median"] == pytest.approx(np.median(run["seconds"]))
    assert found["min"] <= found["median_low"] <= found["median_high"] <= found["max"]
    assert run["requests_per_second"] == pytest.approx(1 / found["mean"])
    assert run["throughput"] == pytest.approx(run["requests_per_second"] * run["batch"])
    assert work["flops"] == 2 * work["macs"] > 1e9
    assert work["bytes"] == work["weight_bytes"] + work["activation_bytes"] > 1e7
    assert work["share_of_bytes"] > 0
    assert run["cold"] is None
    assert run["energy"].keys() <= {"meters", "not_measured"}
    assert run["assumed_energy"]["joules_per_request"] == pytest.approx(7 * found["mean"])
    assert sum(run["nodes"].values()) > 0
    assert list(run["experts"]) == [f"blocks.{block}.experts" for block in (1, 3, 5, 7)]
    per_request = Counter(sum(tokens) for tokens in run["experts"].values())
    assert len(per_request) == 1


def test_a_cold_start_is_that_of_another_process(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    assert bench("demo", "--task", "depth", *QUICK, "--json", output, "--batch", "2") == 0
    (run,) = read_document(output)["runs"]
    assert run["cold"]["open_seconds"] > 0
    assert run["cold"]["first_seconds"] > 0
    assert run["memory_peak_bytes"] > 10e6
    assert run["batch"] == 2
    assert run["throughput"] == pytest.approx(2 * run["requests_per_second"])


@pytest.mark.parametrize("arrivals", ["poisson", "fixed"])
def test_an_open_loop_says_how_many_were_answered(
    arrivals: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "result.json"
    words = ("--task", "depth", "--rate", "10000", "--arrivals", arrivals, "--no-cold")
    assert bench("demo", *words, *QUICK, "--json", output) == 0
    (run,) = read_document(output)["runs"]
    mode = run["mode"]
    assert (mode["kind"], mode["rate"], mode["arrivals"]) == ("open", 10000, arrivals)
    assert mode["served"] == run["latency"]["count"]
    assert mode["saturated"]
    assert mode["largest_backlog"] > 10
    assert run["seconds"][-1] > run["seconds"][0]
    assert "SATURATED" in capsys.readouterr().out


def test_a_trace_with_times_is_played_once(tmp_path: Path) -> None:
    trace, output = tmp_path / "trace.txt", tmp_path / "result.json"
    trace.write_text("0 depth\n0.001 edge\n0.02 depth\n")
    assert bench("demo", "--trace", trace, "--no-cold", *QUICK, "--json", output) == 0
    (run,) = read_document(output)["runs"]
    assert run["tasks"] == ["depth", "edge", "depth"]
    assert run["mode"]["arrivals"] == "trace"
    assert run["switches"]["count"] == 2
    assert run["latency"]["p99"] is None


def test_what_a_backend_does_not_offer_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "result.json"
    words = ("--backend", "torch", "onnxruntime", "--precision", "float32", "bfloat16")
    assert bench("demo", "--task", "depth", *words, "--no-cold", *QUICK, "--json", output) == 0
    document = read_document(output)
    torch_precisions = 2 if has_bfloat16() else 1
    assert len(document["runs"]) == torch_precisions + 1
    assert any("onnxruntime bfloat16" in one for one in document["machine"]["warnings"])
    assert "left out: onnxruntime bfloat16" in capsys.readouterr().out
    onnxruntime = document["runs"][-1]
    assert onnxruntime["work"]["bytes"] is None
    assert onnxruntime["nodes"] == {}


def test_results_can_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        assert bench("demo", "--task", "depth", "--no-cold", *QUICK, "--json", path) == 0
    capsys.readouterr()
    assert bench("--compare", *paths) == 0
    first = capsys.readouterr().out
    assert bench("compare", *paths) == 0
    assert capsys.readouterr().out == first
    assert any(word in first for word in ("better", "worse", "no difference"))
    assert bench("compare", paths[0], paths[0]) == 0
    assert "no difference" in capsys.readouterr().out


def test_report_and_pictures_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, plots = tmp_path / "page.html", tmp_path / "plots"
    words = ("--no-cold", "--report", page, "--plots", plots)
    assert bench("demo", "--task", "depth", *QUICK, *words) == 0
    assert "<title>demo: gearshift bench</title>" in page.read_text("utf-8")
    assert (plots / "latency.png").exists()
    assert "wrote" in capsys.readouterr().out


def broken(run: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    raise RuntimeError("burst")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (broken, "failed in depth: RuntimeError: burst"),
        (lambda run, shape: np.full(shape, np.nan, np.float32), "NaN"),
        (lambda run, shape: np.full(shape, run, np.float32), "other bits"),
    ],
)
def test_a_broken_backend_fails_loudly_and_writes_nothing(
    answer: Answer,
    complaint: str,
    fake_backend: Callable[[Answer], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_backend(answer)
    output = tmp_path / "result.json"
    assert complaint in fails(
        capsys, "demo", "--task", "depth", "--no-cold", *QUICK, "--json", output
    )
    assert list(tmp_path.iterdir()) == []


def test_a_backend_that_breaks_later_fails_as_loudly(
    fake_backend: Callable[[Answer], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def tiring(run: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return np.full(shape, run > 60, np.float32)

    fake_backend(tiring)
    line = fails(capsys, "demo", "--task", "depth", "--no-cold", "--duration", "3")
    assert "other bits" in line


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["nowhere"], "demo"),
        (["demo", "--task", "cooking"], "semseg, normals"),
        (["demo", "--backend", "tpu"], "onnxruntime"),
        (["demo", "--backend", "onnxruntime", "--precision", "int8"], "float32 only"),
        (["demo", "--duration", "0"], "--duration 0: give more than 0"),
        (["demo", "--duration", "nan"], "--duration nan"),
        (["demo", "--rate", "-3"], "--rate -3"),
        (["demo", "--rate", "1e9"], "at most 100000"),
        (["demo", "--assume-watts", "inf"], "--assume-watts inf"),
        (["demo", "--batch", "0"], "--batch 0: give 1 to 1024"),
        (["demo", "--threads", "0"], "threads 0"),
        (["demo", "--seed", "-1"], "--seed -1"),
        (["demo", "--memory", "much"], "64MB"),
        (["demo", "--memory", "1MB", "--backend", "onnxruntime"], "takes no budget"),
        (["demo", "--mix", "depth"], "depth:0.3"),
        (["demo", "--markov", "2"], "from 0 to 1"),
        (["demo", "--markov", "0.5", "--task", "edge"], "there is only edge"),
        (["demo", "--trace", "nowhere.txt"], "not a file"),
        (["demo", "--image", "nowhere.png"], "does not exist"),
        (["demo", "--json", "no/where.json"], "make the folder"),
        (["demo", "--json", "a.html", "--report", "a.html"], "choose two names"),
        (["demo", "--plots", "/dev/null"], "folder /dev/null cannot be made"),
        (["nowhere", "--plots", "pictures"], "demo"),
        (["demo", "--batch", *map(str, range(1, 80))], "256 at most"),
        (["--compare", "nowhere.json", "nowhere.json"], "cannot be read"),
        (["compare", "nowhere.json", "nowhere.json"], "cannot be read"),
    ],
    ids=lambda words: " ".join(words)[:40] if isinstance(words, list) else "",
)
def test_errors_are_one_line_that_names_the_remedy(
    words: list[str],
    remedy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = [] if "ompare" in words[0] else ["--no-cold"]
    if quick and "--duration" not in words:
        quick += QUICK[:2]
    assert remedy in fails(capsys, *words, *quick)
    assert list(tmp_path.iterdir()) == []


def test_a_trace_with_times_has_no_other_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text("0 depth\n")
    assert "leave --rate out" in fails(capsys, "demo", "--trace", trace, "--rate", "3")


@pytest.mark.parametrize(
    "words", [[], ["demo", "--mix", "a:1", "--markov", "1"], ["--compare", "a"], ["kernels", "--x"],
              ["demo", "tiny"], ["--compare", "a", "b", "c"]],
)  # fmt: skip
def test_a_wrong_command_line_exits_with_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        bench(*words)
    assert end.value.code == 2
    assert "usage: gearshift bench" in capsys.readouterr().err


@pytest.mark.parametrize("name", [None, "demo", *BENCHMARKS])
def test_there_is_help_with_examples(name: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        bench(*([name] if name else []), "--help")
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "gearshift bench" in text
    assert "examples:" in text


def test_help_of_a_model_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from gearshift.cli import main\n"
        "try:\n    main(['bench', 'demo', '--help'])\nexcept SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'onnx', 'jsonschema'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_options_reach_the_session(
    monkeypatch: pytest.MonkeyPatch, fake_backend: Callable[[Answer], None]
) -> None:
    fake_backend(lambda run, shape: np.ones(shape, np.float32))
    seen: list[Options] = []
    from gearshift import session

    load = session.load_backend
    monkeypatch.setattr(
        session, "load_backend", lambda name, options: seen.append(options) or load(name, options)
    )
    words = ("--precision", "bfloat16", "--memory", "2MB", "--approximate", "gelu", "--no-cold")
    assert bench("demo", "--task", "depth", *words, *QUICK) == 0
    (options,) = seen
    assert (options.precision, options.threads, options.memory) == ("bfloat16", 1, 2_000_000)
    assert options.approximate == {"gelu"}


def test_the_schema_is_a_schema() -> None:
    from importlib.resources import files

    from jsonschema import Draft202012Validator

    schema = json.loads(files("gearshift_bench").joinpath("result_schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
