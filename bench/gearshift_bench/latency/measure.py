"""The measurement: everything is opened and warmed, takes turns, and ends in one document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gearshift.errors import BackendError, GearshiftError
from gearshift.graph.card import Card
from gearshift_bench.latency.cold import Cold, measure_cold
from gearshift_bench.latency.contender import BrokenError, Contender
from gearshift_bench.latency.images import request_image
from gearshift_bench.latency.loops import Clock, Series
from gearshift_bench.latency.machine import Calibration, load_average, machine_entry, software
from gearshift_bench.latency.plan import Plan
from gearshift_bench.latency.profile import profile
from gearshift_bench.latency.roofs import Roof, measure_roofs
from gearshift_bench.latency.run_entry import Findings, run_entry
from gearshift_bench.latency.turns import take_turns
from gearshift_bench.progress import Progress
from gearshift_bench.report.words import SIMULATORS


def measure(plan: Plan, progress: Progress, clock: Clock) -> dict[str, Any]:
    """Measure all of a plan; returns the result document.

    A configuration that its backend does not offer is left out and named in the document's
    warnings.

    Raises:
        GearshiftError: nothing can be measured; or a backend crashed, or did not return the same
            finite bits every time.
    """
    load = load_average()
    calibration = Calibration()
    findings, warnings, image_words = _open(plan, progress)
    roofs = measure_roofs([one.threads for one in plan.configurations])
    if plan.with_cold:
        step = progress("cold starts", len(findings))
        for found in findings:
            found.cold = _cold(plan, found.contender)
            step()
    take_turns(plan, findings, calibration, progress, clock)
    step = progress("energy", len(findings))
    for found in findings:
        found.profile = profile(found.contender.stats, found.contender.workload.task is None)
        found.energy = _energy(found.contender, plan.seconds)
        step()
    calibration.close()
    simulators = {one.contender.configuration.backend for one in findings} & SIMULATORS
    warnings += [
        f"latencies of {name} are the simulator's, not the accelerator's: see gearshift bench fpga"
        for name in sorted(simulators)
    ]
    return {
        "format": "gearshift-bench",
        "version": 1,
        "machine": machine_entry(load, calibration.seconds, list(dict.fromkeys(warnings))),
        "software": software() | _backends(findings),
        "model": model_entry(plan.model),
        "roofs": _widest(roofs).entry(),
        "settings": {"seconds": plan.seconds, "seed": plan.seed, "image": image_words},
        "runs": [
            run_entry(found, roofs[found.contender.configuration.threads], plan.watts)
            for found in findings
        ],
        "accuracy": [],
    }


def model_entry(folder: Path) -> dict[str, Any]:
    """The `model` entry of a document."""
    from gearshift.commands.info import describe
    from gearshift.graph import read_artifact
    from gearshift.graph.read import read_card_file

    found = describe(read_artifact(folder), folder)
    return {
        "name": found["name"],
        "sha256": read_card_file(folder).weights.sha256,
        "parameters": found["parameters"],
        "image": found["image"],
        "experts": found["experts"]["experts"],
        "top_k": found["experts"]["top_k"],
        "tasks": [task["name"] for task in found["tasks"]],
        "macs": {task["name"]: task["macs"] for task in found["tasks"]},
    }


def _open(plan: Plan, progress: Progress) -> tuple[list[Findings], list[str], str]:
    """Contenders, what was left out and why, and what the images are."""
    card = _card(plan.model)
    images = {
        batch: request_image(card, batch, plan.image)
        for batch in {one.batch for one in plan.configurations}
    }
    pairs = [(one, work) for work in plan.workloads for one in plan.configurations]
    step = progress("opening", len(pairs))
    findings, left_out = [], []
    for configuration, workload in pairs:
        image, words = images[configuration.batch]
        try:
            contender = Contender(plan.model, configuration, workload, image)
            findings.append(Findings(contender, Series()))
        except BrokenError:
            raise
        except GearshiftError as error:
            left_out.append(f"left out: {configuration}: {error}")
        step()
    if not findings:
        raise BackendError(left_out[0].removeprefix("left out: "))
    return findings, list(dict.fromkeys(left_out)), words


def _card(folder: Path) -> Card:
    from gearshift.graph import read_artifact

    return read_artifact(folder).card


def _cold(plan: Plan, contender: Contender) -> Cold:
    asked = contender.configuration
    return measure_cold(plan.model, asked.options(), list(contender.workload.tasks), asked.batch)


def _backends(findings: Sequence[Findings]) -> dict[str, str]:
    """What every backend says it is: a version, or an instruction set."""
    return {
        f"backend {found.contender.configuration.backend}": found.profile.backend
        for found in findings
        if found.profile
    }


def _energy(contender: Contender, seconds: float) -> dict[str, Any]:
    from gearshift_bench.energy import measure_energy

    return measure_energy(contender.serve_next, seconds=seconds)


def _widest(roofs: dict[int | None, Roof]) -> Roof:
    return max(roofs.values(), key=lambda roof: roof.threads)
