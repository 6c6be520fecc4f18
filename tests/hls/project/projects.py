"""Projects for tests: of a small random model, compiled for the ZCU104."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from gearshift_hls.board import ZCU104
from gearshift_hls.bundle import Bundle
from gearshift_hls.compile import compile_bundle
from gearshift_hls.project.write import write_project

from ..quantise.quantised_models import ModelMaker


@cache
def small_bundle() -> Bundle:
    return compile_bundle("model", ZCU104, ModelMaker(build=ZCU104.build).make())


def make_project(folder: Path) -> Path:
    write_project(folder, small_bundle(), "the listing\n", ZCU104)
    return folder
