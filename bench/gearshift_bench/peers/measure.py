"""The races of one model: every part on every number of threads."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gearshift.backends import Options, Precision
from gearshift.errors import GearshiftError
from gearshift.expert_profile import card_shares
from gearshift.graph import read_artifact
from gearshift.graph.graph import Graph
from gearshift.models import find_model
from gearshift.program import Program
from gearshift.specialise import specialise
from gearshift.weights import WeightStore
from gearshift_bench.peers.agreement import Reference, references
from gearshift_bench.peers.entry import Entry, Match, Run
from gearshift_bench.peers.figures import Cell, NodeTimes
from gearshift_bench.peers.host import load_average
from gearshift_bench.peers.parts import Part
from gearshift_bench.peers.race import Contender, enter, race
from gearshift_bench.peers.switching import Switch, half_of_the_experts, measure_switch
from gearshift_bench.progress import Progress

IMAGE_SEED = 7
PROFILED_RUNS = 3
LEAST_SWITCHES = 4


@dataclass(frozen=True)
class Subject:
    """One task of one model, and the image that all contenders are given."""

    folder: Path
    graph: Graph
    weights: WeightStore
    whole: Program
    image: NDArray[np.float32]


def open_subject(model: str, task: str | None) -> Subject:
    """A model by name or folder; its first task if none is named.

    The image is random and normalised, at the card's size.

    Raises:
        GearshiftError: no such model or task.
    """
    folder = find_model(model).absolute()
    graph = read_artifact(folder)
    weights = WeightStore(graph.weights)
    whole = specialise(graph, task or 0, weights=weights)
    shape = whole.values[whole.input].shape
    image = np.random.default_rng(IMAGE_SEED).standard_normal(shape, dtype=np.float32)
    return Subject(folder, graph, weights, whole, image)


def race_parts(
    subject: Subject,
    entries: Sequence[Entry],
    parts: Sequence[Part],
    threads: Sequence[int],
    rounds: int,
    progress: Progress,
) -> Iterator[Cell]:
    """All races; where the time goes is measured for the first number of threads."""
    before = torch.get_num_threads()
    try:
        known = references(subject.whole, subject.image, parts)
        for number in threads:
            for part in parts:
                # What torch compiled for another number of threads has that number in it.
                torch.set_num_threads(number)
                torch.compiler.reset()
                match = Match(subject.folder, subject.whole, part, number, subject.image)
                yield _race(match, known[part], entries, rounds, progress, number == threads[0])
                gc.collect()
    finally:
        torch.set_num_threads(before)


def _race(
    match: Match,
    reference: Reference,
    entries: Sequence[Entry],
    rounds: int,
    progress: Progress,
    with_nodes: bool,
) -> Cell:
    busy = load_average()
    contenders: list[Contender] = []
    runs: dict[str, Run] = {}
    title = f"{match.whole.model} {match.part} {match.threads}"
    entries = [entry for entry in entries if match.part in entry.parts]
    step = progress(f"{title} check", len(entries))
    for entry in entries:
        contender, run = enter(entry, match, reference)
        contenders.append(contender)
        if run is not None:
            runs[contender.name] = run
        step()
    seconds = race(runs, match.threads, rounds, progress(f"{title} race", rounds + 1))
    program = match.program
    cell = Cell(
        program.model,
        program.task_card.name,
        match.part,
        match.threads,
        tuple(contenders),
        seconds,
        (busy, load_average()),
        program,
    )
    runs.clear()
    return cell.with_nodes(_nodes(cell, match)) if with_nodes else cell


def _nodes(cell: Cell, match: Match) -> tuple[NodeTimes, ...]:
    """Of the fastest of every library that can tell its nodes apart, ours first."""
    fastest: dict[str, Contender] = {}
    for contender in sorted(
        (one for one in cell.contenders if one.name in cell.seconds),
        key=lambda one: cell.median(one.entry),
    ):
        if contender.profile is not None and contender.entry.is_compared:
            fastest.setdefault(contender.entry.library.split()[0], contender)
    times = []
    for contender in sorted(fastest.values(), key=lambda one: not one.entry.is_ours):
        assert contender.profile is not None
        seconds = contender.profile(match, PROFILED_RUNS)
        if seconds:
            times.append(NodeTimes(contender.entry, seconds))
    return tuple(times)


def measure_switches(
    subject: Subject, backend: str, precision: Precision, threads: int, rounds: int
) -> list[Switch | str]:
    """Ours with everything resident and with room for half of the experts, and the exported file
    in onnxruntime; the reason instead of a setting that could not be measured. Nothing at all for
    a model of one task."""
    tasks = range(len(subject.graph.card.tasks))
    if len(tasks) < 2:
        return []
    programs = [specialise(subject.graph, task, weights=subject.weights) for task in tasks]
    switches = max(LEAST_SWITCHES, rounds // 2)
    shares = card_shares(subject.graph)
    resident = Options(subject.folder, precision, threads, expert_share=shares)
    half = half_of_the_experts(programs[0], precision)
    budget = Options(subject.folder, precision, threads, half, expert_share=shares)
    name = f"gearshift {backend}, {precision}"
    settings = {
        f"{name}, all experts resident": (backend, resident),
        f"{name}, memory for half of them": (backend, budget),
        "onnxruntime, exported file": ("onnxruntime", Options(subject.folder, threads=threads)),
    }
    found: list[Switch | str] = []
    for setting, (engine, options) in settings.items():
        try:
            found.append(
                measure_switch(setting, engine, options, programs, subject.image, switches)
            )
        except GearshiftError as error:
            found.append(f"{setting}: not measured ({error})")
    return found
