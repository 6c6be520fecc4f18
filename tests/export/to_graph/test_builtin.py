"""Models by name: published sizes with seeded weights, built once in the cache folder."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from gearshift.graph import read_artifact
from gearshift_export import builtin, published
from gearshift_export.recipe import load_recipe


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def test_published_sizes() -> None:
    tiny = published.published_config(load_recipe("cityscapes-tiny"), 192, 384)
    assert (tiny.tokens, tiny.heads, tiny.top_k, tiny.dense_hidden) == (129, 3, 2, 768)
    assert [(task.name, task.channels) for task in tiny.tasks] == [("semseg", 7), ("depth", 1)]
    small = published.published_config(load_recipe("nyud-small"), 384, 384)
    assert (small.tokens, small.heads, small.top_k, small.dense_hidden) == (1201, 12, 4, 1536)
    assert [(task.name, task.channels) for task in small.tasks] == [("semseg", 40), ("depth", 1)]
    for config, parameters in ((tiny, 18.0e6), (small, 43.4e6)):
        with torch.device("meta"):
            encoder = published.MultiTaskModel(config).backbone
        count = sum(parameter.numel() for parameter in encoder.parameters())
        assert count == pytest.approx(parameters, rel=0.01)


def test_tiny_is_built_once_and_is_always_the_same(cache: Path) -> None:
    artifact = builtin.tiny()
    assert artifact.parent == cache
    assert [entry.name for entry in cache.iterdir()] == [artifact.name]
    stamp = (artifact / "weights.bin").stat().st_mtime_ns
    assert builtin.tiny() == artifact
    assert (artifact / "weights.bin").stat().st_mtime_ns == stamp
    graph = read_artifact(artifact)
    assert "not trained" in graph.card.provenance["weights"]
    config = published.published_config(load_recipe("cityscapes-tiny"), 192, 384)
    again = published.to_graph(published.seeded_model(config), graph.card)
    assert again.weights.keys() == graph.weights.keys()
    for name in list(again.weights)[::20]:
        assert np.array_equal(again.weights[name], graph.weights[name])


def test_seeded_weights_are_fit_for_benchmarks() -> None:
    """Activations keep their size, and tokens and tasks go to different experts."""
    config = published.published_config(load_recipe("cityscapes-tiny"), 192, 384)
    before = torch.get_rng_state()
    model = published.seeded_model(config)
    assert torch.equal(torch.get_rng_state(), before)
    image = torch.rand(1, 3, 128, 256, generator=torch.Generator().manual_seed(0))
    used = []
    for task in range(2):
        tokens, routed = model.encode(image, task)
        assert 0.3 < tokens.std() < 10
        for probabilities in routed:
            used.append(probabilities.topk(config.top_k).indices)
            assert len(used[-1].unique()) >= 8
        output = model.decode(tokens, task)
        assert 0.05 < output.std() < 50
    assert not torch.equal(used[0], used[len(used) // 2])


def test_the_first_of_two_builders_wins(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both finish, neither disturbs the other, nothing is left over."""
    recipe = load_recipe("cityscapes-tiny")
    small = {"depth": 2, "image_height": 16, "image_width": 16, "decoder": None}
    config = published.replace(published.published_config(recipe, 48, 8), **small)
    monkeypatch.setattr(published, "published_config", lambda *sizes: config)
    barrier = threading.Barrier(2)
    write = published.write_artifact

    def write_together(*arguments: object) -> None:
        barrier.wait(timeout=30)
        write(*arguments)
        barrier.wait(timeout=30)

    monkeypatch.setattr(published, "write_artifact", write_together)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(builtin.tiny())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0] == found[1]
    assert list(cache.iterdir()) == [found[0]]
    assert read_artifact(found[0]).card.name == "tiny"


def test_demo_is_the_shipped_folder() -> None:
    assert builtin.demo().name == "demo.gs"
    assert builtin.demo().parent.name == "demo"


def test_a_model_that_is_there_is_found_without_torch(cache: Path) -> None:
    """A session on the native kernels starts in a fraction of the time that torch takes to load."""
    artifact = builtin.tiny()
    code = (
        "import sys\n"
        "from gearshift_export import builtin\n"
        "print(builtin.tiny(), 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(artifact), "False"]


def test_a_damaged_model_is_built_again(cache: Path) -> None:
    artifact = builtin.tiny()
    weights = artifact / "weights.bin"
    size = weights.stat().st_size
    with weights.open("r+b") as file:
        file.truncate(size - 1)
    assert builtin.tiny() == artifact
    assert weights.stat().st_size == size
