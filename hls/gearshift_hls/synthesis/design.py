"""Every module of a design mapped to cells: in parallel, each kept in the cache folder."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from gearshift.cache import cache_folder
from gearshift.output import whole_file
from gearshift_hls.synthesis.hierarchy import Hierarchy
from gearshift_hls.synthesis.passes import PASSES, SLICE_FILE, Own, map_modules
from gearshift_hls.synthesis.yosys import need_yosys

PROCESSES = 2
"""At most: a process takes up to 1 GB."""
BATCH_BYTES = 150_000
"""Of RTLIL that is mapped in one run: to read Yosys's library takes seconds."""


def map_design(hierarchy: Hierarchy) -> dict[str, Own]:
    """All modules; those that were mapped before are in the cache.

    Raises:
        BackendError: Yosys is not installed, or cannot map one.
    """
    texts = {name: hierarchy.alone(name) for name in hierarchy.texts}
    places = _places(hierarchy, texts)
    found = {name: _kept(place) for name, place in places.items() if place.exists()}
    missing = [name for name in texts if name not in found]
    with (
        tqdm(total=len(missing), desc="synthesis", unit="module", delay=2, leave=False) as progress,
        ThreadPoolExecutor(min(PROCESSES, os.cpu_count() or 1)) as pool,
    ):
        runs = [
            pool.submit(_map_batch, hierarchy, {name: texts[name] for name in batch}, places)
            for batch in _batches(hierarchy, texts, missing)
        ]
        try:
            for run in as_completed(runs):
                found |= run.result()
                progress.update(len(run.result()))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _places(hierarchy: Hierarchy, texts: Mapping[str, str]) -> dict[str, Path]:
    """Where each module is kept: by all that its cells depend on."""
    common = repr((PASSES, _library())).encode()
    folder = cache_folder() / "synthesis"
    places = {}
    for name, text in texts.items():
        identity = sha256(common + _plain(hierarchy, name, text).encode()).hexdigest()
        places[name] = folder / f"{kind_of(name)}-{identity[:24]}.json"
    return places


def _plain(hierarchy: Hierarchy, name: str, text: str) -> str:
    """A module and the ports of those in it. Names tell where in the design a module is, which its
    cells do not depend on: they are replaced."""
    known = {name: "self"}
    for child in re.findall(r"^\s*cell (\S+)", text, re.MULTILINE):
        if child in hierarchy.texts:
            known.setdefault(child, f"child-{len(known)}")
    parts = [text, *(hierarchy.stub(child) for child in known if child != name)]
    return re.sub(r"\\\S+", lambda match: known.get(match[0], match[0]), "".join(parts))


def _library() -> tuple[str, str]:
    need_yosys()
    return version("pyosys"), SLICE_FILE.read_text()


def kind_of(name: str) -> str:
    """The module's name in its source; slang appends the instance."""
    return name.removeprefix("\\").split("$")[0]


def _kept(place: Path) -> Own:
    document = json.loads(place.read_text())
    return Own(Counter(document["cells"]), document["levels"])


def _batches(
    hierarchy: Hierarchy, texts: Mapping[str, str], names: Sequence[str]
) -> Iterator[list[str]]:
    """Modules of the same height, the greatest first."""
    order = sorted(names, key=lambda name: -len(texts[name]))
    for height in sorted({hierarchy.heights[name] for name in names}):
        batch: list[str] = []
        for name in (name for name in order if hierarchy.heights[name] == height):
            if batch and sum(len(texts[each]) for each in [*batch, name]) > BATCH_BYTES:
                yield batch
                batch = []
            batch.append(name)
        yield batch


def _map_batch(
    hierarchy: Hierarchy, texts: Mapping[str, str], places: Mapping[str, Path]
) -> dict[str, Own]:
    inside = sorted({child for name in texts for child in hierarchy.children[name]})
    found = map_modules(texts, {name: hierarchy.stub(name) for name in inside})
    for name, own in found.items():
        places[name].parent.mkdir(parents=True, exist_ok=True)
        # Another process may put the same file there at the same time.
        with suppress(FileNotFoundError), whole_file(places[name]) as partial:
            partial.write_text(json.dumps(vars(own)))
    return found
