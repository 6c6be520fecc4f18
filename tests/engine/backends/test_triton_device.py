"""Opening a card, with a stand-in for its name: what is refused, and what is found in the cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from triton import knobs

from gearshift.backends import triton_device
from gearshift.backends.triton_device import kernels_folder, open_device, tiles_file
from gearshift.errors import BackendError
from gearshift_kernels.triton.launch import Tiles
from gearshift_kernels.triton.tune import write_tuned

CARD = "NVIDIA H100"


@pytest.fixture(autouse=True)
def _card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_device, "current_target", lambda: "sm_90")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: CARD)
    monkeypatch.setattr(knobs.cache, "dir", knobs.cache.dir)
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)


def test_tiles_and_kernels_come_from_the_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path))
    assert open_device("bfloat16").tuned == {}
    tiles = {"linear 1x2x3": Tiles({"BLOCK_M": 32}, 4, 2)}
    write_tuned(tiles_file("sm_90", CARD), "sm_90", CARD, tiles)
    device = open_device("float8")
    assert (device.target, device.tuned) == ("sm_90", tiles)
    assert knobs.cache.dir == str(tmp_path / "kernels")


def test_a_shipped_folder_of_kernels_goes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "shipped"))
    assert kernels_folder() == tmp_path / "shipped"
    open_device("bfloat16")
    assert knobs.cache.dir == str(tmp_path / "shipped")


def test_damaged_tiles_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path))
    path = tiles_file("sm_90", CARD)
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(BackendError, match=r"sm_90-nvidia-h100\.json"):
        open_device("bfloat16")


def test_an_unknown_card_and_a_missing_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_device, "current_target", lambda: "sm_75")
    with pytest.raises(BackendError, match=r"a sm_75, .* known: sm_80, .*choose backend torch"):
        open_device("bfloat16")
    monkeypatch.setattr(triton_device, "current_target", lambda: "sm_86")
    with pytest.raises(BackendError, match=r"RTX A6000 \(sm_86\) has no float8 .*precision int8"):
        open_device("float8")
