"""The front door: opening, running, both backends, many threads, and every refusal."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gearshift.session
from gearshift import Session
from gearshift.backends import choose_backend
from gearshift.errors import ArtifactError, BackendError, InputError
from gearshift.graph import Graph, write_artifact
from gearshift.results import DepthResult, TokensResult

MakeImage = Callable[..., np.ndarray]


def imported_by(code: str) -> set[str]:
    """The modules that are loaded after `code` ran in a fresh interpreter."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_is_light() -> None:
    assert not imported_by("import gearshift") & {"numpy", "onnx", "torch", "PIL"}


def test_opening_loads_no_backend(artifact: Path) -> None:
    code = f"from gearshift import Session\nSession({str(artifact)!r})"
    assert not imported_by(code) & {"torch", "onnxruntime"}


def test_what_a_session_says_of_its_model(artifact: Path) -> None:
    session = Session(artifact)
    assert session.tasks == ("rooms", "depth", "normals", "edges")
    assert session.image_size == (24, 40)
    assert session.card.name == "random"
    assert session.backend == choose_backend()
    assert session.program("depth", 2).values["output"].shape == (2, 1, 24, 40)
    with pytest.raises(InputError, match="nothing has run"):
        _ = session.stats


@pytest.mark.parametrize("backend", ["native", "torch", "onnxruntime"])
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 24, 40), (3, 16, 8)])
def test_every_task_equals_the_oracle(
    artifact: Path,
    graph: Graph,
    make_image: MakeImage,
    expected: Callable[..., dict[str, np.ndarray]],
    backend: str,
    batch: int,
    height: int,
    width: int,
) -> None:
    session, image = Session(artifact, backend, threads=1), make_image(batch, height, width)
    for number, task in enumerate(session.tasks):
        found = session.run_normalised(image, task)
        wanted = expected(graph, number, image)["output"]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())
        assert session.stats.task == task
        assert session.stats.backend.startswith(backend)
        assert session.stats.seconds > 0


def test_onnxruntime_says_what_it_cannot_tell(artifact: Path, make_image: MakeImage) -> None:
    session = Session(artifact, "onnxruntime")
    session.run_normalised(make_image(), "edges")
    stats = session.stats
    assert (stats.seconds_per_node, stats.tokens_per_expert, stats.weight_bytes) == (None,) * 3
    assert (stats.expert_hits, stats.expert_misses, stats.moved_bytes) == (None,) * 3


@pytest.mark.parametrize(
    ("backend", "memory"),
    [
        *(("torch", memory) for memory in ("7kB", 10_000, "20 kB", "1MB")),
        *(("native", memory) for memory in (24_576, "40kB", "80 KiB", "1MB")),
    ],
)
def test_a_budget_gives_identical_results(
    artifact: Path, make_image: MakeImage, backend: str, memory: str | int
) -> None:
    """From two experts (of 3,328 bytes, or of three pages) to all ten, whatever task runs and
    whatever ran before."""
    whole, session = Session(artifact, backend), Session(artifact, backend, memory=memory)
    for number, task in enumerate([*whole.tasks, *whole.tasks, "depth", "depth"]):
        image = make_image(1 + number % 2, seed=number)
        wanted = whole.run_normalised(image, task)
        np.testing.assert_array_equal(session.run_normalised(image, task), wanted)
        stats, chosen = session.stats, whole.stats.expert_hits
        assert stats.expert_hits + stats.expert_misses == chosen
        assert (stats.moved_bytes == 0) == (memory == "1MB")


def test_the_card_s_shares_decide_what_is_fetched_first(
    graph: Graph, make_image: MakeImage, tmp_path: Path
) -> None:
    first = Session(save(graph, tmp_path / "plain.gs"), "torch", memory="20kB")
    first.run_normalised(make_image(), "rooms")
    counts = first.stats.tokens_per_expert.values()
    share = {"rooms": [[n / sum(row) for n in row] for row in counts]}
    card = replace(graph.card, metrics={"expert_share": share})
    told = Session(save(replace(graph, card=card), tmp_path / "told.gs"), "torch", memory="20kB")
    told.run_normalised(make_image(), "rooms")
    assert first.stats.expert_hits == 0
    assert told.stats.expert_hits > 0
    assert told.stats.expert_hits + told.stats.expert_misses == first.stats.expert_misses


def save(graph: Graph, folder: Path) -> Path:
    write_artifact(graph, folder)
    return folder


def test_a_picture_becomes_a_typed_result(artifact: Path) -> None:
    session = Session(artifact)
    result = session.run(Image.new("RGB", (333, 200), (200, 100, 50)), task="depth")
    assert isinstance(result, DepthResult)
    assert result.metres.shape == (1, 24, 40)
    same = session.run(np.full((24, 40, 3), (200, 100, 50), np.uint8), "depth")
    np.testing.assert_array_equal(same.raw, result.raw)


def test_a_model_of_one_task_needs_no_name(
    make_graph: Callable[..., Graph], tmp_path: Path
) -> None:
    graph = make_graph(decoders=False, routers=1)
    card = type(graph.card)("one", 24, 40, graph.card.tasks[:1])
    weights = {
        name: array[:1] if name.endswith("router.bias") else array
        for name, array in graph.weights.items()
    }
    write_artifact(Graph(card, graph.trunk, (), weights), tmp_path / "one.gs")
    result = Session(tmp_path / "one.gs").run(np.zeros((2, 24, 40, 3), np.uint8))
    assert isinstance(result, TokensResult)
    assert result.tokens.shape == (2, 16, 21)


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_the_process_may_change_its_folder(
    backend: str, artifact: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(artifact.parent)
    session = Session(artifact.name, backend=backend)
    monkeypatch.chdir("/")
    session.run_normalised(make_image(), "depth")


def test_read_only_and_strided_data_are_taken(artifact: Path, make_image: MakeImage) -> None:
    session, image = Session(artifact), make_image(2)
    wanted = session.run_normalised(image, "rooms")
    image.setflags(write=False)
    strided = np.repeat(image, 2, axis=3)[..., ::2]
    for given in (image, strided, np.asfortranarray(image)):
        np.testing.assert_array_equal(session.run_normalised(given, "rooms"), wanted)


def test_threads_may_share_a_session(artifact: Path, make_image: MakeImage) -> None:
    session = Session(artifact)
    jobs = [(task, seed) for seed in range(4) for task in session.tasks]
    wanted = [session.run_normalised(make_image(seed=seed), task) for task, seed in jobs]
    shared = Session(artifact)
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda job: shared.run_normalised(make_image(seed=job[1]), job[0]), jobs)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_program_is_compiled_once(
    artifact: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    specialise = gearshift.session.specialise
    monkeypatch.setattr(
        gearshift.session,
        "specialise",
        lambda graph, *key, **more: calls.append(key) or specialise(graph, *key, **more),
    )
    session = Session(artifact)
    for _ in range(3):
        for task in ("rooms", "edges"):
            session.run_normalised(make_image(), task)
    assert calls == [(0, 1, 24, 40), (3, 1, 24, 40)]


def test_damaged_weights_are_found_at_the_first_run(artifact: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gs"
    shutil.copytree(artifact, copy)
    with (copy / "weights.bin").open("r+b") as file:
        file.seek(4096)
        byte = file.read(1)
        file.seek(4096)
        file.write(bytes([byte[0] ^ 1]))
    session = Session(copy)
    with pytest.raises(ArtifactError, match=r"weights\.bin"):
        session.run(np.zeros((24, 40, 3), np.uint8), "rooms")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"backend": "abacus"}, BackendError, "unknown backend 'abacus'"),
        ({"precision": "float7"}, InputError, "precision 'float7' is not known"),
        ({"threads": 0}, InputError, "threads 0: give at least 1"),
        ({"threads": 10**9}, InputError, "threads 1000000000: give at least 1, at most 1024"),
        ({"memory": "64"}, InputError, "memory '64' is no amount"),
        ({"threads": 1.5}, InputError, "threads 1.5: give at least 1"),
    ],
    ids=str,
)
def test_bad_options(artifact: Path, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Session(artifact, **options)


def test_a_stream_of_new_sizes_keeps_few_programs(
    artifact: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gearshift.session, "MOST_PROGRAMS", 3)
    session = Session(artifact)
    first = session.run_normalised(make_image(1, 8, 8), "depth")
    for batch in (1, 2, 3, 4):
        session.run_normalised(make_image(batch, 16, 8), "depth")
        assert len(session._compiled) <= 3
    again = session.run_normalised(make_image(1, 8, 8), "depth")
    np.testing.assert_array_equal(again, first)


def test_the_programs_used_last_are_kept(
    artifact: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gearshift.session, "MOST_PROGRAMS", 2)
    session = Session(artifact)
    for batch in (1, 2, 1, 3):
        session.run_normalised(make_image(batch, 8, 8), "depth")
    assert [batch for _, batch, _, _ in session._compiled] == [1, 3]


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="neither a folder nor a name"):
        Session(tmp_path / "none.gs")


def test_bad_tasks_and_sizes(artifact: Path) -> None:
    session, picture = Session(artifact), np.zeros((24, 40, 3), np.uint8)
    with pytest.raises(InputError, match="no task 'sofa': choose from rooms, depth"):
        session.run(picture, "sofa")
    with pytest.raises(InputError, match="name a task: random has rooms, depth"):
        session.run(picture)
    with pytest.raises(InputError, match="height 23 is not a multiple of the patch size 8"):
        session.run(picture[:23], "rooms")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((1, 3, 24, 40)), "normalised image is float64"),
        (np.zeros((3, 24, 40), np.float32), r"\(3, 24, 40\): give a float32 numpy array"),
        (torch.zeros(1, 3, 24, 40), "give a float32 numpy array"),
        ([[1.0]], "normalised image is list"),
        (np.zeros((1, 4, 24, 40), np.float32), "no 3 channels"),
        (np.full((1, 3, 24, 40), np.nan, np.float32), "NaN or infinity"),
        (np.zeros((0, 3, 24, 40), np.float32), "batch of 0 images"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_normalised_images(artifact: Path, image: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Session(artifact).run_normalised(image, "rooms")


def test_a_checked_image_is_run_like_any_other(artifact: Path) -> None:
    session = Session(artifact)
    image = np.random.default_rng(3).standard_normal((2, 3, 24, 40), np.float32)
    expected = session.run_normalised(image, "rooms")
    assert np.array_equal(session.run_checked(image, "rooms"), expected)
    # Wherever it lies.
    turned = np.ascontiguousarray(image.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(session.run_checked(turned, "rooms"), expected)
    with pytest.raises(InputError, match="no task 'halls'"):
        session.run_checked(image, "halls")
