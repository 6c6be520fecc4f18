"""From a training folder to the artifact that ships."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gearshift.graph import write_artifact
from gearshift_export.checkpoint import read_m3vit
from gearshift_export.demo.dataset import render_split
from gearshift_export.demo.evaluate import evaluate
from gearshift_export.demo.train import TrainOptions, train
from gearshift_export.recipe import load_recipe
from gearshift_export.to_graph import to_graph
