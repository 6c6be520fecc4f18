"""A bundle as a folder: `constants.bin`, `bundle.toml` with all the rest, `listing.txt` for people.

Reading trusts nothing: sizes, addresses, types and every descriptor are checked before use.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import tomli_w

from gearshift.errors import ArtifactError
from gearshift.graph.table_reader import TableReader
from gearshift.output import check_folder, whole_folder
from gearshift_hls.build import Build
from gearshift_hls.bundle import Bundle, Place, TaskProgram
from gearshift_hls.descriptor import ALIGNMENT, DESCRIPTOR_BYTES, SCRATCH, End, Status, check
from gearshift_hls.golden import Bytes
from gearshift_hls.operations import Output, PatchInput, Tensor
from gearshift_hls.program import commands

CONSTANTS_FILE = "constants.bin"
BUNDLE_FILE = "bundle.toml"
LISTING_FILE = "listing.txt"
FILES = frozenset({CONSTANTS_FILE, BUNDLE_FILE, LISTING_FILE})
FORMAT_VERSION = 1

LARGEST_TABLE = 1 << 20
"""Bytes of `bundle.toml`; that of a model of 12 blocks and 5 tasks has about 20 KB."""
_LARGEST_SIZE = 1 << 30
"""No number of a build, a shape or an image is larger."""
_ITEMS = ("int8", "uint8", "int16", "int32")


def save_bundle(bundle: Bundle, listing: str, folder: Path) -> None:
    """Write the folder, whole or not at all; a bundle that stands there is replaced.

    Raises:
        InputError: something else than a bundle stands there.
        OSError: the disk refuses.
    """
    check_replaceable(folder)
    table = _table(bundle)
    with whole_folder(folder) as new:
        bundle.constants.tofile(new / CONSTANTS_FILE)
        (new / BUNDLE_FILE).write_bytes(tomli_w.dumps(table).encode())
        (new / LISTING_FILE).write_text(listing, encoding="utf-8")


def check_replaceable(folder: Path) -> None:
    """Raises InputError for a file, or a folder with anything but a bundle's files."""
    check_folder(folder, FILES, "a bundle")


def load_bundle(folder: Path) -> Bundle:
    """Read and check a bundle.

    Raises:
        ArtifactError: the folder is missing, damaged, hostile or of another version; one line that
            names the file, the thing in it, its value and what it should be.
    """
    with _blame(folder / BUNDLE_FILE):
        reader = _read_table(folder / BUNDLE_FILE)
        build = _build(reader.table("build"))
        record = reader.table("constants")
    with _blame(folder / CONSTANTS_FILE):
        constants = _read_constants(folder / CONSTANTS_FILE, record)
    with _blame(folder / BUNDLE_FILE):
        memory_bytes = reader.integer("memory_bytes", least=0)
        if not len(constants) <= memory_bytes <= SCRATCH or len(constants) % ALIGNMENT:
            raise ArtifactError(
                f"field memory_bytes is {memory_bytes}; want {len(constants)} of {CONSTANTS_FILE} "
                f"to {SCRATCH}, the first a multiple of {ALIGNMENT}"
            )
        tasks = [_task(task) for task in reader.tables("tasks")]
        bundle = Bundle(
            model=reader.label("model"),
            board=reader.label("board"),
            build=build,
            height=_size(reader, "height"),
            width=_size(reader, "width"),
            memory_bytes=memory_bytes,
            write_base=len(constants),
            constants=constants,
            tasks={task.name: task for task in tasks},
        )
        reader.finish()
        if len(bundle.tasks) < len(tasks) or not tasks:
            raise ArtifactError("field tasks; want at least one, and each name once")
        for task in tasks:
            _check_task(task, bundle)
    return bundle


def _table(bundle: Bundle) -> dict[str, Any]:
    digest = sha256(bundle.constants.tobytes()).hexdigest()
    return {
        "format_version": FORMAT_VERSION,
        "model": bundle.model,
        "board": bundle.board,
        "height": bundle.height,
        "width": bundle.width,
        "memory_bytes": bundle.memory_bytes,
        "build": asdict(bundle.build),
        "constants": {"size": bundle.write_base, "sha256": digest},
        "tasks": [_task_table(task) for task in bundle.tasks.values()],
    }


def _task_table(task: TaskProgram) -> dict[str, Any]:
    given, output = task.input, task.output
    return {
        "name": task.name,
        "program": task.program,
        "descriptors": task.descriptors,
        "names": list(task.names),
        "input": {
            **_place_table(task.input_place),
            "patch_size": given.patch_size,
            "low": list(given.low),
            "scale": list(given.scale),
        },
        "output": {
            **_place_table(task.output_place),
            "channels": output.channels,
            "scale": output.scale,
        },
    }


def _place_table(place: Place) -> dict[str, Any]:
    tensor = place.tensor
    return {
        "tensor": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "address": place.address,
    }


@contextmanager
def _blame(file: Path) -> Iterator[None]:
    """Put the file before, and the remedy behind, what goes wrong inside."""
    try:
        yield
    except (ArtifactError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        remedy = "compile the model again (gearshift synth compile)"
        raise ArtifactError(f"{file}: {reason}; {remedy}") from None


def _read_table(path: Path) -> TableReader:
    with open(path, "rb") as file:
        content = file.read(LARGEST_TABLE + 1)
    if len(content) > LARGEST_TABLE:
        raise ArtifactError(f"size over {LARGEST_TABLE} bytes, which is no bundle's")
    reader = TableReader.from_toml(content)
    version = reader.integer("format_version", least=0)
    if version != FORMAT_VERSION:
        raise ArtifactError(f"format_version {version}; this gearshift reads {FORMAT_VERSION}")
    return reader


def _read_constants(path: Path, record: TableReader) -> Bytes:
    size, digest = record.integer("size", least=0), record.text("sha256")
    record.finish()
    if path.stat().st_size != size:
        raise ArtifactError(f"size {path.stat().st_size}, but {BUNDLE_FILE} says {size} bytes")
    constants = np.fromfile(path, np.uint8)
    if sha256(constants.tobytes()).hexdigest() != digest:
        raise ArtifactError(f"its sha256 is not what {BUNDLE_FILE} says")
    return constants


def _build(reader: TableReader) -> Build:
    """Sizes that are powers of two, buffers that are multiples of 64 bytes."""
    sizes = {}
    for each in fields(Build):
        size = sizes[each.name] = reader.integer(each.name, least=0)
        is_buffer = each.name.endswith("_bytes")
        well_formed = size % ALIGNMENT == 0 if is_buffer else size.bit_count() == 1
        if not well_formed or size > _LARGEST_SIZE:
            wanted = f"a multiple of {ALIGNMENT}" if is_buffer else "a power of two"
            raise ArtifactError(
                f"field {reader.where}{each.name} is {size}; want {wanted}, at most {_LARGEST_SIZE}"
            )
    reader.finish()
    build = Build(**sizes)
    if build.weight_ports > build.output_lanes:
        raise ArtifactError(
            f"field {reader.where}weight_ports is {build.weight_ports}; want at most output_lanes, "
            f"{build.output_lanes}"
        )
    return build


def _task(reader: TableReader) -> TaskProgram:
    name = reader.label("name")
    input_reader, output_reader = reader.table("input"), reader.table("output")
    input_place = _place(input_reader, ("uint8",))
    output_place = _place(output_reader, _ITEMS)
    task = TaskProgram(
        name=name,
        program=reader.integer("program", least=0),
        descriptors=reader.integer("descriptors", least=1),
        input=PatchInput(
            input_place.tensor.name,
            _size(input_reader, "patch_size"),
            input_reader.triple("low"),
            input_reader.triple("scale"),
        ),
        input_place=input_place,
        output=Output(
            output_place.tensor.name,
            _size(output_reader, "channels"),
            output_reader.number("scale"),
        ),
        output_place=output_place,
        names=tuple(reader.labels("names")),
    )
    for each in (input_reader, output_reader, reader):
        each.finish()
    return task


def _place(reader: TableReader, dtypes: Collection[str]) -> Place:
    name, dtype = reader.label("tensor"), reader.text("dtype")
    if dtype not in dtypes:
        raise ArtifactError(
            f"field {reader.where}dtype is {dtype!r}; want one of {', '.join(dtypes)}"
        )
    shape = reader.integers("shape", least=1)
    if len(shape) not in (2, 3) or prod(shape) > _LARGEST_SIZE:
        raise ArtifactError(
            f"field {reader.where}shape is {list(shape)}; want tokens (T, C) or a map (h, w, C)"
        )
    return Place(Tensor(name, shape, cast(Any, dtype)), reader.integer("address", least=0))


def _size(reader: TableReader, name: str) -> int:
    size = reader.integer(name, least=1)
    if size > _LARGEST_SIZE:
        raise ArtifactError(f"field {reader.where}{name} is {size}; at most {_LARGEST_SIZE}")
    return size


def _check_task(task: TaskProgram, bundle: Bundle) -> None:
    """Whether program, input and output lie where they may, and fit image and patches."""
    where = f"task {task.name!r}: "
    end = task.program + task.descriptors * DESCRIPTOR_BYTES
    if task.program % ALIGNMENT or end > bundle.write_base:
        raise ArtifactError(f"{where}its program lies outside of {CONSTANTS_FILE}")
    if len(task.names) not in (0, task.descriptors - 1):
        raise ArtifactError(f"{where}{len(task.names)} names for {task.descriptors} descriptors")
    for what, place in (("input", task.input_place), ("output", task.output_place)):
        start, end = place.address, place.address + place.tensor.nbytes
        if start % ALIGNMENT or start < bundle.write_base or end > bundle.memory_bytes:
            raise ArtifactError(f"{where}its {what} lies outside of memory for activations")
    tokens, *_, channels = task.input_place.tensor.shape
    patch = task.input.patch_size
    grid = bundle.height // patch * (bundle.width // patch)
    fits = bundle.height % patch == bundle.width % patch == 0 and tokens == 1 + grid
    if len(task.input_place.tensor.shape) != 2 or not fits or channels < 3 * patch**2:
        raise ArtifactError(f"{where}its input does not hold the patches of one image")
    if task.output.channels > task.output_place.tensor.shape[-1]:
        raise ArtifactError(f"{where}its output has fewer than {task.output.channels} channels")
    _check_program(task, bundle)


def _check_program(task: TaskProgram, bundle: Bundle) -> None:
    for number, command in enumerate(commands(bundle, task)):
        is_last = number == task.descriptors - 1
        status = Status.BAD_OPCODE
        if command is not None and isinstance(command, End) == is_last:
            status = check(command, bundle.build, bundle.memory_bytes, bundle.write_base)
        if status != Status.DONE:
            raise ArtifactError(f"task {task.name!r}: descriptor {number} is {status.name}")
